"""A field's maps, put together from those of its views. Each target is a layer, and a layer has a map a channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.attribution.maps import top_mask
from pcim.views.resize import fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.core.tiling import Box

    Arrays = Mapping[str, NDArray[np.float32]]


@dataclass
class Assembly:
    """One field while its views are explained, `waiting_for` so many maps.

    `layers` are the targets. `done` holds the arrays (channel, y, x) of what is explained, by layer and by the view's name,
    and where the view lies; `rows` says how each ended.
    """

    shape: tuple[int, int]
    layers: Sequence[str]
    waiting_for: int
    done: dict[str, dict[str, tuple[Box, Arrays]]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, rows: Iterable[dict[str, Any]], name: str, box: Box, arrays: Arrays | None = None) -> None:
        """Note how a view's explanation ended, a row a layer that shows it, and keep its arrays of the classifier's size."""
        self.waiting_for -= 1
        for row in rows:
            self.rows.append(row)
            if arrays:
                self.done.setdefault(row["layer"], {})[name] = box, arrays

    @property
    def are_views_apart(self) -> bool:
        """Tell whether the views' own maps differ from what the field shows: they overlap, or were resized."""
        covered = np.zeros(self.shape, np.uint8)
        views = {name: seen for layer in self.done.values() for name, seen in layer.items()}
        for box, arrays in views.values():
            covered[box.slices] += 1
            if arrays["map"].shape[-2:] != (box.height, box.width):
                return True
        return bool((covered > 1).any())

    def views(self) -> dict[str, NDArray[np.float32]]:
        """Return the views' own maps (layer and channel, y, x) by name, NaN in a layer where the view is not explained."""
        maps = [{name: of["map"] for name, (_, of) in self.done.get(layer, {}).items()} for layer in self.layers]
        some = {name: np.full_like(own, np.nan) for layer in maps for name, own in layer.items()}
        return {name: np.concatenate([layer.get(name, some[name]) for layer in maps]) for name in sorted(some)}

    def stitch(self) -> dict[str, NDArray[np.float32]]:
        """Return the field's arrays by name (layer and channel, y, x), layer by layer; NaN where no view is explained.

        Where views overlap, each counts by its distance to its own nearest edge, and the weights add up to 1: a map has no
        seam where a view ends. Every view is brought to the field's own pixels.
        """
        weights = np.zeros((len(self.layers), 1, *self.shape), np.float32)
        sums: dict[str, NDArray[np.float32]] = {}
        for number, layer in enumerate(self.layers):
            for _, (box, arrays) in sorted(self.done.get(layer, {}).items()):
                inner = _distance_to_edge(box)
                weights[number, :, *box.slices] += inner
                for name, array in arrays.items():
                    empty = (len(self.layers), len(array), *self.shape)
                    whole = sums[name] if name in sums else sums.setdefault(name, np.zeros(empty, np.float32))
                    whole[number, :, *box.slices] += inner * fit(array, (box.height, box.width))
        with np.errstate(invalid="ignore"):
            return {name: np.where(weights > 0, whole / weights, np.nan).reshape(-1, *self.shape) for name, whole in sums.items()}

    def top(self, percent: float) -> NDArray[np.uint8]:
        """Mark the `percent` highest pixels of each view: in layer n by bit n, so a pixel high in layers 0 and 1 is 3.

        Where views overlap, the one counts in whose middle a pixel lies.
        """
        marked = np.zeros(self.shape, np.uint8)
        for number, layer in enumerate(self.layers):
            marked |= self._top_of(layer, percent) << number
        return marked

    def _top_of(self, layer: str, percent: float) -> NDArray[np.uint8]:
        marked, nearest = np.zeros(self.shape, np.uint8), np.zeros(self.shape, np.float32)
        for _, (box, arrays) in sorted(self.done.get(layer, {}).items()):
            own = fit(arrays["map"].sum(0, keepdims=True), (box.height, box.width))[0]
            inner = _distance_to_edge(box)
            mine = inner > nearest[box.slices]
            marked[box.slices] = np.where(mine, top_mask(own, percent), marked[box.slices])
            nearest[box.slices] = np.maximum(inner, nearest[box.slices])
        return marked


def _distance_to_edge(box: Box) -> NDArray[np.float32]:
    """Return, for each pixel of a box, the product of its distances to the nearest edges in y and x, px, at least 1/4."""
    down, across = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5 for n in (box.height, box.width))
    return np.outer(down, across).astype(np.float32)
