"""Gaussian blurs of images and maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor


def gaussian_blur(images: Float[Tensor, "b c h w"], sigma_px: float) -> Float[Tensor, "b c h w"]:
    """Blur by a Gaussian of `sigma_px` (0 returns the input), edges reflected; the kernel ends at 3 sigma.

    For backgrounds and substitutes: of any width, once a view.
    """
    if sigma_px <= 0:
        return images
    for axis in (-2, -1):
        images = _blur_axis(images, sigma_px, axis)
    return images


def _blur_axis(images: Tensor, sigma_px: float, axis: int) -> Tensor:
    radius = min(max(1, round(3 * sigma_px)), images.shape[axis] - 1)
    position = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (position / sigma_px) ** 2)
    kernel /= kernel.sum()
    padding = (0, 0, radius, radius) if axis == -2 else (radius, radius, 0, 0)  # noqa: PLR2004 - the y axis
    shape = (1, 1, -1, 1) if axis == -2 else (1, 1, 1, -1)  # noqa: PLR2004
    b, c = images.shape[:2]
    wide = F.pad(images, padding, mode="reflect").reshape(b * c, 1, *_grown(images, radius, axis))
    return F.conv2d(wide, kernel.reshape(shape)).reshape(images.shape)


def _grown(images: Tensor, radius: int, axis: int) -> tuple[int, int]:
    h, w = images.shape[-2:]
    return (h + 2 * radius, w) if axis == -2 else (h, w + 2 * radius)  # noqa: PLR2004
