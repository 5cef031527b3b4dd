"""Tiles that cover a field, and boxes in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle of a field, in pixels of level 0: rows ``top:top + height``, columns ``left:left + width``."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Box:
        """Return where the view lies that a table's row is about."""
        return cls(row["top"], row["left"], row["height"], row["width"])

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rectangle as an index into the last two axes of an image."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def name(self) -> str:
        """The name of a view that lies there: its top left corner."""
        return f"{self.top}_{self.left}"


def tile_field(shape: tuple[int, int], size: tuple[int, int], overlap: int = 0) -> list[Box]:
    """Cut a field of `shape` (height, width) px into tiles of `size`, in raster order, so that every pixel is in one or more.

    Neighbours share `overlap` px; the last tiles of a row or column are moved inwards to stay inside the field and share more.

    Raises
    ------
    ValueError
        When the field is smaller than a tile, or the overlap is not smaller than half a tile.
    """
    if shape[0] < size[0] or shape[1] < size[1]:
        raise ValueError(f"a field of {shape[0]} x {shape[1]} px is smaller than the view of {size[0]} x {size[1]} px")
    if not 0 <= overlap <= min(size) // 2:
        raise ValueError(f"an overlap of {overlap} px; expected 0 to {min(size) // 2}, half a view")
    rows, columns = (_starts(length, step, overlap) for length, step in zip(shape, size, strict=True))
    return [Box(top, left, *size) for top, left in product(rows, columns)]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Return where the tiles begin that cover one axis."""
    step = size - overlap
    return sorted({min(start, length - size) for start in range(0, length - overlap if length > size else 1, step)})
