"""The campaign: config, plates, plate maps and contracts read together, every fault found before any work.

The Snakefile asks a `Campaign` for the paths of its rules, so this module stays light: no torch, no zarr, no pandas.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim import ngff
from pcim.chunks import plan_chunks
from pcim.config import Config, nearest, parse
from pcim.contract import Contract, read_contract
from pcim.plate import parse_well, well_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcim.config import ClassifierSettings

PLATE_COLUMNS = ("plate", "path", "platemap")
CONTROL_TYPES = ("", "negcon", "poscon")
_KEPT = {"plate", "row", "column", "well", "field", "view", "path", "channels", "qc", "reason", "digest"}


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


@dataclass(frozen=True)
class Campaign:
    """A campaign whose inputs agree with one another."""

    config: Config
    plates: dict[str, PlateEntry]
    contracts: dict[str, Contract]

    @classmethod
    def load(cls, values: Mapping[str, Any], *, look_at_plates: bool = True) -> Campaign:
        """Read what `config.yaml` names and check it.

        `look_at_plates` also reads every plate's own metadata (small JSON files): once a run, not once a job.

        Raises
        ------
        CampaignError
            With every fault found: place, value, what is allowed.
        """
        config, faults = parse(Config, values, "config")
        if config is None:
            raise CampaignError(faults)
        plates = _read_plates(config.plates, faults)
        contracts = {name: _read_model(name, entry, faults) for name, entry in config.classifiers.items()}
        for name, entry in config.classifiers.items():
            _check_classifier(name, entry, contracts[name], config, plates, faults)
        if look_at_plates:
            for plate in plates.values():
                _look_at_plate(plate, config, contracts, faults)
        if faults:
            raise CampaignError(faults)
        return cls(config, plates, {name: contract for name, contract in contracts.items() if contract})

    @property
    def name(self) -> str:
        """The campaign's name; its results lie in ``results/{name}``."""
        return self.config.campaign

    @cached_property
    def chunks(self) -> dict[str, dict[str, list[str]]]:
        """Plate -> chunk -> its wells."""
        return {name: plan_chunks(plate.wells, self.config.wells_per_chunk) for name, plate in self.plates.items()}

    @property
    def explained_plates(self) -> list[tuple[str, str]]:
        """Every (classifier, plate) pair of the campaign."""
        return [(model, plate) for model, entry in self.config.classifiers.items() for plate in entry.plates]

    # What the rules ask. Each takes Snakemake's wildcards.

    def plate_metadata(self, wildcards: Any) -> Path:
        """Return the small file at the root of a plate that stands for it as a rule's input."""
        try:
            return ngff.metadata_file(self.plates[wildcards.plate].path)
        except ngff.NgffError:  # a job may be planned where the plate is not mounted
            return self.plates[wildcards.plate].path / "zarr.json"

    def platemap(self, wildcards: Any) -> Path:
        """Return a plate's plate map."""
        return self.plates[wildcards.plate].platemap

    def store(self, wildcards: Any) -> str:
        """Return a plate's OME-Zarr store."""
        return str(self.plates[wildcards.plate].path)

    def chunk(self, wildcards: Any) -> dict[str, Any]:
        """Return what every job on a chunk is told: where, which wells, and what is let pass (see `jobs.ChunkJob`)."""
        return {
            "store": self.store(wildcards),
            "wells": self.chunks[wildcards.plate][wildcards.chunk],
            "trusted_packages": self.config.classify.trusted_packages,
            "accept": self.config.ingest.accept,
            "max_failed": self.config.max_failed,
        }

    def model(self, wildcards: Any) -> Path:
        """Return a classifier's model.yaml."""
        return self.config.classifiers[wildcards.model].model

    def weights(self, wildcards: Any) -> Path:
        """Return the file with a classifier's weights."""
        return self.model(wildcards).parent / self.contracts[wildcards.model].weights

    def classifier_settings(self, wildcards: Any) -> dict[str, Any]:
        """Return what is said of a classifier in the config, without its selection of views."""
        return self.config.classifiers[wildcards.model].model_dump(mode="json", exclude={"select", "model", "plates"})

    def attribute_settings(self, wildcards: Any) -> dict[str, Any]:
        """Return the settings of one method's job: a change reruns that method and no other."""
        entry, settings = self.config.classifiers[wildcards.model], self.config.attribute
        select = (entry.select or settings.select).model_dump()
        return settings.of_method(wildcards.method) | {"select": select, "batch_size": settings.batch_size}

    def regions(self, wildcards: Any) -> dict[str, Any]:
        """Return the named regions of a classifier, as in the config."""
        entry = self.config.classifiers[wildcards.model]
        return {name: region.model_dump() for name, region in entry.regions.items()}

    def objects(self, wildcards: Any) -> str | None:
        """Return the name of the region that holds the biology of a classifier, if it has one."""
        return self.config.classifiers[wildcards.model].objects

    def halo_px(self, wildcards: Any) -> float:
        """Return how much around its objects travels with them in an exchange, px."""
        return self.config.classifiers[wildcards.model].halo_px

    def stores(self, wildcards: Any) -> dict[str, str]:
        """Return the OME-Zarr stores of a classifier's plates: plate -> path."""
        return {plate: str(self.plates[plate].path) for plate in self.config.classifiers[wildcards.model].plates}

    @property
    def models(self) -> list[Path]:
        """The model.yaml of every classifier, in the order of the config."""
        return [entry.model for entry in self.config.classifiers.values()]

    @property
    def all_stores(self) -> dict[str, str]:
        """The OME-Zarr store of every plate: plate -> path."""
        return {name: str(plate.path) for name, plate in self.plates.items()}

    def of_chunks(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every chunk of the rule's plate."""
        return lambda wildcards: [pattern.format(**wildcards, chunk=chunk) for chunk in self.chunks[wildcards.plate]]

    def of_methods(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every method, and for every chunk of the rule's plate if it names one."""
        methods = self.config.attribute.methods

        def fill(wildcards: Any) -> list[str]:
            chunks = [wildcards["chunk"]] if "chunk" in wildcards.keys() else list(self.chunks[wildcards.plate])  # noqa: SIM118
            known = {name: value for name, value in wildcards.items() if name != "chunk"}
            return [pattern.format(**known, method=method, chunk=chunk) for method in methods for chunk in chunks]

        return fill

    def of_plates(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every plate of the rule's classifier, and for every chunk of each.

        A ``{method}`` in it is the first method: all of them explain the same views.
        """
        method = self.config.attribute.methods[0]

        def fill(wildcards: Any) -> list[str]:
            plates = self.config.classifiers[wildcards.model].plates
            pairs = [(plate, chunk) for plate in plates for chunk in self.chunks[plate]]
            return list(
                dict.fromkeys(
                    pattern.format(**wildcards, plate=plate, chunk=chunk, method=method) for plate, chunk in pairs
                )
            )

        return fill

    def everywhere(self, pattern: str) -> list[str]:
        """Return `pattern` filled in for every classifier, plate, method and chunk of the campaign, each path once."""
        paths = [
            pattern.format(campaign=self.name, model=model, plate=plate, method=method, chunk=chunk)
            for model, plate in self.explained_plates
            for method in self.config.attribute.methods
            for chunk in self.chunks[plate]
        ]
        return list(dict.fromkeys(paths))


def _read_plates(path: Path, faults: list[str]) -> dict[str, PlateEntry]:
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
        float(text)
    except ValueError:
        return False
    return True


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


def _read_model(name: str, entry: ClassifierSettings, faults: list[str]) -> Contract | None:
    contract, found = read_contract(entry.model)
    faults.extend(f"classifiers.{name}: {fault}" for fault in found)
    return contract


def _check_classifier(  # noqa: PLR0913, PLR0917 - one place that sees all inputs at once
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


def _look_at_plate(plate: PlateEntry, config: Config, contracts: dict[str, Contract | None], faults: list[str]) -> None:
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
