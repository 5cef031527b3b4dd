"""The optimiser's loop over a fixed number of slots.

A waiting view takes the slot of a view that has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.attribution.blending import keep
from pcim.attribution.optimiser_step import Step
from pcim.composites.gaussian_blur import gaussian_blur

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pcim.config.methods import PcimSettings

LOOK_EVERY = {"cpu": 1, "cuda": 4}
"""Steps between two looks at which views have ended: a look waits for the device. It changes no map."""
LITERAL_STEPS, LITERAL_RATE = 100, 0.05
THRESHOLD = 0.02
"""Weights below it are what smoothing has left of pixels that were given up."""
AGAINST, TAIL = 0.3, 1e-3
"""Of the ranking below the kept pixels: how much evidence against the target counts, and how faint that ranking is."""


@dataclass(frozen=True)
class Blend:
    """What the loop has learnt of n views.

    `weights` (n, 1, h, w): 1 = the pixel is kept. `evidence` (n, c, h, w): log-odds for the target, a pixel and channel,
    summed along the way from the image to the blend; > 0 speaks for the target. `losses` (n, steps) hold the loss before each
    step, NaN after the last one taken; `steps` (n,) are the steps taken and `settled` (n,) says whether the view stopped by itself.
    """

    weights: Tensor
    evidence: Tensor
    losses: Tensor
    steps: Tensor
    settled: Tensor


def learn(  # noqa: PLR0913, PLR0917 - views, and how they are learnt
    classify: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n c h w"],
    backgrounds: tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]],
    targets: Int[Tensor, " n"],
    settings: PcimSettings,
    slots: int,
) -> Blend:
    """Learn the blend of every view, `slots` of them at a time: the default preset.

    `classify` maps (b, c, h, w) to logits (b, k); it is always called with 2 * slots images, and only called. A view that
    has ended is taken out and a waiting one put in its place, so that no slot works in vain until none is waiting.
    """
    found = list(learn_each(classify, images, backgrounds, targets, settings, slots, at_risk=2 * slots))
    order = torch.cat([views for views, _ in found]).argsort().to(images.device)
    return Blend(*(torch.cat(parts)[order] for parts in zip(*(_parts(blend) for _, blend in found), strict=True)))


def learn_each(  # noqa: PLR0913, PLR0917 - views, and how they are learnt
    classify: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n c h w"],
    backgrounds: tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]],
    targets: Int[Tensor, " n"],
    settings: PcimSettings,
    slots: int,
    *,
    at_risk: int,
) -> Iterator[tuple[Tensor, Blend]]:
    """Yield views (their numbers, on the host) with their blends as they end, at least half as many together as there are slots.

    At most `at_risk` views, from `slots` on, are begun and not yet handed over: what a kill can lose.
    """
    n, c, h, w = images.shape
    step = Step(classify, slots, (c, h, w), settings, images.device)
    done: list[tuple[Tensor, Blend]] = []
    owners, begun = torch.full((slots,), -1), 0  # on the host: the view in each slot, -1 where it is empty
    while True:
        held = sum(len(views) for views, _ in done) + int((owners >= 0).sum())
        empty = (owners < 0).nonzero()[: min(n - begun, at_risk - held), 0]
        views = slice(begun, begun + len(empty))
        owners[empty], begun = torch.arange(n)[views], views.stop
        step.load(empty.to(images.device), images[views], (backgrounds[0][views], backgrounds[1][views]), targets[views])
        if bool((owners < 0).all()):
            break
        for _ in range(LOOK_EVERY.get(images.device.type, 1)):
            step()
        ended = ((owners >= 0) & ~step.learning.cpu()).nonzero()[:, 0]
        if len(ended):
            done.append((owners[ended], _take_out(step, ended.to(images.device))))
        owners[ended] = -1
        if 2 * sum(len(views) for views, _ in done) >= slots:
            yield _join(done)
            done = []
    if done:
        yield _join(done)


def _take_out(step: Step, slots: Tensor) -> Blend:
    """Copy what the slots have learnt, in one memory layout: the order in which numbers are summed decides their last bits."""
    weights, evidence = step.weights[slots].contiguous(), step.evidence[slots].contiguous()
    return Blend(weights, evidence, step.losses[slots], step.steps[slots], step.settled[slots])


def _join(done: Sequence[tuple[Tensor, Blend]]) -> tuple[Tensor, Blend]:
    """Put views that ended after one another together."""
    blends = zip(*(_parts(blend) for _, blend in done), strict=True)
    return torch.cat([views for views, _ in done]), Blend(*(torch.cat(parts) for parts in blends))


def _parts(blend: Blend) -> tuple[Tensor, ...]:
    return blend.weights, blend.evidence, blend.losses, blend.steps, blend.settled


def read_out(
    weights: Float[Tensor, "b 1 h w"], evidence: Float[Tensor, "b c h w"], contrast: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b c h w"]:
    """Return a map a channel, >= 0; their sum over channels is the map, whose mean is 1 a view (0 where all of it is).

    What the blend keeps ranks first, by weight and by evidence; what it gave up follows faintly, ranked by evidence and by
    `contrast`, the distance |x - b| that a pixel can have moved the call by:

        head = n(max(w - THRESHOLD, 0)^3 * g(e+))     tail = sqrt(n(g(e+ + AGAINST * e-)) * n(contrast))
        map = n(head + TAIL * tail)

    with e+ and e- the parts of the summed evidence for and against the target, g a Gaussian of 1 px, and n(m) = m / mean(m).
    No factor |x - b| stands in the head: a pixel at background level may be the reason.
    """
    summed = evidence.sum(1, keepdim=True)
    speaks_for, speaks_against = summed.clamp(min=0), (-summed).clamp(min=0)
    head = _by_mean((weights - THRESHOLD).clamp(min=0) ** 3 * gaussian_blur(speaks_for, 1.0, edges="symmetric"))
    tail = _by_mean(gaussian_blur(speaks_for + AGAINST * speaks_against, 1.0, edges="symmetric")) * _by_mean(contrast)
    shares = gaussian_blur(evidence.clamp(min=0), 1.0, edges="symmetric") + 1e-6 * speaks_for.mean((1, 2, 3), keepdim=True) + 1e-30
    return _by_mean(head + TAIL * tail.sqrt()) * (shares / shares.sum(1, keepdim=True))


def _by_mean(maps: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return maps >= 0 in units of their mean; a map of zeros stays one."""
    return maps / maps.mean((1, 2, 3), keepdim=True).clamp(min=1e-30)


def learn_literal(
    classify: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n c h w"],
    backgrounds: Float[Tensor, "n c h w"],
    targets: Int[Tensor, " n"],
) -> tuple[Float[Tensor, "n 1 h w"], Float[Tensor, "n steps"]]:
    """Return weights in [0, inf) and the losses of the literal preset: what the paper's abstract says and no more.

    A weight a pixel, w = alpha ** 2 from alpha = 1, cross-entropy of keep alone, 100 steps of Adam at 0.05.
    """
    alpha = torch.ones_like(images[:, :1]).requires_grad_()
    optimiser, losses = torch.optim.Adam([alpha], lr=LITERAL_RATE), []
    for _ in range(LITERAL_STEPS):
        logits = classify(keep(images, backgrounds, alpha.square()))
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        (alpha.grad,) = torch.autograd.grad(loss.sum(), [alpha])
        optimiser.step()
        losses.append(loss.detach())
    return alpha.detach().square(), torch.stack(losses, 1)
