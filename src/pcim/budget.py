"""The budget: what a campaign will cost before it costs anything, by plate, and whether that is allowed.

Every figure comes from the plans (the plates' metadata), so it can be had before any pixel is read: a field that ingest finds
unfit will cost less.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pcim.chunks import is_selected
from pcim.exports import OMEZARR
from pcim.plate import ViewKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcim.campaign import Campaign
    from pcim.config import BudgetSettings
    from pcim.contract import InputContract
    from pcim.survey import Survey

OBJECTS_A_FIELD = 100
"""Objects that a field is taken to hold before anyone has counted."""

_LISTED = 30
_LAST = "(at the end)"


@dataclass(frozen=True)
class Cost:
    """What is still to come: `views` to be classified, `maps` to be made (one a view, method and target), and what they take.

    `hours` are of the devices that explain: GPU-hours where jobs ask for GPUs. `gigabytes` are before compression.
    """

    views: int = 0
    maps: int = 0
    jobs: int = 0
    files: int = 0
    gigabytes: float = 0.0
    hours: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def cells(self) -> list[str]:
        """Return it as text, a cell a figure."""
        whole = (f"{number:,}" for number in (self.views, self.maps, self.jobs, self.files))
        return [*whole, f"{self.gigabytes:,.1f}", f"{self.hours:,.1f}"]


def costs(campaign: Campaign, results: Path = Path("results")) -> dict[str, Cost]:
    """Return plate -> what its jobs that have no output yet will cost."""
    rate = seconds_a_map(campaign, results) or campaign.config.budget.seconds_per_view
    root = results / campaign.name
    found = {}
    for plate, entry in campaign.plates.items():
        ingested = (root / "ingest" / plate / "fields.parquet").exists()
        found[plate] = Cost(jobs=0 if ingested else 1 + (entry.source.format != OMEZARR))
    for model, plate in campaign.explained_plates:
        found[plate] += Cost(jobs=_lacking(_of_the_whole_plate(campaign, model, plate, root)))
        for chunk in campaign.chunks[plate]:
            found[plate] += _of_chunk(campaign, model, plate, chunk, root)
    last = [root / "evaluate" / model / "interventions.parquet" for model in campaign.config.classifiers]
    last += [root / f"evaluate/{model}/{plate}/against_{other}.parquet" for model, plate, other in campaign.pairs]
    found[_LAST] = Cost(jobs=_lacking([*last, root / "report/index.html"]))
    return {name: replace(cost, hours=cost.maps * rate / 3600) for name, cost in found.items()}


def _lacking(outputs: Iterable[Path]) -> int:
    """Count the outputs that are not there, each of a job of its own."""
    return sum(not output.exists() for output in outputs)


def _of_the_whole_plate(campaign: Campaign, model: str, plate: str, root: Path) -> Iterator[Path]:
    """Yield the outputs of a classifier's jobs on a plate that are not cut into chunks."""
    yield root / "aggregate" / model / plate / "shares.parquet"
    if campaign.contracts[model].input.percentiles is not None:
        yield root / "ingest" / plate / "intensities" / f"{model}.parquet"
    if campaign.config.classifiers[model].crops is not None:
        yield root / "ingest" / plate / "objects" / f"{model}.parquet"


def _of_chunk(campaign: Campaign, model: str, plate: str, chunk: str, root: Path) -> Cost:
    """Return what one classifier's jobs on one chunk will cost, but for the hours."""
    settings, survey, contract = (
        campaign.config.attribute,
        campaign.plans[plate].survey,
        campaign.contracts[model].input,
    )
    here = Path(model), Path(plate) / f"{chunk}.parquet"
    is_called, is_scored = ((root / stage).joinpath(*here).exists() for stage in ("classify", "evaluate"))
    methods = _lacking((root / "attribute" / model / method).joinpath(*here[1:]) for method in settings.methods)
    maps, fields_touched = _selected(campaign, model, plate, campaign.chunks[plate][chunk])
    planes = len(settings.targets) * (len(contract.channels) + 1) + 1  # maps and weights, a label
    pixels = survey.shape[0] * survey.shape[1] * 4 / 3  # with the levels of a pyramid
    return Cost(
        views=0 if is_called else views_of_chunk(campaign, model, plate, chunk)[0],
        maps=methods * maps,
        jobs=methods + (not is_called) + (not is_scored),
        files=methods * fields_touched * _files_a_field(survey, contract, settings.levels),
        gigabytes=methods * fields_touched * planes * pixels * (2 if settings.dtype == "float16" else 4) / 1e9,
    )


def views_of_chunk(campaign: Campaign, model: str, plate: str, chunk: str) -> tuple[int, int]:
    """Return how many views of a chunk a classifier will call, and how many of them each method will explain, about."""
    survey, wells = campaign.plans[plate].survey, campaign.chunks[plate][chunk]
    of_field = _views_a_field(survey, campaign.contracts[model].input)
    maps, _ = _selected(campaign, model, plate, wells)
    return of_field * sum(len(survey.wells[well][1]) for well in wells), maps // len(campaign.config.attribute.targets)


def _views_a_field(survey: Survey, contract: InputContract) -> int:
    """Return the views of a field; a field that will be refused counts as one."""
    if contract.view == "object":
        return OBJECTS_A_FIELD
    extent = contract.extent(survey.shape, survey.pixel_size_um)
    if contract.view == "field" or extent is None or survey.shape[0] < extent[0] or survey.shape[1] < extent[1]:
        return 1
    return len(contract.tiles(survey.shape, extent))


def _files_a_field(survey: Survey, contract: InputContract, levels: int) -> int:
    """Return the files of a field of maps: groups, levels of image and label, weights, and the views' own maps if stored."""
    extent = contract.extent(survey.shape, survey.pixel_size_um) or contract.size
    is_cut_evenly = not any(length % side for length, side in zip(survey.shape, extent, strict=True))
    as_they_lie = contract.view != "object" and not contract.overlap and extent == contract.size and is_cut_evenly
    return 3 + 4 * levels + 3 + (0 if as_they_lie else 2)


def _selected(campaign: Campaign, model: str, plate: str, wells: Iterable[str]) -> tuple[int, int]:
    """Return how many maps a method will make of these wells, about, and how many fields they lie in at most."""
    select = campaign.config.classifiers[model].select or campaign.config.attribute.select
    everything = select.model_copy(update={"fraction": 1.0})
    survey = campaign.plans[plate].survey
    of_field = _views_a_field(survey, campaign.contracts[model].input)
    explained = touched = 0.0
    for well in wells:
        row = campaign.plates[plate].wells.get(well, {})
        fields_here = len(survey.wells[well][1])
        if not is_selected(ViewKey(plate, "A", "1", "0", "0_0"), row, everything):
            continue
        share = 1.0 if select.controls and row.get("control_type") else select.fraction
        views = min(fields_here * of_field * share, select.per_well or float("inf"))
        explained += views
        touched += min(fields_here, views)
    return round(explained) * len(campaign.config.attribute.targets), round(touched)


def seconds_a_map(campaign: Campaign, results: Path = Path("results")) -> float | None:
    """Return the mean time of a map in this campaign's finished jobs, start-up included; None before any."""
    seconds = maps = 0.0
    for model, plate in campaign.explained_plates:
        place = results / campaign.name / "benchmarks" / "attribute" / model
        wells: Mapping[str, list[str]] = campaign.chunks[plate]
        for file in sorted(place.glob(f"*/{plate}/*.tsv")):
            if file.stem in wells:
                with file.open(newline="") as handle:
                    seconds += sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
                maps += _selected(campaign, model, plate, wells[file.stem])[0]
    return seconds / maps if maps else None


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
    rate = seconds_a_map(campaign, results)
    head = ["plate", "views", "maps", "jobs", "files", "GB", "hours"]
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
        f"{rate:.2f} s a map, measured in this campaign's finished jobs" if rate
        else f"{campaign.config.budget.seconds_per_view:g} s a map, assumed (budget.seconds_per_view)"
    )  # fmt: skip
    return "\n".join(
        [f"To come in campaign {campaign.name!r}:", *lines, f"Estimated from the plates' metadata; hours at {basis}."]
    )
