"""The budget: what a campaign will cost before it costs anything, by plate, and whether that is allowed.

Every figure comes from the plans (the plates' metadata), so it can be had before any pixel is read: a field that ingest finds
unfit will cost less.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pcim.campaign.chunk_size import finished_jobs
from pcim.plates.vendors import OMEZARR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pcim.campaign.campaign import Campaign


_LISTED, _REASONS = 30, 5
_LAST = "(at the end)"
_BESIDE = 4
"""Files of a job beside its outputs: log, benchmark, and, hidden, lock and progress."""
_OF_A_REPORT, _OF_A_CLASSIFIER, _OF_A_PAGE = 60, 4, 13
"""Files of a report: its tables and what a run leaves once (lock, outline, Snakemake's log, a copy of the workflow); figures; a plate's page and figures."""


@dataclass(frozen=True)
class Cost:
    """What is still to come: `views` to be classified, `maps` to be made (one a view, method and target), and what they take.

    `files` are all that a campaign leaves, hidden ones and Snakemake's own records too, at most. `hours` are of the devices that make the maps,
    GPU-hours where jobs ask for GPUs; no other stage is in them. `gigabytes` are before compression.
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
    return _at(campaign, seconds_a_map(campaign, results), results)


def _at(campaign: Campaign, rate: float | None, results: Path) -> dict[str, Cost]:
    """Return the costs at so many seconds a map; None: as many as are assumed."""
    rate = rate or campaign.config.budget.seconds_per_view
    root = results / campaign.name
    found = {plate: _of_plate(campaign, plate, root) for plate in campaign.plates}
    for model, plate in campaign.explained_plates:
        found[plate] += _jobs(*_of_the_whole_plate(campaign, model, plate, root))
        for chunk in campaign.chunks[plate]:
            found[plate] += _of_chunk(campaign, model, plate, chunk, root)
    for model, plate, other in campaign.pairs:
        found[plate] += _jobs((root / f"evaluate/{model}/{plate}/against_{other}.parquet", 1))
    last = [(root / "evaluate" / model / "interventions.parquet", 1) for model in campaign.config.classifiers]
    is_reported = (root / "report/index.html").exists()
    figures = len(campaign.config.classifiers) * _OF_A_CLASSIFIER + len(campaign.explained_plates) * _OF_A_PAGE
    found[_LAST] = _jobs(*last, (root / "report/index.html", 7)) + Cost(
        files=0 if is_reported else _OF_A_REPORT + figures
    )
    return {name: replace(cost, hours=cost.maps * rate / 3600) for name, cost in found.items()}


def _jobs(*made: tuple[Path, int], of_output: int = 2) -> Cost:
    """Return the jobs that are to come and their files, of pairs of a job's first output and the number of its outputs.

    There are `of_output` files an output: itself, its record in ``.snakemake/metadata``, and for jobs on chunks a third: a link
    or journal for the job's own rerun.
    """
    lacking = [outputs for first, outputs in made if not first.exists()]
    return Cost(jobs=len(lacking), files=sum(of_output * outputs + _BESIDE for outputs in lacking))


def _of_plate(campaign: Campaign, plate: str, root: Path) -> Cost:
    """Return what the jobs cost that every classifier waits for, with the plate's plan."""
    survey, place = campaign.plans[plate].survey, root / "ingest" / plate
    cost = _jobs((place / "fields.parquet", 1)) + Cost(files=int(not (root / "plan" / f"{plate}.json").exists()))
    table = place / "conversion.parquet"
    if campaign.plates[plate].source.format == OMEZARR or table.exists():
        return cost
    count = sum(len(names) for _, names in survey.wells.values())
    of_field = 1 + 2 * campaign.config.ingest.levels
    return cost + _jobs((table, 1)) + Cost(files=1 + _groups(survey.wells) + count * of_field)


def _groups(wells: Collection[str]) -> int:
    """Return the groups of rows and wells in a plate with these wells."""
    return len(wells) + len({well.rstrip("0123456789") for well in wells})


def _of_the_whole_plate(campaign: Campaign, model: str, plate: str, root: Path) -> Iterator[tuple[Path, int]]:
    """Yield the first outputs of a classifier's jobs on a plate that are not cut into chunks, and their numbers of outputs."""
    yield root / "aggregate" / model / plate / "shares.parquet", 5 + len(campaign.config.attribute.methods)
    if campaign.contracts[model].input.percentiles is not None:
        yield root / "ingest" / plate / "intensities" / f"{model}.parquet", 1
    if campaign.config.classifiers[model].crops is not None:
        yield root / "ingest" / plate / "objects" / f"{model}.parquet", 1


def _of_chunk(campaign: Campaign, model: str, plate: str, chunk: str, root: Path) -> Cost:
    """Return what one classifier's jobs on one chunk will cost, but for the hours."""
    settings, survey, expected = campaign.config.attribute, campaign.plans[plate].survey, campaign.expected(model)
    here = Path(model), Path(plate) / f"{chunk}.parquet"
    called, scored = ((root / stage).joinpath(*here) for stage in ("classify", "evaluate"))
    tables = [root / "attribute" / model / method / here[1] for method in settings.methods]
    explaining = _jobs(*((table, 1) for table in tables), of_output=3)
    wells = campaign.chunks[plate][chunk]
    maps, touched = expected.maps(campaign.plates[plate], survey, wells)
    planes = len(settings.targets) * (len(expected.contract.channels) + 1) + 1  # maps and weights, a label
    pixels = survey.shape[0] * survey.shape[1] * 4 / 3  # with the levels of a pyramid
    of_maps = Cost(
        views=0 if called.exists() else expected.views(survey, wells),
        maps=explaining.jobs * maps,
        files=explaining.jobs * (touched * expected.files_a_field(survey, settings.levels) + _groups(wells)),
        gigabytes=explaining.jobs * touched * planes * pixels * (2 if settings.dtype == "float16" else 4) / 1e9,
    )
    return _jobs((called, 1), (scored, 2), of_output=3) + explaining + of_maps


def seconds_a_map(campaign: Campaign, results: Path = Path("results")) -> float | None:
    """Return the mean time of a map in this campaign's finished jobs, start-up included; None before any."""
    jobs = list(finished_jobs(campaign.config, campaign.contracts, campaign.plates, campaign.plans, results))
    maps = sum(job.maps for job in jobs)
    return sum(job.seconds for job in jobs) / maps if maps else None


def excess(campaign: Campaign, results: Path = Path("results")) -> list[str]:
    """Return, in words, every quota that the campaign would exceed."""
    budget = campaign.config.budget
    if not budget.is_limited:
        return []
    total = sum(costs(campaign, results).values(), Cost())
    limits = (("max_jobs", total.jobs, "jobs"), ("max_files", total.files, "files"), ("max_gb", total.gigabytes, "GB"),
              ("max_hours", total.hours, "map hours"))  # fmt: skip
    return [
        f"budget.{name}: {value:,.1f} {unit} to come; allowed are {getattr(budget, name):,g}"
        for name, value, unit in limits
        if getattr(budget, name) is not None and value > getattr(budget, name)
    ]


def table(campaign: Campaign, results: Path = Path("results")) -> str:
    """Return what is to come, by plate, as a table of text that says what it rests on."""
    rate = seconds_a_map(campaign, results)
    found = _at(campaign, rate, results)
    if not sum(found.values(), Cost()).jobs:
        return f"Every job of campaign {campaign.name!r} has its output; what changed is run again."
    head = ["plate", "views", "maps", "jobs", "files", "GB", "map hours"]
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
    last = f"Estimated from the plates' metadata; map hours at {basis}. All other stages come on top."
    return "\n".join([f"To come in campaign {campaign.name!r}:", *lines, last, *chunks])
