"""The verdict on a field's pixels, and its reason: whether the field is worth a classifier's time.

Extremes and defects are counted over all pixels. Contrast, noise and focus are measured on rows spread over the field, at their
full resolution, so that judging a field costs a small part of reading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pcim.config.stages import IngestSettings

FULL_SCALE = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Highest values of the cameras and file types in use."""

_SAMPLE_PX = 2**14
"""About so many pixels a channel stand for its contrast and focus."""

_REACH = np.arange(-8, 9)
_BAND = sum(sign * bell / bell.sum() for sign, bell in ((1, np.exp(-(_REACH**2) / 2)), (-1, np.exp(-(_REACH**2) / 8))))
"""Weights of a Gaussian of 1 px less one of 2 px."""


@dataclass(frozen=True)
class Quality:
    """A field's verdict, one of `pcim.config.stages.QualityVerdict` or ``ok``, and its reason in words with numbers."""

    verdict: str
    reason: str = ""


@dataclass(frozen=True)
class _Plane:
    """What is measured of one channel."""

    lowest: float
    highest: float
    at_full: float
    at_zero: float
    contrast: float
    detail: float


def judge(image: NDArray[Any], channels: Sequence[str], settings: IngestSettings) -> Quality:  # noqa: PLR0911 - one a verdict
    """Judge a field's pixels (channel, y, x); the first fault found gives the verdict."""
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        return Quality("nan", f"{np.count_nonzero(~np.isfinite(image))} pixels are NaN or infinite")
    planes = [_measure(plane) for plane in image]
    flat = [number for number, plane in enumerate(planes) if plane.lowest == plane.highest]
    if flat:
        return Quality("constant", f"channel {channels[flat[0]]!r} is {planes[flat[0]].lowest:g} everywhere")
    full = int(np.argmax([plane.at_full for plane in planes]))
    if planes[full].at_full > settings.saturated_share:
        share, value = planes[full].at_full, planes[full].highest
        return Quality("saturated", f"{share:.0%} of channel {channels[full]!r} sits at its highest value {value:g}")
    zero = int(np.argmax([plane.at_zero for plane in planes]))
    if planes[zero].at_zero > settings.clipped_share:
        return Quality("clipped", f"{planes[zero].at_zero:.0%} of channel {channels[zero]!r} sits at 0, its lowest value")
    contrast = max(plane.contrast for plane in planes)
    if contrast < settings.empty_contrast:
        return Quality("empty", f"nothing rises above {contrast:.1f} noise units in any channel")
    detail = max(plane.detail for plane in planes)
    if detail < settings.focus:
        return Quality("out_of_focus", f"fine detail is {detail:.2g} of the variance; expected {settings.focus:g} or more")
    return Quality("ok")


def _measure(plane: NDArray[Any]) -> _Plane:
    """Measure one channel (y, x)."""
    lowest, highest = float(plane.min()), float(plane.max())
    at_full = np.count_nonzero(plane == plane.dtype.type(highest)) / plane.size if highest in FULL_SCALE else 0.0
    at_zero = np.count_nonzero(plane == 0) / plane.size if lowest == 0 else 0.0
    if lowest == highest:
        return _Plane(lowest, highest, at_full, at_zero, 0.0, 0.0)
    rows = _sample(plane)
    return _Plane(lowest, highest, at_full, at_zero, _contrast(rows), _fine_share(rows))


def _sample(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of a channel (y, x), spread over it at their full resolution."""
    step = max(1, plane.size // _SAMPLE_PX)
    return np.asarray(plane[step // 2 % len(plane) :: step], np.float32)


def illumination(plane: NDArray[Any]) -> tuple[float, float, float]:
    """Return how a channel (y, x) is lit: its median, right half less left half, and lower half less upper half.

    Intensity units, measured on rows spread over the field; 0 for a direction with less than two pixels, NaN where the median is.
    """
    rows = _sample(plane)
    middle, centre = rows.shape[1] // 2, len(rows) // 2
    halves = [(rows[:, :middle], rows[:, middle:]), (rows[:centre], rows[centre:])]
    tilts = [float(np.median(after) - np.median(before)) if before.size else 0.0 for before, after in halves]
    return float(np.median(rows)), tilts[0], tilts[1]


def _contrast(rows: NDArray[np.float32]) -> float:
    """Distance of the brightest or darkest 0.5 % from the median, in units of the pixel noise."""
    ordered = np.sort(rows, axis=None)  # three order statistics, at a third of the price of np.percentile
    low, middle, high = (float(ordered[round(share * (ordered.size - 1))]) for share in (0.005, 0.5, 0.995))
    differences = np.sort(np.abs(np.diff(rows, axis=-1)), axis=None)
    typical = float(differences[differences.size // 2]) if differences.size else 0.0
    noise = max(1.4826 * typical / np.sqrt(2), 0.5)  # half a grey level: digitisation
    return float(max(high - middle, middle - low) / noise)


def _fine_share(rows: NDArray[np.float32]) -> float:
    """Share of the rows' variance in the band between Gaussians of 1 and 2 px: detail, but not single-pixel noise."""
    from scipy.ndimage import correlate1d  # jobs that do not need it do not wait for it

    band = correlate1d(rows, _BAND, axis=-1)
    variance = float(rows.var())
    return float(band.var()) / variance if variance > 0 else 0.0


def digest_pixels(image: NDArray[Any]) -> str:
    """Return a digest (XXH3, 128 bit) of an array's shape, type and values, whatever its compression.

    It finds accidents, at memory speed; it is no defence against forgery.
    """
    digest = xxhash.xxh3_128(f"{image.shape}{image.dtype.str}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
