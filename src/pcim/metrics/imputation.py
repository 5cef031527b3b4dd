"""The substitutes that take the place of removed pixels.

A substitute that the classifier has never met answers another question. Every one is a `Fill`, so that each metric can be had with each.
It is a fixed image of the view's size, or linear imputation, which depends on the pixels that are left. Images are normalised,
(b, c, h, w); removed pixels are True, (n, h, w).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float, Int64  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.composites.baselines import make_background
from pcim.composites.gaussian_blur import gaussian_blur
from pcim.metrics.pixel_ranks import normal

if TYPE_CHECKING:
    from pcim.config.stages import Substitute

Fill = Callable[[Tensor, Tensor], Tensor]
"""Numbers of views (n,) and the pixels removed from each, bool (n, h, w), to images (n, c, h, w)."""

_STEPS_A_LOOK = 8
"""Steps of the solver between two looks at its residual: a look waits for the device."""


@dataclass(frozen=True)
class FixedFill:
    """Removed pixels become those of a second image of the same view."""

    images: Float[Tensor, "b c h w"]
    substitutes: Float[Tensor, "b c h w"]

    def __post_init__(self) -> None:
        if self.images.shape != self.substitutes.shape:
            given = tuple(self.substitutes.shape)
            raise ValueError(f"substitutes are {given}; allowed: the images' shape {tuple(self.images.shape)}")

    def __call__(self, views: Tensor, removed: Tensor) -> Tensor:
        """Return the images with their removed pixels replaced."""
        return torch.where(removed[:, None], self.substitutes[views], self.images[views])


@dataclass(frozen=True)
class ImputedFill:
    """Removed pixels become noisy linear interpolations of those that are left (ROAD; Rong et al. 2022, arXiv 2202.00449).

    A removed patch then tells little by its own shape. The noise is `noise` times the standard deviation of each channel,
    drawn by the view's key, so that it is the same wherever a pixel is removed.
    """

    images: Float[Tensor, "b c h w"]
    keys: Int64[Tensor, " b"]
    noise: float = 0.01
    tolerance: float = 1e-3

    @cached_property
    def grain(self) -> Float[Tensor, "b c h w"]:
        """The noise that each view's pixels take with them when they are removed."""
        spread = self.noise * self.images.flatten(2).std(2, correction=0)[..., None, None]
        return spread * normal(self.keys, self.images[0].numel()).view_as(self.images)

    def __call__(self, views: Tensor, removed: Tensor) -> Tensor:
        """Return the images with their removed pixels imputed."""
        filled = impute(self.images[views], removed, tolerance=self.tolerance)
        return torch.where(removed[:, None], filled + self.grain[views], filled) if self.noise else filled


def noise_matched(images: Float[Tensor, "b c h w"], keys: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
    """Return backgrounds of each channel's median with the view's own fine noise (median absolute deviation beyond 1 px).

    A flat substitute is something that no camera takes; this one has the grain of the view.
    """
    fine = images - gaussian_blur(images, 1.0, edges="reflect")
    spread = 1.4826 * fine.flatten(2).abs().median(2).values[..., None, None]
    median = images.flatten(2).median(2).values[..., None, None]
    return median + spread * normal(keys, images[0].numel()).view_as(images)


def impute(
    images: Float[Tensor, "n c h w"], removed: Bool[Tensor, "n h w"], *, tolerance: float = 1e-6, most: int = 2000
) -> Float[Tensor, "n c h w"]:
    """Return the images with every removed pixel equal to the weighted mean of its eight neighbours.

    Weights are 1/6 for the four nearest and 1/12 for the diagonal ones; at the view's edge those inside share the weight (Rong
    et al. 2022, section 4). The system is solved for all images at once by conjugate gradients, from a pyramid's guess, until no
    residual is above `tolerance` times the channel's standard deviation, or after `most` steps. An image without any pixel left
    becomes its channels' means.
    """
    solved = torch.where(removed[:, None], _pyramid_guess(images, (~removed[:, None]).to(images.dtype)), images)
    rounding = 10 * torch.finfo(images.dtype).eps * images.flatten(2).abs().amax(2)
    enough = (tolerance * images.flatten(2).std(2, correction=0) + rounding)[..., None, None]
    share = _around(torch.ones_like(images[:1, :1]))
    state = _Descent.start(solved, removed, share)
    rows = torch.arange(len(images), device=images.device)
    for _ in range(0, most, _STEPS_A_LOOK):
        is_open = (state.residual.abs() > enough[rows]).flatten(1).any(1)
        solved[rows] = state.solution
        rows, state = (
            rows[is_open],
            state.only(is_open),
        )  # what is done moves no more, whoever is with it, and costs no more
        if not len(rows):
            break
        for _ in range(_STEPS_A_LOOK):
            state.step(share)
    else:
        solved[rows] = state.solution
    return solved


@dataclass
class _Descent:
    """Conjugate gradients (Hestenes & Stiefel 1952) on the pixels `inside` of n images at once, each channel for itself."""

    inside: Tensor
    solution: Tensor
    residual: Tensor
    direction: Tensor
    squared: Tensor

    @classmethod
    def start(cls, guess: Tensor, removed: Tensor, share: Tensor) -> _Descent:
        inside = removed[:, None].to(guess.dtype)
        residual = inside * (_around(guess) - share * guess)
        return cls(inside, guess.clone(), residual, residual.clone(), _dot(residual, residual))

    def only(self, rows: Tensor) -> _Descent:
        return _Descent(*(getattr(self, field.name)[rows] for field in fields(self)))

    def step(self, share: Tensor) -> None:
        least = torch.finfo(self.solution.dtype).tiny
        turned = (share * self.direction).sub_(_around(self.direction)).mul_(self.inside)
        length = self.squared / _dot(self.direction, turned).clamp_(min=least)
        self.solution.addcmul_(length, self.direction)
        self.residual.addcmul_(length, turned, value=-1)
        before, self.squared = self.squared, _dot(self.residual, self.residual)
        self.direction.mul_(self.squared / before.clamp(min=least)).add_(self.residual)


def _around(images: Tensor) -> Tensor:
    """Return the weighted sum of every pixel's eight neighbours, those beyond the edge being 0.

    The weights are the outer product of (1, 2, 1) with itself, without its middle, over 12. Sums of slices: a convolution
    of so few channels takes ten times as long on a CPU.
    """
    padded = F.pad(images, (1, 1, 1, 1))
    rows = (padded[..., :-2, :] + padded[..., 2:, :]).add_(padded[..., 1:-1, :], alpha=2)
    both = (rows[..., :-2] + rows[..., 2:]).add_(rows[..., 1:-1], alpha=2)
    return both.sub_(images, alpha=4).mul_(1 / 12)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum((2, 3), keepdim=True)


def _pyramid_guess(images: Tensor, known: Tensor) -> Tensor:
    """Return images whose unknown pixels (0 in `known`, (n, 1, h, w)) are those of the finest level that knows them."""
    if max(images.shape[-2:]) == 1:
        return images
    weight, total = (F.avg_pool2d(part, 2, ceil_mode=True, count_include_pad=False) for part in (known, images * known))
    mean = images.mean((2, 3), keepdim=True)  # where a whole level knows nothing
    coarse = _pyramid_guess(torch.where(weight > 0, total / weight.clamp(min=1e-12), mean), (weight > 0).to(known.dtype))
    wide = F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(known > 0, images, wide)


def fill_of(images: Tensor, keys: Tensor, kind: Substitute, blur: float) -> Fill:
    """Return what removed pixels of normalised views become, by the name that the config gives it."""
    if kind == "road":
        return ImputedFill(images, keys)
    if kind == "noise":
        return FixedFill(images, noise_matched(images, keys))
    return FixedFill(images, make_background(images, kind, blur))
