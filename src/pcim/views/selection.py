"""Which views are explained. The selection depends on each view alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcim.config.classifier import Select
    from pcim.core.identity import ViewKey


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
