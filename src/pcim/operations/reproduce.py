"""Compute maps and predictions again from what their tables record, and compare them with the stored ones.

The record of a table holds everything that its job was given (`pcim.stages.chunk_job.of_chunk`). The config and plates.tsv are not read,
because both may have changed. The campaign is only read.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
import yaml

from pcim.campaign.layout import find_tables, maps_of
from pcim.classifiers.contract import Contract
from pcim.config.fault_messages import nearest
from pcim.config.stages import AttributeSettings, ClassifySettings
from pcim.core.identity import KEY_COLUMNS, parse_well
from pcim.core.plate_source import Source
from pcim.core.tiling import Box
from pcim.operations.map_differences import (
    Change,
    Comparison,
    ComparisonState,
    calls_differ,
    changes,
    devices,
    maps_differ,
    stored_maps,
)
from pcim.plates.attribution_plate import AttributionPlate
from pcim.runtime.progress import progress_bar
from pcim.runtime.provenance import file_digest, read_record
from pcim.runtime.tables import rows_of
from pcim.stages.attribute.job import attribute_chunk
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.classify import classify_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


FORM = 1


@dataclass
class Reproduction:
    """What came of making a part of a campaign again."""

    campaign: str
    compared: list[Comparison] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def state(self) -> ComparisonState:
        """The worst that was found: a difference, else what is not known, else what is only close."""
        found = {one.state for one in self.compared}
        order: tuple[ComparisonState, ...] = ("different", "unknown", "close", "equal")
        return next((state for state in order if state in found), "unknown")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it (docs/formats.md)."""
        maps = [_plain(asdict(one)) for one in self.compared]
        return {
            "form": FORM,
            "campaign": self.campaign,
            "state": self.state,
            "changes": [asdict(c) for c in self.changes],
            "compared": maps,
        }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in row.items()}  # noqa: PLR0124 - NaN


@dataclass(frozen=True)
class Selection:
    """What is made again; empty: all of it."""

    plate: str = ""
    well: str = ""
    model: str = ""
    method: str = ""


@dataclass(frozen=True)
class RecordedTable:
    """A finished table of calls or ledger, what its job was told, and which of its wells are made again."""

    table: Path
    model: str
    method: str
    plate: str
    made: Mapping[str, Any]
    wells: Sequence[str]

    def job(self, folder: Path, trusted: Sequence[str]) -> ChunkJob:
        """Return the job, on the chosen wells alone, with the contract as it was; a GPU is used if it was and there is one.

        Whose code may be run is `trusted` alone: what a record trusted, others may have written.
        """
        told = dict(self.made["job"])
        told |= {"store": Source.from_dict(told["store"]), "wells": list(self.wells), "revision": self.made["revision"]}
        told |= {
            "model": write_model(self.made, folder),
            "gpus": told["gpus"] if torch.cuda.is_available() else 0,
            "max_failed": 1.0,
            "trusted_packages": ["pcim", *trusted],
        }
        return ChunkJob(**told)


def write_model(made: Mapping[str, Any], folder: Path) -> Path:
    """Write the recorded contract into a folder, beside links to the classifier's files, and return its path.

    Raises
    ------
    ValueError
        When the weights are gone, or are others.
    """
    contract, place = made["classifier"], Path(made["job"]["model"]).parent.resolve()
    weights = place / contract["weights"]
    if (found := file_digest(weights)) != contract["sha256"]:
        now = f"has the SHA-256 {found}" if found else "cannot be read"
        raise ValueError(f"{weights}: {now}; the campaign's classifier had {contract['sha256']}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (contract["weights"], contract["test"]["file"]):
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(place / name)
    model = folder / "model.yaml"
    model.write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
    return model


def find_recorded(root: Path, chosen: Selection) -> list[RecordedTable]:
    """Return the tables of calls and ledgers of the chosen part of the campaign with results in `root`, calls before their maps.

    Raises
    ------
    ValueError
        When there is no such table, or one says nothing of how it was made; says what there is.
    """
    well = parse_well(chosen.well) if chosen.well else ""
    tables = [
        (file, of["model"], of.get("method", ""), of["plate"]) for rule in ("classify", "attribute") for file, of in find_tables(root, rule)
    ]
    for what, wanted, there in (
        ("model", chosen.model, {model for _, model, _, _ in tables}),
        ("plate", chosen.plate, {plate for *_, plate in tables}),
        ("method", chosen.method, {method for _, _, method, _ in tables} - {""}),
    ):
        if wanted and wanted not in there:
            raise ValueError(f"{root}: {what} {wanted!r} has no finished table{nearest(wanted, sorted(there))}; there are {sorted(there)}")
    found = []
    for file, model, method, plate in tables:
        if chosen.model in {"", model} and chosen.plate in {"", plate} and (not method or chosen.method in {"", method}):
            made = read_record(file)
            if not made:
                raise ValueError(f"{file}: says nothing of how it was made; it is of an earlier version of PCIM")
            wells = [name for name in made["job"]["wells"] if well in {"", name}]
            found += [RecordedTable(file, model, method, plate, made, wells)] if wells else []
    if not found:
        raise ValueError(f"{root}: no finished table of calls or maps{f' has well {well}' if well else ''}")
    return found


def reproduce(root: Path, chosen: Selection, keep: Path | None = None, trusted: Sequence[str] = ()) -> Reproduction:
    """Make a part of the campaign with results in `root` again, in `keep` or a folder that goes, and compare.

    `trusted` is the code beside PCIM's own that may be run for it: packages by name, programs by their SHA-256.

    Raises
    ------
    ValueError
        When that cannot be told: nothing to compare with, another classifier, a folder that is not empty, code that is not trusted.
    """
    root, keep = root.resolve(), keep.resolve() if keep else None
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise ValueError(f"{keep}: not empty; give a folder that is, or is not there yet")
    found = Reproduction(root.name)
    with contextlib.ExitStack() as stack:
        scratch = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pcim-reproduce-")))
        stack.enter_context(contextlib.chdir(root.parent.parent))  # paths are recorded as Snakemake was given them
        recorded = find_recorded(root, chosen)
        _refuse_strangers(recorded, trusted)
        bar = stack.enter_context(progress_bar(len(recorded), "reproduce", "table"))
        for one in recorded:
            made = again(one, root, scratch, trusted)
            found.compared += compare(one, root, made)
            found.changes += [change for change in devices(one.table, made) if change not in found.changes]
            bar.update()
        found.changes += list(changes(root, [one.made for one in recorded]))
    return found


def _refuse_strangers(recorded: Sequence[RecordedTable], trusted: Sequence[str]) -> None:
    """Refuse to run code that the records name and nobody here has trusted."""
    asked = {one.model: Contract.model_validate(one.made["classifier"]).code for one in recorded}
    strange = {model: code for model, code in asked.items() if code and code not in trusted}
    if strange:
        told = "; ".join(f"classifier {model} is code of {code}" for model, code in strange.items())
        flags = " ".join(f"--trust {code}" for code in dict.fromkeys(strange.values()))
        raise ValueError(f"{told}, which would be run: give {flags}, if you know who made it")


def again(one: RecordedTable, root: Path, scratch: Path, trusted: Sequence[str] = ()) -> Path:
    """Make a table again, its maps beside it, and return it: by the stage's own function, as its job did."""
    made = scratch / one.table.relative_to(root)
    job = one.job(scratch / "models" / one.model, trusted)
    if not one.method:
        settings = ClassifySettings.model_validate(one.made["settings"])
        classify_chunk(job, fields=one.made["fields"], table=str(made), settings=settings)
    else:
        attribute_chunk(
            job,
            fields=one.made["fields"],
            calls=one.made["calls"],
            method=one.method,
            maps=str(_maps(one, scratch)),
            ledger=str(made),
            settings=AttributeSettings.model_validate(one.made["settings"]),
        )
    return made


def _maps(one: RecordedTable, root: Path) -> Path:
    return maps_of(root, one.model, one.plate, one.method)


def compare(one: RecordedTable, root: Path, made: Path) -> Iterator[Comparison]:
    """Yield how each call or map of a table compares with the one that was made again."""
    by = [*KEY_COLUMNS, *(["layer"] if one.method else [])]
    before = pd.read_parquet(one.table)
    before = before[before["well"].isin(list(one.wells))].assign(layer=before["layer"] if one.method else "")
    now = {tuple(row[name] for name in by): row for row in rows_of(pd.read_parquet(made))}
    seen = pd.read_parquet(one.made["fields"], columns=["well", "field", "path"])
    paths = {(row["well"], row["field"]): row["path"] for row in rows_of(seen)}
    stores = [AttributionPlate(_maps(one, place)) for place in (root, made.parents[4])] if one.method else []
    for _, of_field in before.groupby(["well", "field", "layer"], sort=False):
        first = of_field.iloc[0]
        path, layer = str(paths[first["well"], first["field"]]), str(first["layer"])
        boxes = {row["view"]: Box.from_row(row) for row in rows_of(of_field) if row["status"] == "ok"}
        stored = [stored_maps(store, path, layer, boxes) for store in stores]
        for row in rows_of(of_field):
            other = now.get(tuple(row[name] for name in by), {"status": "missing", "reason": "it is not selected now"})
            told = {name: row[name] for name in ("plate", "well", "field", "view", "layer")}
            about = {"kind": "map" if one.method else "call", "model": one.model, "method": one.method, **told}
            if other["status"] != row["status"]:
                why = f"{other['status']}: {other['reason']}; it was {row['status']}"
                yield Comparison(**about, state="unknown", why=why)
            elif row["status"] != "ok":
                yield Comparison(**about, state="equal", why=row["reason"])
            else:
                found = maps_differ(row, other, *stored) if one.method else calls_differ(row, other)
                yield Comparison(**about, **found)
