"""Plate maps for people to fill in: every well of a layout in plate order, empty or from a table that they have."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from pcim.bounded import read_table, read_text
from pcim.faults import absent
from pcim.inputs import platemap_of, rows_in
from pcim.plate import well_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

COLUMNS = ("treatment", "control_type", "dose", "label", "split")
_CALLED = {
    "well_position": (
        "well_position",
        "well",
        "well_id",
        "well_name",
        "position",
        "wellposition",
        "wellid",
        "wellname",
    ),
    **{name: (name, name.replace("_", "")) for name in COLUMNS},
}
"""Column -> what people call it, small and with '_' for blanks."""


def read_given(path: Path, faults: list[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Read a plate map as a spreadsheet writes it: commas, semicolons or tabs, ``Well`` for ``well_position``.

    Returns well -> its row, and the columns that were read under another name: theirs -> ours.
    """
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        faults.append(f"{path}: not text in UTF-8; export it as CSV (UTF-8)")
        return {}, {}
    except (OSError, ValueError) as error:
        faults.append(f"{path}: {absent(path) if isinstance(error, FileNotFoundError) else error}")
        return {}, {}
    head, _, body = text.partition("\n")
    delimiter = max(",;\t", key=head.count)
    try:
        theirs, _ = read_table(io.StringIO(head.strip()), path, delimiter)
    except ValueError as error:
        faults.append(str(error))
        return {}, {}
    ours = [_ours(name) for name in theirs]
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\n").writerow(ours)
    wells = platemap_of(path, rows_in(line.getvalue() + body, path, delimiter, ("well_position",), faults), faults)
    return wells, {old: new for old, new in zip(theirs, ours, strict=True) if old != new}


def _ours(name: str) -> str:
    plain = re.sub(r"[\s\-]+", "_", name.strip().lower())
    return next((ours for ours, called in _CALLED.items() if plain in called), name.strip())


def platemap_text(wells: Iterable[str], known: Mapping[str, Mapping[str, str]]) -> str:
    """Return a plate map of these wells in plate order as CSV; what is known of a well is filled in, the rest is empty."""
    more = dict.fromkeys(name for row in known.values() for name in row if name not in COLUMNS)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["well_position", *COLUMNS, *more], restval="", lineterminator="\n")
    writer.writeheader()
    for well in sorted(wells, key=well_order):
        writer.writerow({"well_position": well, **known.get(well, {})})
    return text.getvalue()
