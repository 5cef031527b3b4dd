"""PCIM without gradients, for a classifier that only gives scores.

The blend is estimated from a fixed number of forward passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.attribution.blending import drop, keep
from pcim.classifiers.log_odds import log_odds
from pcim.composites.gaussian_blur import gaussian_blur

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIDE = 16
SCALES = (4, 8, 16)
"""The grid of weights, and the grids that its masks are drawn on: coarse masks find the place, fine ones its shape."""
MOST_SEGMENTS = 256
SMALLEST_BUDGET = 64  # forward passes a view; fewer say nothing about 256 cells
MOST_LOG_ODDS = 4.0  # beyond it a call is certain, and how certain it is says nothing about the pixels
RIDGE = 0.1
ACTIVE = 0.25  # share of the cells that the second half of the budget looks at more closely


@torch.no_grad()
def estimate(  # noqa: PLR0913, PLR0917 - views, and how they are asked about
    classify: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n c h w"],
    backgrounds: tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]],
    targets: Int[Tensor, " n"],
    keys: Sequence[int],
    budget: int,
    segments: Tensor | None,
    batch_size: int,
) -> tuple[Float[Tensor, "n 1 h w"], Float[Tensor, "n c h w"]]:
    """Return weights in [0, 1], 1 = the pixel is kept, and maps a channel >= 0, from at most `budget` forward passes a view.

    Weights live on a grid of 16 x 16, or one a segment. Every random mask is asked both ways, as what is kept and as what is
    dropped, and the difference of the two margins is regressed on the mask: even interactions cancel (antithetic). Half of
    the masks cover the whole view; the other half cover the most telling quarter of the cells, all others given up. A view is
    asked about alone, with masks drawn by its key: its result knows no other view.

    Raises
    ------
    ValueError
        When the budget leaves fewer than 64 passes beside those that ask about channels, keys are not one a view, or
        segments are not what is allowed.
    """
    _check(images, keys, budget, segments)
    found = []
    for number, key in enumerate(keys):
        here = slice(number, number + 1)
        cells = None if segments is None else segments[number].to(images.device).unique(return_inverse=True)[1]
        view = _View(classify, images[here], (backgrounds[0][here], backgrounds[1][here]), targets[here], cells, batch_size)
        found.append(view.estimate(budget, torch.Generator().manual_seed(key)))
    weights, maps = zip(*found, strict=True)
    return torch.cat(weights), torch.cat(maps)


def _check(images: Tensor, keys: Sequence[int], budget: int, segments: Tensor | None) -> None:
    channels = images.shape[1]
    if budget < SMALLEST_BUDGET + 2 * channels:
        least = SMALLEST_BUDGET + 2 * channels
        raise ValueError(f"budget is {budget}; allowed for {channels} channels: {least} forward passes or more")
    if len(keys) != len(images):
        raise ValueError(f"{len(keys)} keys for {len(images)} images; allowed: one each")
    if segments is None:
        return
    allowed = (len(images), *images.shape[-2:])
    if tuple(segments.shape) != allowed or segments.is_floating_point() or bool((segments < 0).any()):
        raise ValueError(f"segments are {tuple(segments.shape)} {segments.dtype}; allowed: integers >= 0 of shape {allowed}")
    most = max(len(one.unique()) for one in segments)
    if most > MOST_SEGMENTS:
        raise ValueError(f"an image has {most} segments; allowed: at most {MOST_SEGMENTS}")


class _View:
    """One view (1, c, h, w) and the questions about it; `cells` (h, w) number its segments, None is the grid."""

    def __init__(  # noqa: PLR0913, PLR0917 - as `estimate`
        self,
        classify: Callable[[Tensor], Tensor],
        image: Tensor,
        backgrounds: tuple[Tensor, Tensor],
        target: Tensor,
        cells: Tensor | None,
        batch_size: int,
    ) -> None:
        self.classify, self.image, self.backgrounds, self.target = classify, image, backgrounds, target
        self.cells, self.batch_size = cells, batch_size
        self.count = SIDE * SIDE if cells is None else int(cells.max()) + 1

    def estimate(self, budget: int, lot: torch.Generator) -> tuple[Tensor, Tensor]:
        channels = self.image.shape[1]
        pairs = (budget - (2 * channels + 1 if channels > 1 else 0)) // 2
        masks = self._wide_masks(pairs // 2, lot)
        answers = self._ask(masks)
        near = self._near(self._regress(masks, answers))
        closer = (torch.rand(pairs - len(masks), self.count, generator=lot) < 0.5).to(masks) * near  # noqa: PLR2004 - a coin
        masks, answers = torch.cat([masks, closer]), torch.cat([answers, self._ask(closer)])
        coefficients = self._regress(masks, answers).clamp(min=0)
        weights = self._as_images((coefficients / coefficients.max().clamp(min=1e-30))[None], "bicubic").clamp(0, 1)
        return weights, self._maps(weights)

    def _wide_masks(self, count: int, lot: torch.Generator) -> Tensor:
        """Return random masks (count, cells) of 0 and 1 over the whole view, on every scale in turn."""
        if self.cells is not None:
            return (torch.rand(count, self.count, generator=lot) < 0.5).float().to(self.image.device)  # noqa: PLR2004
        masks = []
        for number, side in enumerate(SCALES):
            share = count // len(SCALES) + (number < count % len(SCALES))
            coarse = (torch.rand(share, 1, side, side, generator=lot) < 0.5).float()  # noqa: PLR2004 - a coin
            masks.append(F.interpolate(coarse, (SIDE, SIDE), mode="nearest").flatten(1))
        return torch.cat(masks).to(self.image.device)

    def _as_images(self, values: Float[Tensor, "m cells"], mode: str = "bilinear") -> Float[Tensor, "m 1 h w"]:
        """Return values of cells as images."""
        if self.cells is not None:
            return values[:, self.cells][:, None]
        return F.interpolate(values.view(-1, 1, SIDE, SIDE), self.image.shape[-2:], mode=mode, align_corners=False)

    def _ask(self, masks: Float[Tensor, "m cells"]) -> Float[Tensor, " m"]:
        """Return the margin of what each mask keeps minus the margin of what it leaves."""
        answers = []
        for part in masks.split(max(1, self.batch_size // 2)):
            weights, n = self._as_images(part), len(part)
            image, of_keep, of_drop = (one.expand(n, -1, -1, -1) for one in (self.image, *self.backgrounds))
            of_both = self._margins(torch.cat([keep(image, of_keep, weights), drop(image, of_drop, weights)]))
            answers.append(of_both[:n] - of_both[n:])
        return torch.cat(answers)

    def _margins(self, images: Tensor) -> Tensor:
        margins = log_odds(self.classify(images), self.target.expand(len(images)))
        return margins.clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS)

    def _regress(self, masks: Float[Tensor, "m cells"], answers: Float[Tensor, " m"]) -> Float[Tensor, " cells"]:
        """Return each cell's effect: the ridge regression whose prior says that neighbours on every scale go together."""
        design, wanted = masks.double() - 0.5, answers.double() - answers.double().mean()
        prior = self._prior().to(design)
        gram = design @ prior @ design.T
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        effects: Tensor = prior @ design.T @ torch.linalg.solve(gram, wanted)
        return effects.float()

    def _prior(self) -> Tensor:
        """Return the covariance of the cells: the number of scales on which two of them share a square."""
        if self.cells is not None:
            return torch.eye(self.count)
        row, column = torch.arange(self.count) // SIDE, torch.arange(self.count) % SIDE
        squares: list[Tensor] = [row // (SIDE // side) * side + column // (SIDE // side) for side in SCALES]
        shared: Tensor = torch.stack([square[:, None] == square for square in squares]).sum(0)
        return shared

    def _near(self, coefficients: Float[Tensor, " cells"]) -> Float[Tensor, " cells"]:
        """Return 1 for the most telling quarter of the cells, and on the grid for their neighbours too; 0 for the others."""
        least = coefficients.clamp(min=0).quantile(1 - ACTIVE)
        active = (coefficients >= least).float()
        if self.cells is None:
            active = F.max_pool2d(active.view(1, 1, SIDE, SIDE), 3, 1, 1).flatten()
        return active

    def _maps(self, weights: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 c h w"]:
        """Return w^2 * g(|x - b|) a channel, times what the channel adds to the call: cells are coarse, the image is not."""
        contrast = gaussian_blur((self.image - self.backgrounds[0]).abs(), 1.0, edges="symmetric")
        return weights.square() * contrast * self._channels(weights).view(1, -1, 1, 1)

    def _channels(self, weights: Float[Tensor, "1 1 h w"]) -> Float[Tensor, " c"]:
        """Return each channel's share: what keeping it alone adds and keeping all others loses, in log-odds, in [0, 1]."""
        channels = self.image.shape[1]
        if channels == 1:
            return torch.ones(1, device=self.image.device)
        alone = torch.eye(channels, device=self.image.device)
        chosen = torch.cat([alone, 1 - alone, torch.zeros_like(alone[:1])])[:, :, None, None]  # (2c + 1, c, 1, 1)
        kept = keep(self.image, self.backgrounds[0], weights)
        margins = self._margins(torch.lerp(self.backgrounds[0], kept, chosen))
        added, lost = margins[:channels] - margins[-1], -margins[channels:-1]
        effect = (added - added.min()) + (lost - lost.min())
        return effect / effect.sum() if bool(effect.sum() > 0) else torch.full_like(effect, 1 / channels)
