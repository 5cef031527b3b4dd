"""Yokogawa CellVoyager and CV8000: ``MeasurementData.mlf`` names every image, ``MeasurementDetail.mrf`` the grid and pixel size.

Channels are called ``C01``, ``C02``, ... as in the file names, unless the table of plates names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors.export import Export, Plane, Room, digest_of, elements, row_letters

if TYPE_CHECKING:
    from pcim.core.plate_source import Source

_INDEX, _DETAIL = "MeasurementData.mlf", "MeasurementDetail.mrf"


def read(source: Source) -> Export:
    """Read a measurement's folder, or the one folder in it that holds the measurement."""
    root = Path(source.address)
    places = [root / _INDEX] if (root / _INDEX).is_file() else sorted(root.glob(f"*/{_INDEX}"))
    if len(places) != 1:
        raise NgffError(f"{root}: {len(places)} files {_INDEX}; expected one, here or one folder down")
    index = places[0]
    fields: dict[tuple[str, str, str], list[Plane]] = {}
    room = Room()
    for told, _, name in elements(index, "MeasurementRecord"):
        if told.get("Type") != "IMG":
            continue  # what was not acquired is recorded as ERR
        room.take(1)
        try:
            key = (row_letters(int(told["Row"])), str(int(told["Column"])), str(int(told["FieldIndex"])))
            plane = Plane(name, 0, int(told["Ch"]), int(told["ZIndex"]) - 1, int(told["TimePoint"]) - 1)
        except (KeyError, ValueError) as error:
            raise NgffError(f"{index}: a record without a valid place: {error!r}, {dict(told)}") from error
        fields.setdefault(key, []).append(plane)
    detail = index.with_name(_DETAIL)
    grid = next((told for told, _, _ in elements(detail, "MeasurementDetail")), {}) if detail.is_file() else {}
    size = next((told for told, _, _ in elements(detail, "MeasurementChannel")), {}) if detail.is_file() else {}
    pixel = (size.get("VerticalPixelDimension"), size.get("HorizontalPixelDimension"))
    return Export(
        source,
        index.parent,
        digest_of([index]),
        fields,
        {},
        rows=int(grid.get("RowCount", "0")),
        columns=int(grid.get("ColumnCount", "0")),
        pixel_size_um=(float(pixel[0]), float(pixel[1])) if pixel[0] and pixel[1] else None,
    )
