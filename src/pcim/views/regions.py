"""Named parts of an image, made from its label images. Masks are True inside the region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Integer  # noqa: TC002 - tests check shapes at run time

from pcim.core.vocabulary import BACKGROUND, WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_HALF_PIXEL = 0.5


def label_region(labels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels inside any object of a label image (0 = no object)."""
    return np.asarray(labels != 0)


def boundary_region(labels: Integer[np.ndarray, "h w"], width_px: float) -> Bool[np.ndarray, "h w"]:
    """Return the band of `width_px` on both sides of the boundary between the objects together and the rest.

    The boundary runs between the pixels: a pixel's distance to it is the Euclidean one to the nearest pixel centre
    across, less half a pixel, so a band of 3 px along a straight boundary is 3 pixels deep on either side. Objects that
    touch have no boundary between them, and the image's own border is none: what lies beyond it is unknown.

    Raises
    ------
    ValueError
        When `width_px` is not a finite number above 0.
    """
    if not (np.isfinite(width_px) and width_px > 0):
        raise ValueError(f"width_px is {width_px}; allowed: a finite number above 0")
    inside = label_region(labels)
    if inside.all() or not inside.any():
        return np.zeros_like(inside)  # the distance transform is undefined where there is nothing across
    across = np.where(inside, _distance_px(~inside), _distance_px(inside))
    return across - _HALF_PIXEL <= width_px


def frame(shape: tuple[int, int], share: float) -> Bool[np.ndarray, "h w"]:
    """Return the band along all four edges of a view, `share` of its shorter side deep (at least 1 px)."""
    depth = _depth(shape, share)
    mask = np.ones(shape, dtype=bool)
    mask[depth:-depth, depth:-depth] = False
    return mask


def corners(shape: tuple[int, int], share: float) -> Bool[np.ndarray, "h w"]:
    """Return the squares in the four corners of a view, twice `share` of its shorter side wide (at least 2 px)."""
    side = 2 * _depth(shape, share)
    top, left = (np.arange(length) for length in shape)
    is_end = [(place < side) | (place >= length - side) for place, length in zip((top, left), shape, strict=True)]
    return np.asarray(np.logical_and.outer(*is_end))


def _depth(shape: tuple[int, int], share: float) -> int:
    if not 0 < share < 1 / 4:
        raise ValueError(f"share is {share}; allowed: above 0, below a quarter")
    return max(1, round(share * min(shape)))


def widen(mask: Bool[np.ndarray, "h w"], halo_px: float) -> Bool[np.ndarray, "h w"]:
    """Add to a mask every pixel at most `halo_px` (Euclidean, centre to centre) from it; 0 returns a copy.

    Raises
    ------
    ValueError
        When `halo_px` is below 0.
    """
    if halo_px < 0:
        raise ValueError(f"halo_px is {halo_px}; allowed: 0 or more")
    if not mask.any():
        return mask.copy()  # the distance transform is undefined where there is nothing to be near
    return _distance_px(mask) <= halo_px


def partition(named: Mapping[str, Bool[np.ndarray, "h w"]], shape: tuple[int, int] | None = None) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Make regions disjoint, the earlier one keeping what it shares with a later one, and add ``background``.

    Every pixel is then in exactly one region; a region may be empty. With no named region there is only ``whole_view``. `shape` (height,
    width) px is only needed where there are no named regions, and is checked where there are.

    Raises
    ------
    ValueError
        When a region is called ``background``, when shapes differ, or when there is neither a region nor a shape.
    """
    shapes = {name: mask.shape for name, mask in named.items()}
    expected = shape if shape is not None else next(iter(shapes.values()), None)
    if expected is None:
        raise ValueError("no region and no shape; allowed: at least one of them")
    if BACKGROUND in named:
        raise ValueError(f"regions {list(named)}: {BACKGROUND!r} is what no region holds; it cannot be given")
    if wrong := {name: found for name, found in shapes.items() if found != tuple(expected)}:
        raise ValueError(f"regions of shape {wrong}; allowed: {tuple(expected)}")
    free = np.ones(expected, dtype=bool)
    regions = {}
    for name, mask in named.items():
        regions[name] = mask & free
        free &= ~mask
    regions[BACKGROUND if named else WHOLE] = free
    return regions


def _distance_px(mask: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Return every pixel's Euclidean distance to the nearest pixel of `mask`, 0 inside it."""
    from scipy import ndimage  # jobs that do not need it do not wait for it

    return np.asarray(ndimage.distance_transform_edt(~mask))
