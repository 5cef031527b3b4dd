"""Write plate maps to fill in: every well in plate order, empty or from an existing table."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pcim.campaign.input_tables import SPLITS, delimiter_of, platemap_of, rows_in
from pcim.config.fault_messages import absent, nearest
from pcim.core.identity import well_order
from pcim.core.safe_read import read_table, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pcim.campaign.scaffold.discover import FoundPlate

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
    **{name: (name, name.replace("_", "")) for name in (*COLUMNS, "plate")},
}
"""Column -> what people call it, small and with '_' for blanks."""


_NAMED = 5


@dataclass(frozen=True)
class ExistingPlateMap:
    """A plate map that somebody had: plate, as its column ``plate`` calls it -> well -> row. Without the column the one plate is "": all.

    `renamed` has the columns that were read under another name: theirs -> ours.
    """

    maps: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    def key(self, plate: FoundPlate, plates: Sequence[FoundPlate]) -> str | None:
        """Return what the table calls a plate, by its name or else its folder; None where it is not in it."""
        names = ["", plate.name, *([plate.folder] if plate.folder not in {other.name for other in plates} else [])]
        return next((name for name in names if name in self.maps), None)

    def rows(self, plates: Sequence[FoundPlate]) -> dict[tuple[str | None, str], Mapping[str, str]]:
        """Return (plate, well) -> row of the wells that are on these plates; one row for all plates that share it."""
        there = {(self.key(plate, plates), well) for plate in plates for well in plate.survey.wells}
        return {key: row for key, row in self._all().items() if key in there}

    def _all(self) -> dict[tuple[str | None, str], Mapping[str, str]]:
        return {(plate, well): row for plate, wells in self.maps.items() for well, row in wells.items()}

    def faults(self, plates: Sequence[FoundPlate], classes: Sequence[str]) -> Iterator[str]:
        """Yield what is no class, no word of the split, and a column of plates that names none of these."""
        names = [plate.name for plate in plates]
        if self.maps and all(self.key(plate, plates) is None for plate in plates):
            yield f"--platemap: its column 'plate' names none of {names}: {list(self.maps)[:_NAMED]}"
        for column, allowed, words in (
            ("label", classes, f"no class of {list(classes)}"),
            ("split", SPLITS, f"none of {list(SPLITS)} and not empty"),
        ):
            said: dict[str, list[str]] = {}
            for (plate, well), row in self._all().items():
                said.setdefault(row.get(column, ""), []).append(f"{plate} {well}".strip())
            for value in sorted(said.keys() - {"", *allowed}):
                more = f" and {len(said[value]) - _NAMED} more" if len(said[value]) > _NAMED else ""
                where = f"{', '.join(said[value][:_NAMED])}{more}"
                yield f"--platemap: {column}: {value!r} ({where}) is {words}{nearest(value, allowed)}"

    def notes(self, plates: Sequence[FoundPlate]) -> Iterator[str]:
        """Yield what of it is not as on the plates, and that several plates share it, in words."""
        if not self.maps:
            return
        there = {(self.key(plate, plates), well) for plate in plates for well in plate.survey.wells}
        given = self._all().keys()
        for words, found in (
            ("are on no plate and left out", given - there),
            ("are not in it and left empty", there - given),
        ):
            if found:
                yield f"of the plate map, {len(found)} wells {words}"
        if self.maps.keys() - {""}:
            keys = {plate.name: self.key(plate, plates) for plate in plates}
            for name in [name for name in self.maps if name not in keys.values()][:_NAMED]:
                yield f"its column 'plate' names {name!r}, which is none of the plates{nearest(name, list(keys))}"
            for name in [name for name, key in keys.items() if key is None][:_NAMED]:
                yield f"plate {name} is not in it"
        elif len(plates) > 1:
            yield (
                f"the plate map went to all {len(plates)} plates alike, its treatments, labels and split too: where plates differ, "
                "give a table with a column 'plate', or each its own map in plates.tsv"
            )


def read_given(path: Path, faults: list[str]) -> ExistingPlateMap:
    """Read a plate map as a spreadsheet writes it: commas, semicolons or tabs, ``Well`` for ``well_position``, ``plate`` for several."""
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        faults.append(f"{path}: not text in UTF-8; export it as CSV (UTF-8)")
        return ExistingPlateMap()
    except (OSError, ValueError) as error:
        faults.append(f"{path}: {absent(path) if isinstance(error, FileNotFoundError) else error}")
        return ExistingPlateMap()
    head, _, body = text.partition("\n")
    delimiter = delimiter_of(text)
    try:
        theirs, _ = read_table(io.StringIO(head.strip()), path, delimiter)
    except ValueError as error:
        faults.append(str(error))
        return ExistingPlateMap()
    ours = [_ours(name) for name in theirs]
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\n").writerow(ours)
    of_plates: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in rows_in(line.getvalue() + body, path, delimiter, ("well_position",), faults):
        plate = row.pop("plate", "")
        if "plate" in ours and not plate:
            faults.append(f"{path}:{number}: the plate's name is missing in column 'plate'")
        of_plates.setdefault(plate, []).append((number, row))
    maps = {plate: platemap_of(path, rows, faults) for plate, rows in of_plates.items()}
    return ExistingPlateMap(maps, {old: new for old, new in zip(theirs, ours, strict=True) if old != new})


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
