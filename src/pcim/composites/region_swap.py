"""Images in which a region has changed places between two views.

A region's pixels land where they were in the donor. Objects never travel with another region, nor another region with the objects. Where
objects are taken away, the smooth background fills the hole. Images are (c, h, w) raw intensities of any type; what is made is float32.
Masks (h, w) are True inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Shaped  # noqa: TC002 - tests check shapes at run time
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence


_KNOWN_SHARE = 0.01
"""A hole's pixel is filled once the kernel has this share of its weight on known pixels: less is a guess from afar."""


@dataclass(frozen=True)
class Scene:
    """A view that takes part in exchanges: its pixels, its objects, and how smooth its background is, px.

    Pass objects that `regions.widen` has widened by the halo, so that no fringe of an object stays behind or travels.
    """

    pixels: Shaped[np.ndarray, "c h w"]
    objects: Bool[np.ndarray, "h w"]
    sigma_px: float

    @cached_property
    def empty(self) -> Float32[np.ndarray, "c h w"]:
        """The view without its objects."""
        return without_objects(self.pixels, self.objects, self.sigma_px)


@dataclass(frozen=True)
class Exchange:
    """A receiver with a region of the donor's, and the `union` of both views' regions: all that may differ."""

    image: Float32[np.ndarray, "c h w"]
    union: Bool[np.ndarray, "h w"]


def without_objects(image: Shaped[np.ndarray, "c h w"], objects: Bool[np.ndarray, "h w"], sigma_px: float) -> Float32[np.ndarray, "c h w"]:
    """Return the image with its objects replaced by the smooth background, and every other pixel as it was.

    A hole is filled with the Gaussian mean (`sigma_px`) of the pixels outside all objects; where too few are near, the
    Gaussian is doubled until it reaches the view's size. What is then still open takes the channel's mean outside the
    objects; where everything is object, the channel's mean.

    Raises
    ------
    ValueError
        When `sigma_px` is not a finite number above 0, or the image holds NaN or infinite values.
    """
    if not (np.isfinite(sigma_px) and sigma_px > 0):
        raise ValueError(f"sigma_px is {sigma_px}; allowed: a finite number above 0")
    if not np.isfinite(image).all():
        raise ValueError(f"{(~np.isfinite(image)).sum()} pixels are NaN or infinite; allowed: finite values")
    filled = image.astype(np.float64)
    known = ~objects
    if objects.any():
        mean = filled[:, known].mean(axis=1) if known.any() else filled.mean(axis=(1, 2))
        for channel, level in zip(filled, mean, strict=True):
            channel[objects] = _smooth_background(channel, known, sigma_px, float(level))[objects]
    return filled.astype(np.float32)


def _smooth_background(channel: np.ndarray, known: np.ndarray, sigma_px: float, level: float) -> np.ndarray:
    """Return the normalised convolution of the known pixels (Knutsson & Westin 1993), widened where they are far."""
    smooth = np.full(channel.shape, level)
    is_open = ~known
    while is_open.any() and sigma_px <= max(channel.shape):
        weight = ndimage.gaussian_filter(known.astype(np.float64), sigma_px, mode="constant")
        total = ndimage.gaussian_filter(np.where(known, channel, 0.0), sigma_px, mode="constant")
        now = is_open & (weight >= _KNOWN_SHARE)
        smooth[now] = total[now] / weight[now]
        is_open &= ~now
        sigma_px *= 2
    return smooth


def exchange_objects(receiver: Scene, donor: Scene) -> Exchange:
    """Return the receiver without its objects, with the donor's put where they were in the donor."""
    made = receiver.empty.copy()
    made[:, donor.objects] = donor.pixels[:, donor.objects]
    return Exchange(made, receiver.objects | donor.objects)


def exchange_region(receiver: Scene, donor: Scene, union: Bool[np.ndarray, "h w"]) -> Exchange:
    """Return the receiver with the pixels of the donor without its objects on `union`, except inside the receiver's objects."""
    made, put = receiver.pixels.astype(np.float32), union & ~receiver.objects
    made[:, put] = donor.empty[:, put]
    return Exchange(made, union)


def exchange_pixels(receiver: Scene, donor: Scene, union: Bool[np.ndarray, "h w"]) -> Exchange:
    """Return the receiver with the donor's pixels on `union` as they are, whatever they show."""
    made = receiver.pixels.astype(np.float32)
    made[:, union] = donor.pixels[:, union]
    return Exchange(made, union)


def exchange_channel(receiver: Scene, donor: Scene, channel: int) -> Float32[np.ndarray, "c h w"]:
    """Return the receiver with one whole channel of the donor's."""
    made = receiver.pixels.astype(np.float32)
    made[channel] = donor.pixels[channel]
    return made


def mean_scene(scenes: Sequence[Scene]) -> Scene:
    """Return the mean of the views without their objects: what a class looks like where nothing lies."""
    total = np.zeros(scenes[0].pixels.shape, np.float64)
    for scene in scenes:
        total += scene.empty
    mean = (total / len(scenes)).astype(np.float32)
    return Scene(mean, np.zeros(mean.shape[1:], dtype=bool), scenes[0].sigma_px)


def control_region(union: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"] | None:
    """Return a region of the union's area outside it: the pixels nearest to the view's centre, a disc where it is free.

    Exchanged like a region that is not the objects' (as `union` of `exchange_region`), it tells what the exchange of
    so many pixels does anywhere. Pixels at equal distance are taken in raster order. None where fewer pixels are left
    outside the union than it has.
    """
    size, outside = int(union.sum()), ~union
    if outside.sum() < size:
        return None
    y, x = (np.arange(length) - (length - 1) / 2 for length in union.shape)
    distance = np.where(outside, np.add.outer(y**2, x**2), np.inf)
    control = np.zeros(union.size, dtype=bool)
    control[np.argsort(distance, axis=None, kind="stable")[:size]] = True
    return control.reshape(union.shape)
