"""The blending layer of PCIM.

Every pixel is a channel of its own, and a trainable weight a pixel mixes them over a background.

Isolating pixel p of an image x gives the channel x * e_p (x at p, nothing elsewhere). Blending the P isolated channels over
a background b with weights w gives, for any order of compositing, because no two isolated pixels overlap,

    keep = b + w * (x - b)                      w = 1: the pixel is kept; w = 0: it becomes the background
    drop = b + (1 - min(w, 1)) * (x - b)        the complement: what the weights keep is taken away

So the P x P stack is never built (10 GB at 224 x 224). A test builds it and compares.
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
