"""Views of fields, planned before anything is read: where each lies, and what makes it unfit for the classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcim.core.identity import ViewKey
from pcim.core.tiling import Box
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from pcim.classifiers.contract import InputContract
    from pcim.views.objects import Place


@dataclass(frozen=True)
class View:
    """One view: its identity, its place in the field, and what makes it unfit for the classifier, if anything does."""

    key: ViewKey
    path: str
    box: Box
    status: str = "ok"
    reason: str = ""

    def columns(self) -> dict[str, Any]:
        """Return the columns that name and place the view in every table."""
        seen = self.box
        place = {"top": seen.top, "left": seen.left, "height": seen.height, "width": seen.width}
        return self.key.columns() | place | {"status": self.status, "reason": self.reason}


def views_of(field: Mapping[str, Any], contract: InputContract, accept: Sequence[str], objects: Sequence[Place] = ()) -> list[View]:
    """Return the views of one row of the field table; a field that cannot be classified gives views with a reason."""
    shape = int(field["height"]), int(field["width"])
    size = contract.extent(shape, field["pixel_size_um"])
    status, reason = "ok", ""
    if field["qc"] != "ok" and field["qc"] not in accept:
        status, reason = "skipped", f"{field['qc']}: {field['reason']}"
    elif lacking := sorted(set(contract.channels) - set(field["channels"])):
        status, reason = "failed", f"channels {lacking} are not in this field, which has {list(field['channels'])}"
    elif misfit := contract.misfit(shape, str(field["dtype"]), field["pixel_size_um"]):
        status, reason = "failed", misfit
    extent = size or contract.size
    fits = shape[0] >= extent[0] and shape[1] >= extent[1]
    if contract.view == "object" and fits:
        named = [(f"o{name}", _around(middle, extent, shape)) for name, *middle in objects]
    else:
        named = [(box.name, box) for box in (contract.tiles(shape, extent) if fits else [Box(0, 0, *extent)])]
    identity = (str(field["plate"]), str(field["row"]), str(field["column"]), str(field["field"]))
    return [View(ViewKey(*identity, name), str(field["path"]), box, status, reason) for name, box in named]


def _around(middle: Sequence[float], extent: tuple[int, int], shape: tuple[int, int]) -> Box:
    """Return the box of `extent` around a point (y, x), moved inwards where it would leave the field."""
    top, left = (
        min(max(0, round(place - (length - 1) / 2)), whole - length) for place, length, whole in zip(middle, extent, shape, strict=True)
    )
    return Box(top, left, *extent)


def views_of_wells(
    fields: pd.DataFrame,
    wells: Sequence[str],
    contract: InputContract,
    accept: Sequence[str],
    objects: Mapping[str, Sequence[Place]] | None = None,
) -> list[View]:
    """Return the views of the given wells, in the order of the field table; `objects` is field path -> its objects."""
    rows = rows_of(fields[fields["well"].isin(list(wells))])
    return [view for row in rows for view in views_of(row, contract, accept, (objects or {}).get(row["path"], ()))]
