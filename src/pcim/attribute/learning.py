"""The optimiser's loop: learn which pixels of each view the classifier needs to see its target.

PCIM as implemented here. It follows the abstract of Siegismund et al., arXiv 2412.02275; its equations and tables are not
public to us. docs/method.md specifies both presets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.attribute.blending import Blending, drop, keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcim.config import PcimSettings


@dataclass(frozen=True)
class Preset:
    """How the blend is learnt and read out."""

    steps: int
    learning_rate: float
    grid: int
    smooth_px: float
    area: float
    two_sided: bool
    read_out: Literal["signal", "weights"]

    @classmethod
    def default(cls, settings: PcimSettings) -> Preset:
        """Two-sided: keep what is enough and drop what is needed, at a price for the mean weight."""
        return cls(
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            grid=settings.grid,
            smooth_px=settings.smooth_px,
            area=settings.area,
            two_sided=True,
            read_out="signal",
        )

    @classmethod
    def literal(cls) -> Preset:
        """Do what the paper's abstract says and no more: a weight a pixel, cross-entropy, the weights are the map."""
        return cls(steps=100, learning_rate=0.05, grid=1, smooth_px=0.0, area=0.0, two_sided=False, read_out="weights")


@dataclass(frozen=True)
class Learned:
    """What was learnt of a batch of views.

    `channel_maps` (b, c or 1, h, w) are >= 0 and sum over channels to the map; `weights` (b, 1, h, w) are in [0, inf), 1 =
    the pixel is kept. The losses and probabilities of the target are one value a view.
    """

    channel_maps: Tensor
    weights: Tensor
    loss_first: Tensor
    loss_last: Tensor
    p_keep: Tensor
    p_drop: Tensor
    steps: int


def learn(
    classify: Callable[[Tensor], Tensor],
    images: Float[Tensor, "b c h w"],
    backgrounds: Float[Tensor, "b c h w"],
    targets: Int[Tensor, " b"],
    preset: Preset,
) -> Learned:
    """Learn the blend of each view, with Adam on alpha; every view's loss is its own, so company changes nothing.

    `classify` maps (b, c, h, w) to logits (b, k) and is only called. The loss of a view is

        CE(f(keep), y)  -  log(1 - p_y(f(drop)))  +  area * mean(w)

    of which the literal preset has the first term only. Nothing is read back from the device inside the loop.
    """
    blending = Blending(len(images), (images.shape[-2], images.shape[-1]), grid=preset.grid, smooth_px=preset.smooth_px)
    blending.to(images.device)
    optimiser = torch.optim.Adam(blending.parameters(), lr=preset.learning_rate)
    losses = []
    for _ in range(preset.steps):
        loss = _loss(classify, images, backgrounds, targets, blending.weights(), preset)
        (blending.alpha.grad,) = torch.autograd.grad(loss.sum(), [blending.alpha])
        optimiser.step()
        losses.append(loss.detach())
    with torch.no_grad():
        weights = blending.weights()
        p_keep = target_probability(classify(keep(images, backgrounds, weights)), targets)
        p_drop = target_probability(classify(drop(images, backgrounds, weights)), targets)
        maps = weights * (images - backgrounds).abs() if preset.read_out == "signal" else weights
    return Learned(maps, weights, losses[0], losses[-1], p_keep, p_drop, preset.steps)


def _loss(  # noqa: PLR0913, PLR0917 - the formula's own letters
    classify: Callable[[Tensor], Tensor],
    images: Tensor,
    backgrounds: Tensor,
    targets: Tensor,
    weights: Tensor,
    preset: Preset,
) -> Tensor:
    """Return the loss of each view (b,); keep and drop go through the classifier as one batch."""
    kept = keep(images, backgrounds, weights)
    if not preset.two_sided:
        return F.cross_entropy(classify(kept), targets, reduction="none")
    both = classify(torch.cat([kept, drop(images, backgrounds, weights)]))  # (2b, k)
    of_keep, of_drop = both.chunk(2)
    sufficient = F.cross_entropy(of_keep, targets, reduction="none")
    return sufficient + _necessary(of_drop, targets) + preset.area * weights.mean(dim=(1, 2, 3))


def _necessary(logits: Float[Tensor, "b k"], targets: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return -log(1 - p_y), computed from the logits so that it stays finite where p_y is 1 to the last digit."""
    others = logits.scatter(1, targets[:, None], float("-inf"))
    return logits.logsumexp(1) - others.logsumexp(1)


def target_probability(logits: Float[Tensor, "b k"], targets: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the softmax probability of each view's target, in [0, 1]."""
    return logits.softmax(1).gather(1, targets[:, None])[:, 0]
