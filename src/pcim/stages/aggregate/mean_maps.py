"""Mean maps of groups of views, whole or windows around their objects, as xarray datasets in zarr."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

import numpy as np
import xarray as xr
from zarr.storage import MemoryStore

from pcim.runtime.atomic_file import whole_file
from pcim.views.resize import fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from pcim.core.identity import ViewKey
    from pcim.core.tiling import Box

Group = tuple[str, str, str]
"""Method, grouping, group."""


def centroids(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the numbers (n,) of a label image's objects (y, x; 0 = no object) and their centroids (n, 2): y, x, px."""
    places = np.nonzero(labels)
    numbers, which, sizes = np.unique(labels[places], return_inverse=True, return_counts=True)
    sums = [np.bincount(which, weights=axis, minlength=len(numbers)) for axis in places]
    return numbers.astype(np.int64), np.stack(sums, axis=1) / sizes[:, np.newaxis]


def find_windows(labels: NDArray[np.integer], views: Mapping[ViewKey, Box], *, side: int, most: int) -> dict[str, NDArray[np.int64]]:
    """Return view -> the top left corners (n, 2) of the windows around its objects, px of that view; they may lie outside it.

    An object belongs to one view: of those that hold its centroid the one in which it lies deepest, so overlapping views and
    crops of neighbours count it once. An object whose centroid no view holds has none. Of a view with more than `most`
    objects those are taken that the view's key draws. Pixel side // 2 of a window, from 0, holds the centroid.
    """
    numbers, points = centroids(labels)
    keys = sorted(views)
    depths = np.stack([_depth(points, views[key]) for key in keys]) if keys else np.zeros((0, len(points)))
    owner = np.where(depths.max(0, initial=-np.inf) >= 0, depths.argmax(0) if keys else 0, -1)
    found = {}
    for index, key in enumerate(keys):
        own = np.flatnonzero(owner == index)
        if len(own) > most:
            lots = sorted(own, key=lambda place: key.number(f"object {numbers[place]}"))
            own = np.sort(lots[:most])
        middle = np.floor(points[own] + 0.5).astype(np.int64)
        found[key.view] = middle - (views[key].top, views[key].left) - side // 2
    return found


def _depth(points: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """Return how far points (n, 2) lie inside a box's outline, px, negative outside; a pixel's centre is half a pixel inside."""
    first = np.array([box.top, box.left]) - 0.5
    past = first + np.array([box.height, box.width])
    return np.asarray(np.minimum(points - first, past - points).min(1))


def sum_windows(planes: NDArray[np.floating], corners: NDArray[np.int64], side: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sum (channel, side, side) of windows of `planes` (channel, y, x), and how many of them saw each pixel (side, side).

    What lies outside the planes, or is not finite in one of them, is not counted.
    """
    known = np.isfinite(planes).all(0)
    around = ((side, side), (side, side))
    padded = np.pad(np.where(known, planes, 0).astype(np.float64), ((0, 0), *around))
    seen = np.pad(known.astype(np.int64), around)
    total, count = np.zeros((len(planes), side, side)), np.zeros((side, side), np.int64)
    for top, left in corners + side:
        part = slice(top, top + side), slice(left, left + side)
        total += padded[:, *part]
        count += seen[part]
    return total, count


class MeanMaps:
    """Running means of the maps of groups of views that have one size.

    Maps longer than `longest` px are resized to it: a mean over views that are not aligned has no finer detail to lose, and a
    plate of wells would not fit into memory.
    """

    def __init__(self, longest: int = 256) -> None:
        self.longest = longest
        self._sums: dict[Group, tuple[NDArray[np.float64], int]] = {}

    def add(self, method: str, groups: Mapping[str, str], attribution: NDArray[np.floating]) -> None:
        """Add one view's map (y, x) to the groups it belongs to: grouping -> group."""
        scale = min(1.0, self.longest / max(attribution.shape))
        size = (max(1, round(attribution.shape[0] * scale)), max(1, round(attribution.shape[1] * scale)))
        fitted = fit(attribution[np.newaxis], size)[0]
        for grouping, group in groups.items():
            total, count = self._sums.get((method, grouping, group), (np.zeros(size), 0))
            self._sums[method, grouping, group] = (total + fitted, count + 1)

    def dataset(self) -> xr.Dataset:
        """Return the mean maps (entry, y, x), in units of the view's mean, with method, grouping, group and views."""
        keys = sorted(self._sums)
        means = [self._sums[key][0] / self._sums[key][1] for key in keys]
        stack = np.stack(means).astype(np.float32) if means else np.zeros((0, 0, 0), np.float32)
        counts = {"views": ("entry", np.array([self._sums[key][1] for key in keys], np.int64))}
        return xr.Dataset({"mean_map": (("entry", "y", "x"), stack)}, coords=_entries(keys) | counts)


class ObjectMaps:
    """Running means of maps and images in a window of `side` px around each object, by groups of views."""

    def __init__(self, side: int, channels: Sequence[str]) -> None:
        self.side, self.channels = side, list(channels)
        self._sums: dict[Group, list[NDArray[np.float64] | NDArray[np.int64] | int]] = {}

    def add(
        self,
        method: str,
        groups: Mapping[str, str],
        corners: NDArray[np.int64],
        attribution: NDArray[np.floating],
        image: NDArray[np.floating] | None = None,
    ) -> None:
        """Add the windows at `corners` (n, 2) of one view's map (y, x), and of its image (channel, y, x) where it is given."""
        if not len(corners) or not groups:
            return
        maps, count = sum_windows(attribution[np.newaxis], corners, self.side)
        shape = (len(self.channels), self.side, self.side)
        pixels, seen = (np.zeros(shape), 0 * count) if image is None else sum_windows(image, corners, self.side)
        for grouping, group in groups.items():
            known = self._sums.get((method, grouping, group), [0, 0, 0, 0, 0])
            more = (maps[0], count, pixels, seen, len(corners))
            self._sums[method, grouping, group] = [old + new for old, new in zip(known, more, strict=True)]

    def dataset(self) -> xr.Dataset:
        """Return `object_map` and `counts` (entry, y, x) and `object_image` (entry, channel, y, x), with the number of `objects`.

        y and x are px from the pixel of the centroid. A pixel that no object's view held is NaN; so is an image that was not
        given.
        """
        keys, side = sorted(self._sums), self.side
        shapes = ((side, side), (side, side), (len(self.channels), side, side), (side, side), ())
        maps, counts, images, seen, objects = (
            np.array([self._sums[key][part] for key in keys], np.float64).reshape(len(keys), *shape) for part, shape in enumerate(shapes)
        )
        with np.errstate(invalid="ignore"):
            maps, images = maps / counts, images / seen[:, np.newaxis]
        from_centre = np.arange(side) - side // 2
        return xr.Dataset(
            {
                "object_map": (("entry", "y", "x"), maps.astype(np.float32)),
                "counts": (("entry", "y", "x"), counts.astype(np.int32)),
                "object_image": (("entry", "channel", "y", "x"), images.astype(np.float32)),
            },
            coords=_entries(keys)
            | {"objects": ("entry", objects.astype(np.int64)), "channel": np.array(self.channels, dtype=str)}
            | {"y": from_centre, "x": from_centre},
        )


def _entries(keys: Sequence[Group]) -> dict[str, tuple[str, NDArray[np.str_]]]:
    """Return the coordinates that name the entries."""
    names = ("method", "grouping", "group")
    return {name: ("entry", np.array([key[part] for key in keys], dtype=str)) for part, name in enumerate(names)}


def write_dataset(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a dataset as one zipped zarr, whole or not at all, the same bytes for the same values."""
    files: dict[str, Buffer] = {}
    dataset.to_zarr(MemoryStore(files), zarr_format=2, consolidated=False)
    with whole_file(path) as partial, ZipFile(partial, "w") as archive:
        for name in sorted(files):
            archive.writestr(ZipInfo(name), files[name].to_bytes())  # ZipInfo's date is fixed: 1980
