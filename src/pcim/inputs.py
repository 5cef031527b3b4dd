"""The inputs of a campaign: plates.tsv, plate maps, contracts and the plates' own metadata, with every fault found."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pcim.contract import Contract, read_contract
from pcim.exports import FORMATS, OMEZARR
from pcim.faults import nearest
from pcim.plate import GIVEN_COLUMNS, parse_well, well_order
from pcim.settings import CALL
from pcim.source import PROJECTIONS, Source, holds_secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcim.config import ClassifierSettings, Config
    from pcim.survey import Survey

PLATE_COLUMNS = ("plate", "path", "platemap")
SOURCE_COLUMNS = ("format", "z", "t", "channels", "acquisition", "fields")
CONTROL_TYPES = ("", "negcon", "poscon")


class CampaignError(ValueError):
    """Everything that is wrong with a campaign's inputs, a line each."""

    def __init__(self, faults: list[str]) -> None:
        head = f"{len(faults)} fault{'s' * (len(faults) > 1)} in the campaign's inputs; nothing was started:"
        super().__init__("\n".join([head, *(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))]))
        self.faults = faults


def read_config(files: Sequence[Path]) -> dict[str, Any]:
    """Read config files as Snakemake does: each key of a later one takes the place of an earlier one's.

    Raises
    ------
    CampaignError
        With every file that cannot be read as a mapping.
    """
    values: dict[str, Any] = {}
    faults = []
    for file in files:
        try:
            told = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            faults.append(f"{file}: {'no such file' if isinstance(error, FileNotFoundError) else error}")
            continue
        if isinstance(told, dict):
            _merge(values, told)
        else:
            faults.append(f"{file}: expected keys and values, got {type(told).__name__}")
    if faults:
        raise CampaignError(faults)
    return values


def _merge(values: dict[str, Any], told: Mapping[str, Any]) -> None:
    for key, value in told.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


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
        if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
            faults.append(f"{path}:{line}: plate {name!r}: expected letters, digits, '_' and '-'")
        elif name in plates:
            faults.append(f"{path}:{line}: plate {name!r} is listed twice")
        else:
            platemap = Path(row["platemap"])
            source = _read_source(row, f"{path}:{line}", faults)
            plates[name] = PlateEntry(name, source, platemap, read_platemap(platemap, faults) if platemaps else {})
    return plates


def _read_source(row: Mapping[str, str], where: str, faults: list[str]) -> Source:
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
    lists = {
        name: tuple(part.strip() for part in told[name].split(",") if part.strip()) for name in ("channels", "fields")
    }
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
    """Read a plate map: a row a well, keyed by ``well_position``; an empty treatment becomes ``untreated``."""
    wells: dict[str, dict[str, str]] = {}
    for line, row in _read_rows(path, ",", ("well_position",), faults):
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
            faults.append(f"{path}:{line}: dose {dose!r}: expected a number or nothing")
        clash = GIVEN_COLUMNS & row.keys()
        if clash and not wells:
            faults.append(f"{path}: columns {sorted(clash)} are names that PCIM gives; rename them")
        row["treatment"] = row.get("treatment", "") or "untreated"
        wells[well] = row
    return wells


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_rows(
    path: Path, delimiter: str, required: tuple[str, ...], faults: list[str]
) -> list[tuple[int, dict[str, str]]]:
    """Read a table of text; return (line number, row) pairs, or nothing and a fault."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, delimiter=delimiter, strict=True)
            rows = [(reader.line_num, dict(row)) for row in reader]
            header = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error
        faults.append(f"{path}: {reason}")
        return []
    missing = [name for name in required if name not in header]
    if missing:
        faults.append(f"{path}: columns {header} lack {missing}{nearest(missing[0], header)}")
        return []
    ragged = [line for line, row in rows if None in row or None in row.values()]
    faults.extend(f"{path}:{line}: expected {len(header)} values" for line in ragged)
    return [(line, {k: v.strip() for k, v in row.items()}) for line, row in rows if line not in ragged]


def read_model(name: str, entry: ClassifierSettings, faults: list[str]) -> Contract | None:
    """Read a classifier's contract; None and its faults where it has some."""
    contract, found = read_contract(entry.model)
    faults.extend(f"classifiers.{name}: {fault}" for fault in found)
    return contract


def check_classifier(  # noqa: PLR0913, PLR0917 - one place that sees all inputs at once
    name: str,
    entry: ClassifierSettings,
    contract: Contract | None,
    config: Config,
    plates: dict[str, PlateEntry],
    faults: list[str],
) -> None:
    """Check a classifier's settings against the plates, their plate maps and its contract."""
    where = f"classifiers.{name}"
    unknown = [plate for plate in entry.plates if plate not in plates]
    faults.extend(f"{where}.plates: {p!r} is not in {config.plates}{nearest(p, list(plates))}" for p in unknown)
    if contract and (contract.input.view == "object") != (entry.crops is not None):
        faults.append(
            f"{where}.crops: given if, and only if, the contract says view: object; it says {contract.input.view}"
        )
    if entry.crops is not None and entry.crops.table is not None and not entry.crops.table.is_file():
        faults.append(f"{where}.crops.table: {entry.crops.table}: no such file")
    needs_controls = bool(contract and contract.input.percentiles and contract.input.percentiles.over == "negcon")
    select = entry.select or config.attribute.select
    named = [("truth", entry.truth), ("split", entry.split), *(("select.where", column) for column in select.where)]
    for plate in (plates[plate] for plate in entry.plates if plate in plates and plates[plate].wells):
        columns = list(next(iter(plate.wells.values())))
        faults.extend(
            f"{where}.{key}: column {column!r} is not in {plate.platemap}{nearest(column, columns)}"
            for key, column in named
            if column is not None and column not in columns
        )
        if needs_controls and not any(row["control_type"] == "negcon" for row in plate.wells.values()):
            faults.append(
                f"{where}: percentiles over negcon, but {plate.platemap} has no well with control_type negcon"
            )
        if contract and entry.truth in columns:
            found = {row[entry.truth] for row in plate.wells.values()} - {""}
            stray = sorted(found - set(contract.classes))
            faults.extend(f"{where}.truth: {v!r} in {plate.platemap} is no class of {contract.classes}" for v in stray)
    for target in config.attribute.targets:
        if contract and target not in (allowed := [CALL, *contract.classes]):
            faults.append(
                f"attribute.targets: {target!r}{nearest(target, allowed)}: expected one of {allowed} ({where})"
            )


def check_plate(
    plate: PlateEntry, survey: Survey, config: Config, contracts: dict[str, Contract | None], faults: list[str]
) -> None:
    """Compare what a plate's metadata says with its plate map and with the classifiers that will see it."""
    if plate.wells:
        for words, wells in (
            ("lacks wells of the plate", survey.wells.keys() - plate.wells.keys()),
            ("names wells that the plate has not", plate.wells.keys() - survey.wells.keys()),
        ):
            if wells:
                listed = ", ".join(sorted(wells, key=well_order))
                faults.append(f"plate {plate.plate!r}: {plate.platemap} {words}: {listed}")
    for name, entry in config.classifiers.items():
        contract = contracts[name]
        if contract is None or plate.plate not in entry.plates:
            continue
        where, channels = f"classifiers.{name}", list(survey.channels)
        lacking = [channel for channel in contract.input.channels if channel not in channels]
        if lacking:
            faults.append(f"{where}: channels {lacking} are not on plate {plate.plate!r}, which has {channels}")
        twice = [channel for channel in contract.input.channels if channels.count(channel) > 1]
        if twice:
            faults.append(f"{where}: plate {plate.plate!r} has several channels called {twice}: {channels}")
        wanted = {region.label or region.boundary_of or "" for region in entry.regions.values()}
        wanted |= {entry.crops.label} if entry.crops is not None and entry.crops.label else set()
        absent = sorted(wanted - set(survey.labels))
        if absent:
            faults.append(f"{where}: labels {absent} are not on plate {plate.plate!r}, which has {list(survey.labels)}")
