"""Planning: integers in, plan out. Which tiles cover a field, which wells one job works on, which views are explained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from pcim.core.identity import ViewKey, well_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcim.config.classifier import Select


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle of a field, in pixels of level 0: rows ``top:top + height``, columns ``left:left + width``."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Box:
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


def plan_chunks(wells: Iterable[str], wells_per_chunk: int) -> dict[str, list[str]]:
    """Group a plate's wells, in plate order, into chunks of whole wells; a chunk is named by its first and last well."""
    ordered = sorted(set(wells), key=well_order)
    groups = [ordered[start : start + wells_per_chunk] for start in range(0, len(ordered), wells_per_chunk)]
    return {f"{group[0]}-{group[-1]}": group for group in groups}


def is_selected(key: ViewKey, plate_map_row: Mapping[str, object], select: Select) -> bool:
    """Tell whether a view passes the selection's `where` and `fraction`; its answer depends on the view alone."""
    if any(_text(plate_map_row.get(column, "")) not in allowed for column, allowed in select.where.items()):
        return False
    is_control = bool(plate_map_row.get("control_type"))
    return (select.controls and is_control) or key.number("select") < select.fraction * 2**63


def _text(value: object) -> str:
    """Return a plate map's value as it is written there: a dose of 10.0 is ``10``, none is nothing."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return str(value)


def thin_wells(keys: Iterable[ViewKey], per_well: int | None) -> list[ViewKey]:
    """Keep `per_well` views a well, drawn by each view's own number, in the given order (None keeps all)."""
    keys = list(keys)
    if per_well is None:
        return keys
    wells: dict[tuple[str, str, str], list[ViewKey]] = {}
    for key in keys:
        wells.setdefault((key.plate, key.row, key.column), []).append(key)
    kept = {key for members in wells.values() for key in sorted(members, key=_lot)[:per_well]}
    return [key for key in keys if key in kept]


def _lot(key: ViewKey) -> tuple[int, ViewKey]:
    return key.number("thin"), key
