"""The budget: what a campaign will cost before it costs anything, by plate, and whether that is allowed.

Every figure comes from the plans (the plates' metadata), so it can be had before any pixel is read: a field that ingest finds
unfit will cost less.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pcim.exports import OMEZARR
from pcim.pace import finished_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pcim.budget_settings import BudgetSettings
    from pcim.campaign import Campaign

_LISTED, _REASONS = 30, 5
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
    settings, survey, expected = campaign.config.attribute, campaign.plans[plate].survey, campaign.expected(model)
    here = Path(model), Path(plate) / f"{chunk}.parquet"
    is_called, is_scored = ((root / stage).joinpath(*here).exists() for stage in ("classify", "evaluate"))
    methods = _lacking((root / "attribute" / model / method).joinpath(*here[1:]) for method in settings.methods)
    wells = campaign.chunks[plate][chunk]
    maps, fields_touched = expected.maps(campaign.plates[plate], survey, wells)
    planes = len(settings.targets) * (len(expected.contract.channels) + 1) + 1  # maps and weights, a label
    pixels = survey.shape[0] * survey.shape[1] * 4 / 3  # with the levels of a pyramid
    return Cost(
        views=0 if is_called else expected.views(survey, wells),
        maps=methods * maps,
        jobs=methods + (not is_called) + (not is_scored),
        files=methods * fields_touched * expected.files_a_field(survey, settings.levels),
        gigabytes=methods * fields_touched * planes * pixels * (2 if settings.dtype == "float16" else 4) / 1e9,
    )


def views_of_chunk(campaign: Campaign, model: str, plate: str, chunk: str) -> tuple[int, int]:
    """Return how many views of a chunk a classifier will call, and how many of them each method will explain, about."""
    survey, wells = campaign.plans[plate].survey, campaign.chunks[plate][chunk]
    expected = campaign.expected(model)
    maps, _ = expected.maps(campaign.plates[plate], survey, wells)
    return expected.views(survey, wells), maps // expected.targets


def seconds_a_map(campaign: Campaign, results: Path = Path("results")) -> float | None:
    """Return the mean time of a map in this campaign's finished jobs, start-up included; None before any."""
    jobs = list(finished_jobs(campaign.config, campaign.contracts, campaign.plates, campaign.plans, results))
    maps = sum(job.maps for job in jobs)
    return sum(job.seconds for job in jobs) / maps if maps else None


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
    why = Counter(campaign.plans[plate].basis[-1:] for plate, cost in found.items() if plate != _LAST and cost.jobs)
    chunks = [
        f"Chunks of {n} plate{'s' * (n > 1)}: {told}." for of_plan, n in why.most_common(_REASONS) for told in of_plan
    ]
    last = f"Estimated from the plates' metadata; hours at {basis}."
    return "\n".join([f"To come in campaign {campaign.name!r}:", *lines, last, *chunks])
