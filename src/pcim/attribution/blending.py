"""The blending layer: every pixel is a channel of its own, and a trainable weight a pixel mixes them over a background.

Isolating pixel p of an image x gives the channel x * e_p (x at p, nothing elsewhere). Blending the P isolated channels over
a background b with weights w gives, for any order of compositing, because no two isolated pixels overlap,

    keep = b + w * (x - b)                      w = 1: the pixel is kept; w = 0: it becomes the background
    drop = b + (1 - min(w, 1)) * (x - b)        the complement: what the weights keep is taken away

so the P x P stack is never built (10 GB at 224 x 224); a test builds it and compares.
"""

from __future__ import annotations

import torch
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor


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


def smooth(maps: Float[Tensor, "b c h w"], sigma_px: float) -> Float[Tensor, "b c h w"]:
    """Blur by a Gaussian of `sigma_px` (0 returns the input), cut at 3 sigma, the edges mirrored with the edge pixel.

    Mirrored so, the blur is a symmetric matrix whose rows sum to 1: it is its own adjoint, and the mean of a map stays what
    it was. It is written as sums of shifted maps, which on one channel is far cheaper than a convolution.
    """
    for axis in (-2, -1) if sigma_px > 0 else ():
        length = maps.shape[axis]
        taps = _taps(sigma_px, length)
        radius = len(taps) - 1
        wide = torch.cat(
            [maps.narrow(axis, 0, radius).flip(axis), maps, maps.narrow(axis, length - radius, radius).flip(axis)], axis
        )
        blurred = maps * taps[0]
        for distance, tap in enumerate(taps[1:], start=1):
            left, right = (wide.narrow(axis, radius + shift, length) for shift in (-distance, distance))
            blurred.add_(left + right, alpha=tap)
        maps = blurred
    return maps


def _taps(sigma_px: float, length: int) -> list[float]:
    """Return the Gaussian's weights at distance 0, 1, ... px, of which the others count twice; they sum to 1."""
    radius = min(max(1, round(3 * sigma_px)), length)
    values = torch.exp(-0.5 * (torch.arange(radius + 1, dtype=torch.float64) / sigma_px) ** 2)
    taps: list[float] = (values / (2 * values.sum() - values[0])).tolist()
    return taps
