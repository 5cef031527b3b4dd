"""What a campaign will cost before it starts, per plate, and whether its budget allows it.

Every figure comes from the plans (the plates' metadata), so it can be had before any pixel is read: a field that ingest finds
unfit will cost less.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from pcim.campaign import layout
from pcim.campaign.chunk_size import finished_jobs
from pcim.campaign.input_tables import CampaignError
from pcim.campaign.job_list import JobList
from pcim.core.workflow_files import workflow_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from pcim.campaign.campaign import Campaign
    from pcim.campaign.job_list import PlannedJob


_LISTED, _REASONS = 30, 5
_LAST = "(at the end)"
_BESIDE = 4
"""Files of a job beside its outputs: log, benchmark, and, hidden, lock and progress."""


@dataclass(frozen=True)
class Cost:
    """What is still to come: `views` to be classified, `maps` to be made (one a view, method and target), and what they take.

    `files` are all that a campaign leaves, hidden ones and Snakemake's own records too, at most. `hours` are of the devices that make the
    maps, GPU-hours where jobs ask for GPUs; no other stage is in them. `gigabytes` are before compression.
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


def costs(campaign: Campaign, results: Path = layout.RESULTS) -> dict[str, Cost]:
    """Return plate -> what its jobs that have no output yet will cost."""
    return _at(campaign, seconds_a_map(campaign, results), results)


def _at(campaign: Campaign, rate: float | None, results: Path) -> dict[str, Cost]:
    """Return the costs at so many seconds a map; None: as many as are assumed."""
    rate = rate or campaign.config.budget.seconds_per_view
    root = results / campaign.name
    found = {plate: Cost(files=int(not layout.plan_file(root, plate).exists())) for plate in campaign.plates}
    found[_LAST] = Cost()
    of_maps = cache(partial(_of_maps, campaign))  # the same for each method
    for job in JobList.from_campaign(campaign, command="").jobs():
        if not (root / job.table).exists():
            found[job.plate or _LAST] += _of_job(campaign, job, of_maps)
    return {name: replace(cost, hours=cost.maps * rate / 3600) for name, cost in found.items()}


def _of_job(campaign: Campaign, job: PlannedJob, of_maps: Callable[[str, str, str], Cost]) -> Cost:
    """Return what one job costs, but for the hours.

    There are two files an output: itself, and its record in ``.snakemake/metadata``. Jobs on chunks have a third: a link or journal
    for the job's own rerun.
    """
    outputs = layout.RULES[job.rule].count_outputs(campaign.config.attribute.methods)
    cost = Cost(jobs=1, files=(3 if job.chunk else 2) * outputs + _BESIDE)
    if job.rule == "classify":
        return cost + Cost(views=job.expected)
    if job.rule == "attribute":
        return cost + of_maps(job.model, job.plate, job.chunk)
    if job.rule == "convert":
        return cost + _of_conversion(campaign, job.plate)
    return cost + _of_report(campaign) if job.rule == "report" else cost


def _of_conversion(campaign: Campaign, plate: str) -> Cost:
    """Return the files of the plate that an export is converted into."""
    wells = campaign.plans[plate].survey.wells
    count = sum(len(names) for _, names in wells.values())
    return Cost(files=1 + _groups(wells) + count * (1 + 2 * campaign.config.ingest.levels))


def _groups(wells: Collection[str]) -> int:
    """Return the groups of rows and wells in a plate with these wells."""
    return len(wells) + len({well.rstrip("0123456789") for well in wells})


def _of_maps(campaign: Campaign, model: str, plate: str, chunk: str) -> Cost:
    """Return the maps of a chunk by one method, their files and their size."""
    settings, survey, workload = campaign.config.attribute, campaign.plans[plate].survey, campaign.workload(model)
    wells = campaign.chunks[plate][chunk]
    maps, touched = workload.maps(campaign.plates[plate], survey, wells)
    planes = len(settings.targets) * (len(workload.contract.channels) + 1) + 1  # maps and weights, a label
    pixels = survey.shape[0] * survey.shape[1] * 4 / 3  # with the levels of a pyramid
    return Cost(
        maps=maps,
        files=touched * workload.files_a_field(survey, settings.levels) + _groups(wells),
        gigabytes=touched * planes * pixels * (2 if settings.dtype == "float16" else 4) / 1e9,
    )


def _of_report(campaign: Campaign) -> Cost:
    """Return the files in the folders of the report, the copy of the workflow, and what a run leaves once.

    A chart is two files. A plate has its page, and per classifier its charts and a figure of mean maps. A run leaves its lock, the
    list of jobs and Snakemake's log.
    """
    charts = len(campaign.config.classifiers) * 2 * len(layout.CLASSIFIER_CHARTS)
    charts += len(campaign.explained_plates) * (2 * len(layout.PLATE_CHARTS) + 1)
    return Cost(files=2 * len(layout.REPORT_TABLES) + charts + len(campaign.plates) + len(workflow_parts()) + 3)


def seconds_a_map(campaign: Campaign, results: Path = layout.RESULTS) -> float | None:
    """Return the mean time of a map in this campaign's finished jobs, start-up included; None before any."""
    jobs = list(finished_jobs(campaign.config, campaign.contracts, campaign.plates, campaign.plans, results))
    maps = sum(job.maps for job in jobs)
    return sum(job.seconds for job in jobs) / maps if maps else None


def excess(campaign: Campaign, results: Path = layout.RESULTS) -> list[str]:
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


def refuse_over_budget(campaign: Campaign, results: Path = layout.RESULTS) -> None:
    """Refuse a campaign that would exceed a quota of its budget.

    Raises
    ------
    CampaignError
        With every quota that it exceeds, and the table of its costs.
    """
    if over := excess(campaign, results):
        raise CampaignError([*over, table(campaign, results)])


def table(campaign: Campaign, results: Path = layout.RESULTS) -> str:
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
    lines = ["  ".join(cell.rjust(w) if n else cell.ljust(w) for n, (cell, w) in enumerate(zip(r, widths, strict=True))) for r in rows]
    basis = (
        f"{rate:.2f} s a map, measured in this campaign's finished jobs" if rate
        else f"{campaign.config.budget.seconds_per_view:g} s a map, assumed (budget.seconds_per_view)"
    )  # fmt: skip
    why = Counter(campaign.plans[plate].basis[-1:] for plate, cost in found.items() if plate != _LAST and cost.jobs)
    chunks = [f"Chunks of {n} plate{'s' * (n > 1)}: {told}." for of_plan, n in why.most_common(_REASONS) for told in of_plan]
    last = f"Estimated from the plates' metadata; map hours at {basis}. All other stages come on top."
    return "\n".join([f"To come in campaign {campaign.name!r}:", *lines, last, *chunks])
