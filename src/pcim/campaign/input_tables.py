"""Read the inputs of a campaign: plates.tsv, plate maps and contracts. Each fault names its place."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pcim.classifiers.contract import Contract, read_contract
from pcim.config.base import is_name
from pcim.config.fault_messages import absent, nearest
from pcim.config.yaml_lines import YamlSource, read_together
from pcim.core.identity import GIVEN_COLUMNS, parse_well
from pcim.core.plate_source import PROJECTIONS, Source, holds_secret
from pcim.core.safe_read import is_printable, printable, read_table, read_text
from pcim.plates.vendors import FORMATS, OMEZARR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcim.config.classifier import ClassifierSettings

PLATE_COLUMNS = ("plate", "path", "platemap")
SOURCE_COLUMNS = ("format", "z", "t", "channels", "acquisition", "fields")
CONTROL_TYPES = ("", "negcon", "poscon")
SPLITS = ("train", "test")
"""What the column of a plate map may say that tells which wells the classifier saw; empty: neither."""

_DECIMAL_COMMA = re.compile(r"\A([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)\Z")


class CampaignError(ValueError):
    """Everything that is wrong with a campaign's inputs, a line each."""

    def __init__(self, faults: list[str]) -> None:
        head = f"{len(faults)} fault{'s' * (len(faults) > 1)} in the campaign's inputs; nothing was started:"
        self.faults = [printable(fault) for fault in faults]
        super().__init__("\n".join([head, *(f"  {number}. {fault}" for number, fault in enumerate(self.faults, 1))]))


def read_config(files: Iterable[Path]) -> YamlSource:
    """Read config files as Snakemake does: each key of a later one takes the place of an earlier one's.

    Raises
    ------
    CampaignError
        With every file that cannot be read as a mapping, and every key that stands twice.
    """
    faults: list[str] = []
    written = read_together(list(files), faults)
    if faults:
        raise CampaignError(faults)
    return written


@dataclass(frozen=True)
class PlateEntry:
    """A line of plates.tsv: the plate's name, its source, and its plate map by well, ``A01``."""

    plate: str
    source: Source
    platemap: Path
    wells: dict[str, dict[str, str]] = field(repr=False)


def read_plates(path: Path, faults: list[str], *, platemaps: bool = True) -> dict[str, PlateEntry]:
    """Read plates.tsv and, but where that is not wanted, every plate map it names."""
    rows = _read_rows(path, "\t", PLATE_COLUMNS, faults)
    known = [*PLATE_COLUMNS, *SOURCE_COLUMNS, "batch"]
    for column in sorted(set(rows[0][1]) - set(known)) if rows else ():
        faults.append(f"{path}: column {column!r} has no meaning here{nearest(column, known)}; expected {known}")
    plates: dict[str, PlateEntry] = {}
    for line, row in rows:
        name = row["plate"]
        if not is_name(name):
            faults.append(
                f"{path}:{line}: plate {name!r}: expected at most 64 letters, digits, '_' and '-' that begin with a letter or digit, "
                "and no name of a device such as 'con' or 'nul'"
            )
        elif name in plates:
            faults.append(f"{path}:{line}: plate {name!r} is listed twice")
        else:
            platemap = Path(row["platemap"])
            source = read_source(row, f"{path}:{line}", faults)
            plates[name] = PlateEntry(name, source, platemap, read_platemap(platemap, faults) if platemaps else {})
    return plates


def read_source(row: Mapping[str, str], where: str, faults: list[str]) -> Source:
    """Read where a plate lies and which of its planes, channels and fields are used."""
    told = {name: row.get(name, "") for name in SOURCE_COLUMNS}
    if told["format"] not in ("", *FORMATS):
        faults.append(f"{where}: format {told['format']!r}: expected one of {', '.join(FORMATS)}")
    for name, words in (("z", PROJECTIONS), ("t", ()), ("acquisition", ())):
        if told[name] and not told[name].isdecimal() and told[name] not in words:
            faults.append(f"{where}: {name} {told[name]!r}: expected {' or '.join(['a number', *words])}")
    if holds_secret(row["path"]):
        # it would be written into plans, logs and the report: not even other faults repeat it
        what = "an address with a user, a password or a query; credentials belong in the environment"
        raise CampaignError([*faults, f"{where}: path: {what}"])
    lists = {name: tuple(part.strip() for part in told[name].split(",") if part.strip()) for name in ("channels", "fields")}
    if len(set(lists["channels"])) < len(lists["channels"]):
        faults.append(f"{where}: channels {told['channels']!r} names one twice")
    return Source(
        row["path"],
        z=told["z"],
        t=told["t"],
        acquisition=told["acquisition"],
        format=told["format"] or OMEZARR,
        **lists,
    )


def read_platemap(path: Path, faults: list[str]) -> dict[str, dict[str, str]]:
    """Read a plate map, separated as its header is: a row a well, keyed by ``well_position``; an empty treatment becomes ``untreated``."""
    return platemap_of(path, _read_rows(path, "", ("well_position",), faults), faults)


def delimiter_of(text: str) -> str:
    """Return what separates the columns of a plate map: comma, semicolon or tab, whichever its header line has most of."""
    return max(",;\t", key=text.lstrip().partition("\n")[0].count)


def lines_with(path: Path, column: str, value: str) -> list[tuple[int, str]]:
    """Return the (line, well as it is written there) pairs of a plate map whose column has this value."""
    rows = _read_rows(path, "", ("well_position", column), [])
    return [(line, row["well_position"]) for line, row in rows if row[column] == value]


def platemap_of(path: Path, rows: Iterable[tuple[int, dict[str, str]]], faults: list[str]) -> dict[str, dict[str, str]]:
    """Return the plate map that these (line number, row) pairs of a file make; as `read_platemap`."""
    wells: dict[str, dict[str, str]] = {}
    rows = list(rows)
    if clash := GIVEN_COLUMNS & {name for _, row in rows[:1] for name in row}:
        cure = "one table a plate: `pcim init --platemap` splits one" if "plate" in clash else "rename them"
        faults.append(f"{path}: columns {sorted(clash)} are names that PCIM gives; {cure}")
    if "plate" in clash:
        return {}  # every well would be listed once a plate
    for line, row in rows:
        position = row.pop("well_position")
        try:
            well = parse_well(position)
        except ValueError as error:
            faults.append(f"{path}:{line}: {error}")
            continue
        if well in wells:
            faults.append(f"{path}:{line}: well {well} is listed twice")
        control, dose = row.setdefault("control_type", ""), row.setdefault("dose", "")
        if control not in CONTROL_TYPES:
            faults.append(f"{path}:{line}: control_type {control!r}: expected negcon, poscon or nothing")
        if dose and not _is_number(dose):
            faults.append(f"{path}:{line}: dose {dose!r}: expected a number, with a point for its decimals, or nothing")
        row["treatment"] = row.get("treatment", "") or "untreated"
        wells[well] = row
    return wells


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_rows(path: Path, delimiter: str, required: tuple[str, ...], faults: list[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a table of text, separated as its header is where that is not said; return (line number, row) pairs, or nothing and a fault."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        reason = absent(path) if isinstance(error, FileNotFoundError) else error
        faults.append(f"{path}: {reason}")
        return []
    return rows_in(text, path, delimiter or delimiter_of(text), required, faults)


def rows_in(text: str, path: Path, delimiter: str, required: tuple[str, ...], faults: list[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the (line number, row) pairs of a file's text, or nothing and a fault.

    Where semicolons separate, a ``dose`` may have a decimal comma, as spreadsheets write it there; it is returned with a point.
    """
    try:
        header, lines = read_table(io.StringIO(text, newline=""), path, delimiter)
        rows = list(lines)
    except ValueError as error:
        faults.append(str(error))
        return []
    if twice := sorted(name for name, count in Counter(header).items() if count > 1):
        faults.append(f"{path}:1: columns {twice} stand twice")
    missing = [name for name in required if name not in header]
    if missing:
        faults.append(f"{path}: columns {header} lack {missing}{nearest(missing[0], header)}")
        return []
    if not is_printable(text):
        faults.append(f"{path}: a character that cannot be printed")
        return []
    faults.extend(f"{path}:{line}: expected {len(header)} values" for line, row in rows if len(row) != len(header))
    fit = ((line, row) for line, row in rows if len(row) == len(header))
    found = [(line, {name: value.strip() for name, value in zip(header, row, strict=True)}) for line, row in fit]
    for _, row in found if delimiter == ";" and "dose" in header else ():
        row["dose"] = _DECIMAL_COMMA.sub(r"\1.\2", row["dose"])
    return found


def read_model(entry: ClassifierSettings, where: str, faults: list[str]) -> Contract | None:
    """Read a classifier's contract; None and its faults where it has some, with `where` it is named."""
    contract, found = read_contract(entry.model)
    faults.extend(f"{where}: {fault}" for fault in found)
    return contract
