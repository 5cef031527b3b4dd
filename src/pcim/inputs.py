"""The inputs of a campaign: plates.tsv, plate maps, contracts and the plates' own metadata, with every fault found."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pcim import ngff
from pcim.contract import Contract, read_contract
from pcim.faults import nearest
from pcim.plate import parse_well, well_name

if TYPE_CHECKING:
    from pcim.config import ClassifierSettings, Config

PLATE_COLUMNS = ("plate", "path", "platemap")
CONTROL_TYPES = ("", "negcon", "poscon")
_KEPT = {
    "plate", "row", "column", "well", "field", "view", "path", "channels", "height", "width", "dtype", "pixel_size_um", "labels",
    "qc", "reason", "digest", "revision",
}  # fmt: skip


class CampaignError(ValueError):
    """Everything that is wrong with a campaign's inputs, a line each."""

    def __init__(self, faults: list[str]) -> None:
        head = f"{len(faults)} fault{'s' * (len(faults) > 1)} in the campaign's inputs; nothing was started:"
        super().__init__("\n".join([head, *(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))]))
        self.faults = faults


@dataclass(frozen=True)
class PlateEntry:
    """A line of plates.tsv: the plate's name, its OME-Zarr store, and its plate map by well, ``A01``."""

    plate: str
    path: Path
    platemap: Path
    wells: dict[str, dict[str, str]] = field(repr=False)


def read_plates(path: Path, faults: list[str]) -> dict[str, PlateEntry]:
    """Read plates.tsv and every plate map it names."""
    rows = _read_rows(path, "\t", PLATE_COLUMNS, faults)
    plates: dict[str, PlateEntry] = {}
    for line, row in rows:
        name = row["plate"]
        if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
            faults.append(f"{path}:{line}: plate {name!r}: expected letters, digits, '_' and '-'")
        elif name in plates:
            faults.append(f"{path}:{line}: plate {name!r} is listed twice")
        else:
            platemap = Path(row["platemap"])
            plates[name] = PlateEntry(name, Path(row["path"]), platemap, read_platemap(platemap, faults))
    return plates


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
        clash = _KEPT & row.keys()
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
    select = entry.select or config.attribute.select
    named = [("truth", entry.truth), ("split", entry.split), *(("select.where", column) for column in select.where)]
    for plate in (plates[plate] for plate in entry.plates if plate in plates and plates[plate].wells):
        columns = list(next(iter(plate.wells.values())))
        faults.extend(
            f"{where}.{key}: column {column!r} is not in {plate.platemap}{nearest(column, columns)}"
            for key, column in named
            if column is not None and column not in columns
        )
        if contract and entry.truth in columns:
            found = {row[entry.truth] for row in plate.wells.values()} - {""}
            stray = sorted(found - set(contract.classes))
            faults.extend(f"{where}.truth: {v!r} in {plate.platemap} is no class of {contract.classes}" for v in stray)
    if contract and config.attribute.target not in ("call", *contract.classes):
        faults.append(
            f"attribute.target: {config.attribute.target!r}: expected 'call' or one of {contract.classes} ({where})"
        )


def look_at_plate(plate: PlateEntry, config: Config, contracts: dict[str, Contract | None], faults: list[str]) -> None:
    """Compare a plate's own metadata with its plate map and with the classifiers that will see it."""
    try:
        layout = ngff.read_plate(plate.path)
        on_plate = {well_name(well.row, well.column): well for well in layout.wells}
        if not on_plate:
            raise ngff.NgffError(f"{plate.path}: a plate without wells")
        first = min(on_plate)
        image = plate.path / on_plate[first].path / ngff.read_well(plate.path, on_plate[first])[0]
        channels, labels = ngff.read_image(image).channels, ngff.read_labels(image)
    except (ValueError, IndexError) as error:
        faults.append(f"plate {plate.plate!r}: {error}")
        return
    if plate.wells:
        for words, wells in (
            ("lacks wells of the plate", on_plate.keys() - plate.wells.keys()),
            ("names wells that the plate has not", plate.wells.keys() - on_plate.keys()),
        ):
            if wells:
                faults.append(f"plate {plate.plate!r}: {plate.platemap} {words}: {', '.join(sorted(wells))}")
    for name, entry in config.classifiers.items():
        contract = contracts[name]
        if contract is None or plate.plate not in entry.plates:
            continue
        lacking = [channel for channel in contract.input.channels if channel not in channels]
        if lacking:
            faults.append(
                f"classifiers.{name}: channels {lacking} are not on plate {plate.plate!r}, which has {list(channels)}"
            )
        wanted = {region.label or region.boundary_of or "" for region in entry.regions.values()}
        absent = sorted(wanted - set(labels))
        if absent:
            faults.append(
                f"classifiers.{name}.regions: labels {absent} are not on plate {plate.plate!r}, which has {labels}"
            )
