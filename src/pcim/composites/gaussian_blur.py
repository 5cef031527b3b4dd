"""The Gaussian blur of images and maps."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor


def gaussian_blur(images: Float[Tensor, "b c h w"], sigma_px: float, *, edges: Literal["reflect", "symmetric"]) -> Float[Tensor, "b c h w"]:
    """Blur by a Gaussian of `sigma_px` (0 returns the input) that ends at 3 sigma.

    `edges` says what lies beyond the edge, in NumPy's words. ``reflect`` mirrors the image at the middle of its edge pixel.
    ``symmetric`` mirrors the edge pixel too: the blur is then a symmetric matrix whose rows sum to 1, so it is its own adjoint and
    the mean stays what it was.
    """
    if sigma_px <= 0:
        return images
    # Two ways, because each is far the cheaper one for its work: a convolution for wide blurs of whole images, once a view;
    # sums of shifted maps for the narrow blur of one channel, twice a step of the optimiser. They differ in the last bits.
    blur_axis = _convolve if edges == "reflect" else _sum_shifts
    for axis in (-2, -1):
        images = blur_axis(images, sigma_px, axis)
    return images


def _convolve(images: Tensor, sigma_px: float, axis: int) -> Tensor:
    radius = min(max(1, round(3 * sigma_px)), images.shape[axis] - 1)
    position = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (position / sigma_px) ** 2)
    kernel /= kernel.sum()
    is_y = axis == -2  # noqa: PLR2004 - (b, c, y, x)
    wide = F.pad(images, (0, 0, radius, radius) if is_y else (radius, radius, 0, 0), mode="reflect")
    one_by_one = wide.reshape(-1, 1, *wide.shape[-2:])
    return F.conv2d(one_by_one, kernel.reshape((1, 1, -1, 1) if is_y else (1, 1, 1, -1))).reshape(images.shape)


def _sum_shifts(maps: Tensor, sigma_px: float, axis: int) -> Tensor:
    length = maps.shape[axis]
    taps = _taps(sigma_px, length)
    radius = len(taps) - 1
    before, after = maps.narrow(axis, 0, radius).flip(axis), maps.narrow(axis, length - radius, radius).flip(axis)
    wide = torch.cat([before, maps, after], axis)
    total = maps * taps[0]
    for distance, tap in enumerate(taps[1:], start=1):
        left, right = (wide.narrow(axis, radius + shift, length) for shift in (-distance, distance))
        total.add_(left + right, alpha=tap)
    return total


def _taps(sigma_px: float, length: int) -> list[float]:
    """Return the Gaussian's weights at distance 0, 1, ... px, of which the others count twice; they sum to 1."""
    radius = min(max(1, round(3 * sigma_px)), length)
    values = torch.exp(-0.5 * (torch.arange(radius + 1, dtype=torch.float64) / sigma_px) ** 2)
    taps: list[float] = (values / (2 * values.sum() - values[0])).tolist()
    return taps
