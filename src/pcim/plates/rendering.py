"""Pixels, maps and outlines as RGB pictures and as PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from PIL import Image
from scipy import ndimage

from pcim.plates.colours import MAP, rgb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


OUTLINES = ("#56B4E9", "#F0E442", "#CC79A7", "#009E73")
"""Colours of the regions' outlines in their order; the objects of the biology come first."""

_GLOW = np.array(rgb(MAP))
_LONG_SIDE_PX = 360
_LONGEST_PX = 400
"""Pictures are no longer than that: two pixels of a sharp screen for each that the page gives them."""


def stretch(images: Sequence[NDArray[Any]]) -> list[tuple[float, float]]:
    """Return one (black, white) pair a channel for all shown images (channel, y, x): the 0.5th and 99.5th percentile of their pixels."""
    flat = [np.concatenate([pixels[c].ravel() for pixels in images]) for c in range(len(images[0]))]
    ends = [np.quantile(values, [0.005, 0.995]) for values in flat]
    return [(float(low), float(max(high, low + 1e-6))) for low, high in ends]


def composite(pixels: NDArray[Any], ends: Sequence[tuple[float, float]], colours: Sequence[str]) -> NDArray[np.float64]:
    """Return pixels (channel, y, x) as an RGB picture (y, x, 3) in [0, 1]: the sum of the channels in their colours (six hex digits)."""
    picture = np.zeros((*pixels.shape[1:], 3))
    for plane, (low, high), colour in zip(pixels, ends, colours, strict=True):
        scaled = np.clip((plane.astype(np.float64) - low) / (high - low), 0, 1)
        picture += scaled[..., np.newaxis] * np.array(rgb(colour))
    return np.clip(picture, 0, 1)


def scale_of(shape: tuple[int, ...]) -> int:
    """Return how often a pixel is repeated so that a picture is large enough to draw thin outlines on it."""
    return max(1, _LONG_SIDE_PX // max(shape[0], shape[1]))


def image_png(picture: NDArray[np.floating]) -> bytes:
    """Return an RGB picture (y, x, 3) in [0, 1] as PNG, pixels repeated."""
    return _png(_enlarge(picture, scale_of(picture.shape)))


def map_png(attribution: NDArray[np.floating], top: float) -> bytes:
    """Return a map (y, x) >= 0 as PNG, from black = 0 to white = `top` (colour map magma)."""
    colours = mpl.colormaps["magma"](np.clip(attribution / max(top, 1e-9), 0, 1))[..., :3]
    return _png(_enlarge(colours, scale_of(attribution.shape)))


def overlay_png(picture: NDArray[np.floating], attribution: NDArray[np.floating], top: float) -> bytes:
    """Return the picture in grey with the map glowing orange on it, as PNG."""
    scale = scale_of(attribution.shape)
    grey = _enlarge(np.repeat(picture.max(-1, keepdims=True), 3, axis=-1), scale) * 0.8
    strength = _enlarge(np.clip(attribution / max(top, 1e-9), 0, 1)[..., np.newaxis], scale) ** 0.7
    return _png(grey * (1 - 0.9 * strength) + _GLOW * 0.9 * strength)


def outlines_png(outlines: Mapping[str, NDArray[np.bool_]], shape: tuple[int, int]) -> bytes:
    """Return the regions' outlines, colour -> mask (y, x), as PNG on nothing: it lies over a picture of views of this shape."""
    scale = scale_of(shape)
    drawn = np.zeros((shape[0] * scale, shape[1] * scale, 4))
    for colour, mask in outlines.items():
        large = np.repeat(np.repeat(mask, scale, 0), scale, 1)
        edge = large & ~ndimage.binary_erosion(large, border_value=1)
        drawn[edge] = [*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0]
    return _png(drawn)


def top_of(maps: Sequence[NDArray[np.floating]]) -> float:
    """Return the value shown as white: the median of the shown maps' 99.5th percentiles, at least 1 (the mean)."""
    return max(1.0, float(np.median([np.quantile(attribution, 0.995) for attribution in maps])))


def _enlarge(picture: NDArray[np.floating], scale: int) -> NDArray[np.floating]:
    return np.repeat(np.repeat(picture, scale, 0), scale, 1)


def _png(picture: NDArray[np.floating]) -> bytes:
    """Encode without loss, in shades of grey or a palette where that is enough, which keeps the page small."""
    pixels = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.BOX)
    pixels = np.asarray(image)
    if image.mode == "RGBA":
        pass  # what is transparent stays so
    elif np.ptp(pixels, axis=-1).max() == 0:
        image = image.convert("L")
    elif image.getcolors(256) is not None:
        image = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
