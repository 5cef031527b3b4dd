"""A field's maps, put together from those of its views."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pcim.chunks import Tile


@dataclass
class Assembly:
    """One field while its views are explained: arrays by name (channel, y, x), NaN where no view is explained."""

    shape: tuple[int, int]
    waiting_for: int
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    top: NDArray[np.uint8] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        row: dict[str, Any],
        tile: Tile,
        arrays: Mapping[str, NDArray[np.float32]] | None = None,
        top_percent: float = 0.0,
    ) -> None:
        """Note how a view ended, and put its arrays (channel, y, x) in: only the part of the field that the view owns."""
        self.rows.append(row)
        self.waiting_for -= 1
        if not arrays:
            return
        seen, owned = tile.seen, tile.owned
        top, left = owned.top - seen.top, owned.left - seen.left
        inside = slice(top, top + owned.height), slice(left, left + owned.width)
        for name, array in arrays.items():
            whole = self.arrays.setdefault(name, np.full((len(array), *self.shape), np.nan, np.float32))
            whole[:, *owned.slices] = array[:, *inside]
        if self.top is None:
            self.top = np.zeros(self.shape, np.uint8)
        self.top[owned.slices] = highest(arrays["map"].sum(0), top_percent)[inside]


def highest(attribution: NDArray[np.float32], percent: float) -> NDArray[np.uint8]:
    """Mark the `percent` highest pixels of a map (y, x) with 1; pixels at 0 are never marked."""
    threshold = np.percentile(attribution, 100 - percent)
    return ((attribution >= threshold) & (attribution > 0)).astype(np.uint8)
