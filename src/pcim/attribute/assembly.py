"""A field's maps, put together from those of its views."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.fitting import fit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pcim.chunks import Box

    Arrays = Mapping[str, NDArray[np.float32]]


@dataclass
class Assembly:
    """One field while its views are explained, and the maps of those that are done, by name: where, and arrays (channel, y, x)."""

    shape: tuple[int, int]
    waiting_for: int
    done: dict[str, tuple[Box, Arrays]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any], name: str, box: Box, arrays: Arrays | None = None) -> None:
        """Note how a view ended, and keep its arrays (channel, y, x) of the classifier's size."""
        self.rows.append(row)
        self.waiting_for -= 1
        if arrays:
            self.done[name] = box, arrays

    @property
    def are_views_apart(self) -> bool:
        """Tell whether the views' own maps differ from what the field shows: they overlap, or were resized."""
        covered = np.zeros(self.shape, np.uint8)
        for box, arrays in self.done.values():
            covered[box.slices] += 1
            if arrays["map"].shape[-2:] != (box.height, box.width):
                return True
        return bool((covered > 1).any())

    def stitched(self) -> dict[str, NDArray[np.float32]]:
        """Return the field's arrays by name (channel, y, x), NaN where no view is explained.

        Where views overlap, each counts by its distance to its own nearest edge, and the weights add up to 1: a map has no
        seam where a view ends. Every view is brought to the field's own pixels.
        """
        weights = np.zeros(self.shape, np.float32)
        sums: dict[str, NDArray[np.float32]] = {}
        for _, (box, arrays) in sorted(self.done.items()):
            inner = _distance_to_edge(box)
            weights[box.slices] += inner
            for name, array in arrays.items():
                whole = sums.setdefault(name, np.zeros((len(array), *self.shape), np.float32))
                whole[:, *box.slices] += inner * fit(array, (box.height, box.width))
        with np.errstate(invalid="ignore"):
            return {name: np.where(weights > 0, whole / weights, np.nan) for name, whole in sums.items()}

    def top(self, percent: float) -> NDArray[np.uint8]:
        """Mark the `percent` highest pixels of each view with 1; where views overlap, the one in whose middle a pixel lies."""
        marked, nearest = np.zeros(self.shape, np.uint8), np.zeros(self.shape, np.float32)
        for _, (box, arrays) in sorted(self.done.items()):
            own = fit(arrays["map"].sum(0, keepdims=True), (box.height, box.width))[0]
            inner = _distance_to_edge(box)
            mine = inner > nearest[box.slices]
            marked[box.slices] = np.where(mine, highest(own, percent), marked[box.slices])
            nearest[box.slices] = np.maximum(inner, nearest[box.slices])
        return marked


def _distance_to_edge(box: Box) -> NDArray[np.float32]:
    """Return, for each pixel of a box, the product of its distances to the nearest edges in y and x, px, at least 1/4."""
    down, across = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5 for n in (box.height, box.width))
    return np.outer(down, across).astype(np.float32)


def highest(attribution: NDArray[np.float32], percent: float) -> NDArray[np.uint8]:
    """Mark the `percent` highest pixels of a map (y, x) with 1; pixels at 0 are never marked."""
    threshold = np.percentile(attribution, 100 - percent)
    return ((attribution >= threshold) & (attribution > 0)).astype(np.uint8)
