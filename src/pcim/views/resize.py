"""Images and masks brought to another number of pixels, as a classifier's contract or a field wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fit(stack: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize images (channel, y, x) to (height, width): bilinear, averaged over the pixels that become one; float32 then.

    Images of that size are returned as they are.
    """
    if stack.shape[-2:] == tuple(size):
        return stack
    planes = [Image.fromarray(plane.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR) for plane in stack]
    return np.stack([np.asarray(plane, np.float32) for plane in planes])


def fit_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask (y, x) to (height, width): each pixel takes the value of the nearest one."""
    if mask.shape == tuple(size):
        return mask
    picture = Image.fromarray(mask.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(picture, bool)
