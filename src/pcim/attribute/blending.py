"""The blending layer: every pixel is a channel of its own, and a trainable weight a pixel mixes them over a background.

Isolating pixel p of an image x gives the channel x * e_p (x at p, nothing elsewhere). Blending the P isolated channels over
a background b with weights w gives, for any order of compositing, because no two isolated pixels overlap,

    keep = b + w * (x - b)                      w = 1: the pixel is kept; w = 0: it becomes the background
    drop = b + (1 - min(w, 1)) * (x - b)        the complement: what the weights keep is taken away

so the P x P stack is never built (10 GB at 224 x 224); a test builds it and compares.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor, nn


class Blending(nn.Module):
    """The trainable blend of a batch of views; views share nothing.

    The weights are w = smooth(upsample(alpha ** 2)), in [0, inf), 1 = the pixel is kept. alpha lives on a grid coarser by
    `grid` and starts at 1, so that training starts from the image itself and needs no random number.
    """

    def __init__(self, batch: int, size: tuple[int, int], *, grid: int, smooth_px: float) -> None:
        super().__init__()
        coarse = tuple(-(-length // grid) for length in size)
        self.size = size
        self.alpha = nn.Parameter(torch.ones(batch, 1, *coarse))
        self.smooth_px = smooth_px

    def weights(self) -> Float[Tensor, "b 1 h w"]:
        """Return the weights, in [0, inf), 1 = the pixel is kept."""
        weights = self.alpha.square()
        if weights.shape[-2:] != self.size:
            weights = F.interpolate(weights, self.size, mode="bilinear", align_corners=False)
        return gaussian_blur(weights, self.smooth_px)


def keep(
    images: Float[Tensor, "b c h w"], backgrounds: Float[Tensor, "b c h w"], weights: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b c h w"]:
    """Return the images as far as the weights keep them: b + w * (x - b)."""
    return torch.addcmul(backgrounds, weights, images - backgrounds)


def drop(
    images: Float[Tensor, "b c h w"], backgrounds: Float[Tensor, "b c h w"], weights: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b c h w"]:
    """Return the images without what the weights keep: b + (1 - min(w, 1)) * (x - b)."""
    return torch.addcmul(backgrounds, 1 - weights.clamp(max=1), images - backgrounds)


def gaussian_blur(images: Float[Tensor, "b c h w"], sigma_px: float) -> Float[Tensor, "b c h w"]:
    """Blur by a Gaussian of `sigma_px` (0 returns the input), edges reflected; the kernel ends at 3 sigma."""
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
