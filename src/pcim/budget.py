"""The budget: what a campaign will cost before it costs anything, by plate, and whether that is allowed.

Every figure comes from the plans (the plates' metadata), so it can be had before any pixel is read: a field that ingest finds
unfit will cost less.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pcim.chunks import is_selected, tile_field
from pcim.exports import OMEZARR
from pcim.plate import ViewKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcim.campaign import Campaign
    from pcim.config import BudgetSettings
    from pcim.contract import InputContract

OBJECTS_A_FIELD = 100
"""Objects that a field is taken to hold before anyone has counted."""

FILES_A_FIELD = (("image", 1, 2), ("label", 2, 2))
"""Files of a field in a plate of maps: of each part, those that every field has and those a level adds."""

_WEIGHTS_FILES, _LISTED = 3, 30
_LAST = "(at the end)"


@dataclass(frozen=True)
class Cost:
    """What is still to come; `hours` are of the devices that explain (GPU-hours where jobs ask for GPUs)."""

    views: int = 0
    explained: int = 0
    jobs: int = 0
    files: int = 0
    gigabytes: float = 0.0
    hours: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def cells(self) -> list[str]:
        """Return it as text, a cell a figure."""
        whole = (f"{number:,}" for number in (self.views, self.explained, self.jobs, self.files))
        return [*whole, f"{self.gigabytes:,.1f}", f"{self.hours:,.1f}"]


def costs(campaign: Campaign, results: Path = Path("results")) -> dict[str, Cost]:
    """Return plate -> what its jobs that have no output yet will cost."""
    rate = seconds_a_view(campaign, results) or campaign.config.budget.seconds_per_view
    found = {plate: Cost() for plate in campaign.plates}
    for plate, entry in campaign.plates.items():
        ingested = (results / campaign.name / "ingest" / plate / "fields.parquet").exists()
        steps = 0 if ingested else 1 + (entry.source.format != OMEZARR)
        found[plate] += Cost(jobs=steps)
    for model, plate in campaign.explained_plates:
        found[plate] += _of_classifier(campaign, model, plate, rate, results)
    root = results / campaign.name
    last = [root / "evaluate" / model / "interventions.parquet" for model in campaign.config.classifiers]
    found[_LAST] = Cost(jobs=sum(not file.exists() for file in [*last, root / "report/index.html"]))
    return found


def _of_classifier(campaign: Campaign, model: str, plate: str, rate: float, results: Path) -> Cost:
    """Return what one classifier's jobs on one plate will cost."""
    settings, survey = campaign.config.attribute, campaign.plans[plate].survey
    contract = campaign.contracts[model].input
    summed = (results / campaign.name / "aggregate" / model / plate / "shares.parquet").exists()
    total = Cost(jobs=0 if summed else 1)
    for chunk, wells in campaign.chunks[plate].items():
        done = {
            method: (results / campaign.name / "attribute" / model / method / plate / f"{chunk}.parquet").exists()
            for method in settings.methods
        }
        called = (results / campaign.name / "classify" / model / plate / f"{chunk}.parquet").exists()
        scored = (results / campaign.name / "evaluate" / model / plate / f"{chunk}.parquet").exists()
        tiles = _tiles(survey.shape, contract)
        views = tiles * sum(len(survey.wells[well][1]) for well in wells)
        explained, touched = _selected(campaign, model, plate, wells, tiles)
        missing = [method for method, is_done in done.items() if not is_done]
        arrays = (
            len(contract.channels) + 2
        )  # of a typical method: a map a channel; its weights; what is lost to rounding up
        stored = (
            touched * arrays * survey.shape[0] * survey.shape[1] * (2 if settings.dtype == "float16" else 4) * 4 / 3
        )
        files = sum(once + a_level * settings.levels for _, once, a_level in FILES_A_FIELD) + _WEIGHTS_FILES
        total += Cost(
            views=0 if called else views,
            explained=explained * len(missing),
            jobs=len(missing) + (not called) + (not scored),
            files=len(missing) * touched * files,
            gigabytes=len(missing) * stored / 1e9,
            hours=len(missing) * explained * rate / 3600,
        )
    return total


def _tiles(shape: tuple[int, int], contract: InputContract) -> int:
    """Return the views of a field; those of another pixel size are counted as if they had the classifier's."""
    size = contract.size
    if contract.view == "object":
        return OBJECTS_A_FIELD
    fits = contract.view == "tile" and shape[0] >= size[0] and shape[1] >= size[1]
    return len(tile_field(shape, size, contract.overlap)) if fits else 1


def _selected(campaign: Campaign, model: str, plate: str, wells: Iterable[str], tiles: int) -> tuple[int, int]:
    """Return how many views will be explained, about, and how many fields they lie in at most."""
    select = campaign.config.classifiers[model].select or campaign.config.attribute.select
    everything = select.model_copy(update={"fraction": 1.0})
    explained = touched = 0.0
    for well in wells:
        row = campaign.plates[plate].wells.get(well, {})
        fields_here = len(campaign.plans[plate].survey.wells[well][1])
        if not is_selected(ViewKey(plate, "A", "1", "0", "0_0"), row, everything):
            continue
        share = 1.0 if select.controls and row.get("control_type") else select.fraction
        views = min(fields_here * tiles * share, select.per_well or float("inf"))
        explained += views
        touched += min(fields_here, views)
    return round(explained), round(touched)


def seconds_a_view(campaign: Campaign, results: Path = Path("results")) -> float | None:
    """Return the mean time of explaining a view in this campaign's finished jobs, start-up included; None before any."""
    seconds = views = 0.0
    for model, plate in campaign.explained_plates:
        place = results / campaign.name / "benchmarks" / "attribute" / model
        tiles = _tiles(campaign.plans[plate].survey.shape, campaign.contracts[model].input)
        for file in sorted(place.glob(f"*/{plate}/*.tsv")):
            wells: Mapping[str, list[str]] = campaign.chunks[plate]
            if file.stem in wells:
                with file.open(newline="") as handle:
                    seconds += sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
                views += _selected(campaign, model, plate, wells[file.stem], tiles)[0]
    return seconds / views if views else None


def excess(total: Cost, budget: BudgetSettings) -> list[str]:
    """Return, in words, every quota that the campaign would exceed."""
    limits = (("max_jobs", total.jobs, "jobs"), ("max_files", total.files, "files"), ("max_gb", total.gigabytes, "GB"),
              ("max_hours", total.hours, "device hours"))  # fmt: skip
    return [
        f"budget.{name}: {value:,.1f} {unit} to come; allowed are {getattr(budget, name):,g}"
        for name, value, unit in limits
        if getattr(budget, name) is not None and value > getattr(budget, name)
    ]


def table(campaign: Campaign, results: Path = Path("results")) -> str:
    """Return what is to come, by plate, as a table of text that says what it rests on."""
    found = costs(campaign, results)
    if not sum(found.values(), Cost()).jobs:
        return f"Every job of campaign {campaign.name!r} has its output; what changed is run again."
    rate = seconds_a_view(campaign, results)
    head = ["plate", "views", "explained", "jobs", "files", "GB", "hours"]
    shown = [[plate, *cost.cells()] for plate, cost in list(found.items())[:_LISTED]]
    if len(found) > _LISTED:
        rest = sum(list(found.values())[_LISTED:], Cost())
        shown.append([f"{len(found) - _LISTED} more", *rest.cells()])
    rows = [head, *shown, ["all", *sum(found.values(), Cost()).cells()]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.rjust(w) if n else cell.ljust(w) for n, (cell, w) in enumerate(zip(r, widths, strict=True)))
        for r in rows
    ]
    basis = (
        f"{rate:.2f} s a view, measured in this campaign's finished jobs" if rate
        else f"{campaign.config.budget.seconds_per_view:g} s a view, assumed (budget.seconds_per_view)"
    )  # fmt: skip
    return "\n".join(
        [f"To come in campaign {campaign.name!r}:", *lines, f"Estimated from the plates' metadata; hours at {basis}."]
    )
