"""Objects that crops are cut around, from a label image or from a table of places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.core.identity import parse_well
from pcim.core.safe_read import check_file, read_table
from pcim.plates import ngff
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from numpy.typing import NDArray


Place = tuple[str, float, float]
"""An object's name and its middle (y, x), px of level 0."""

MAX_TABLE_BYTES = 2**32
MAX_OBJECTS = 5_000_000
"""The largest table of places, and the most objects of one plate: 360 per field in 1536 wells of 9 fields."""

_MAX_ROWS = 100_000_000
_REQUIRED = ("well", "field", "y", "x")


def middles(labels: NDArray[np.integer]) -> list[Place]:
    """Return the middle of the bounding box of every object of a label image (y, x; 0 = no object), by its number."""
    from scipy import ndimage  # jobs that do not need it do not wait for it

    largest = int(labels.max(initial=0))
    numbers: Sequence[int] = range(1, largest + 1)
    if largest > labels.size:  # a box a number is listed, up to the largest: of 64 bits they would fill any memory
        known = np.unique(labels[labels > 0])
        labels, numbers = np.where(labels > 0, np.searchsorted(known, labels) + 1, 0), known.tolist()
    boxes = ndimage.find_objects(labels.astype(np.int64))
    return [
        (str(number), (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2)
        for number, box in zip(numbers, boxes, strict=True)
        if box is not None
        for rows, columns in [box]
    ]


def read_places(file: Path, plate: str) -> dict[tuple[str, str], list[Place]]:
    """Read a table of places: CSV with columns well, field, y, x (px), and `object` and `plate` where given.

    Returns (well, field) -> objects of that plate; an object without a name is called by its line's number.

    Raises
    ------
    ValueError
        With the line of the first row that is not one, or when there are more than are read.
    """
    found: dict[tuple[str, str], list[Place]] = {}
    try:
        check_file(file, MAX_TABLE_BYTES)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    with file.open(encoding="utf-8-sig", newline="") as handle:
        for key, place in _rows(handle, file, plate):
            found.setdefault(key, []).append(place)
    for key, places in found.items():
        if len({name for name, _, _ in places}) < len(places):
            raise ValueError(f"{file}: an object of {key[0]}, field {key[1]} is listed twice")
    return found


def _rows(lines: TextIO, file: Path, plate: str) -> Iterator[tuple[tuple[str, str], Place]]:
    """Yield ((well, field), object) of the rows that are of the plate; raises as `read_places`."""
    header, rows = read_table(lines, file, most=_MAX_ROWS)
    if lacking := [name for name in _REQUIRED if name not in header]:
        raise ValueError(f"{file}: columns {header} lack {lacking}")
    count = 0
    for line, values in rows:
        row = dict(zip(header, values, strict=False))
        if row.get("plate") not in (None, "", plate):
            continue
        count += 1
        if count > MAX_OBJECTS:
            raise ValueError(f"{file}:{line}: more than {MAX_OBJECTS:,} objects of {plate}")
        if len(values) != len(header):
            raise ValueError(f"{file}:{line}: expected {len(header)} values")
        try:
            yield _place(row, str(line))
        except ValueError as error:
            raise ValueError(f"{file}:{line}: {error}") from error


def _place(row: Mapping[str, str], unnamed: str) -> tuple[tuple[str, str], Place]:
    key, (y, x) = (parse_well(row["well"]), row["field"].strip()), (float(row["y"]), float(row["x"]))
    if not ngff.is_plain(key[1]):
        raise ValueError(f"field {key[1]!r:.200} is not a plain name")
    name = row.get("object", "").strip() or unnamed
    if not (name.isalnum() and ngff.is_plain(name) and np.isfinite((y, x)).all()):
        raise ValueError(f"object {name!r:.200} at {(y, x)}: expected letters, digits, numbers")
    return key, (name, y, x)


def read_objects(tables: Sequence[str]) -> Mapping[str, list[Place]] | None:
    """Return field path -> its objects; None for classifiers that do not look at objects."""
    if not tables:
        return None
    found: dict[str, list[Place]] = {}
    rows: list[dict[str, Any]] = [row for table in tables for row in rows_of(pd.read_parquet(table))]
    for row in rows:
        found.setdefault(row["path"], []).append((row["object"], row["y"], row["x"]))
    return found
