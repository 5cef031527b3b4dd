"""The layout of a campaign's results: which rule writes which files below ``results/{campaign}``.

Nothing else in the package spells a path below the results. The rules in ``workflow/rules`` spell the same paths, because Snakemake
reads them there; tests/unit/campaign/test_layout.py compares both. A new rule is a row of `RULES` and its rule in a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

RESULTS = Path("results")
"""The folder of all campaigns, relative to where the workflow runs."""

Over = Literal["plate", "model and plate", "chunk", "method and chunk", "model", "pair", "campaign"]
"""What a rule has one job for each of. A pair is a plate and two classifiers that see the same views of it."""

Unit = Literal["field", "view", "job"]
"""What the progress of a job is counted in."""


@dataclass(frozen=True)
class RuleFiles:
    """What each job of one rule writes; patterns hold Snakemake's wildcards and are relative to the campaign's results.

    `stage` names the file of rules. `place` is where log and benchmark lie, below ``logs`` and ``benchmarks``. A job is done when the
    first of `outputs` is there. `only` names what a plate or classifier must need for the rule to have a job ("" = always).
    """

    stage: str
    over: Over
    place: str
    outputs: Mapping[str, str]
    unit: Unit = "job"
    only: str = ""

    def table(self, **wildcards: str) -> str:
        """Return the first output of a job, relative to the campaign's results."""
        return next(iter(self.outputs.values())).format(**wildcards)

    def folder(self, **wildcards: str) -> str:
        """Return the folder of the first output, down to the first wildcard that is not given, with a slash at its end."""
        named = next(iter(self.outputs.values())).split("/")[:-1]
        lacking = [number for number, part in enumerate(named) if set(re.findall(r"{(\w+)}", part)) - wildcards.keys()]
        return "/".join(named[: min(lacking, default=len(named))]).format(**wildcards) + "/"

    def count_outputs(self, methods: Collection[str]) -> int:
        """Return how many files a job declares; an output by method counts once per method, unless the job has a method."""
        by_method = "{method}" if self.over != "method and chunk" else ""
        return sum(len(methods) if by_method and by_method in path else 1 for path in self.outputs.values())


MAPS = "maps/{model}/{plate}_{method}.zarr"
"""A plate of maps; every job of `attribute` writes its wells into it, and `aggregate` its metadata."""

RULES: Mapping[str, RuleFiles] = MappingProxyType({
    "convert": RuleFiles(
        "ingest", "plate", "convert/{plate}", {"table": "ingest/{plate}/conversion.parquet"}, only="convert"
    ),
    "ingest": RuleFiles("ingest", "plate", "ingest/{plate}", {"fields": "ingest/{plate}/fields.parquet"}, "field"),
    "intensities": RuleFiles(
        "ingest", "model and plate", "intensities/{plate}/{model}", {"table": "ingest/{plate}/intensities/{model}.parquet"},
        only="intensities",
    ),
    "objects": RuleFiles(
        "ingest", "model and plate", "objects/{plate}/{model}", {"table": "ingest/{plate}/objects/{model}.parquet"},
        only="objects",
    ),
    "classify": RuleFiles(
        "classify", "chunk", "classify/{model}/{plate}/{chunk}", {"calls": "classify/{model}/{plate}/{chunk}.parquet"}, "view"
    ),
    "attribute": RuleFiles(
        "attribute", "method and chunk", "attribute/{model}/{method}/{plate}/{chunk}",
        {"ledger": "attribute/{model}/{method}/{plate}/{chunk}.parquet"}, "view",
    ),
    "aggregate": RuleFiles(
        "aggregate", "model and plate", "aggregate/{model}/{plate}",
        {
            "shares": "aggregate/{model}/{plate}/shares.parquet",
            "groups": "aggregate/{model}/{plate}/groups.parquet",
            "profiles": "aggregate/{model}/{plate}/profiles.parquet",
            "mean_maps": "aggregate/{model}/{plate}/mean_maps.zarr.zip",
            "object_maps": "aggregate/{model}/{plate}/object_maps.zarr.zip",
            "plates": f"{MAPS}/zarr.json",
        },
    ),
    "evaluate": RuleFiles(
        "evaluate", "chunk", "evaluate/{model}/{plate}/{chunk}",
        {
            "table": "evaluate/{model}/{plate}/{chunk}.parquet",
            "curves": "evaluate/{model}/{plate}/{chunk}.curves.parquet",
        },
        "view",
    ),
    "compare": RuleFiles(
        "evaluate", "pair", "evaluate/{model}/{plate}/against_{other}",
        {"table": "evaluate/{model}/{plate}/against_{other}.parquet"},
    ),
    "interventions": RuleFiles(
        "evaluate", "model", "evaluate/{model}/interventions", {"table": "evaluate/{model}/interventions.parquet"}
    ),
    "report": RuleFiles(
        "report", "campaign", "report",
        {
            "page": "report/index.html",
            "summary": "report/report.json",
            "plates": "report/plates",
            "tables": "report/tables",
            "figures": "report/figures",
            "workflow": "workflow",
            "crate": "ro-crate-metadata.json",
        },
    ),
})  # fmt: skip
"""Rule -> its files, in the order of the work. Of these, status, cost, chunks and the list of jobs are made."""

REPORT_TABLES = (
    "accuracy", "confounding", "levels", "pairs", "regions", "channels", "organelles", "treatments", "doses", "trends",
    "positions", "interventions", "methods", "curves", "wells", "views", "failures",
)  # fmt: skip
"""The tables beside the report, each as CSV and as Parquet."""

CLASSIFIER_CHARTS = ("regions", "exchanges", "curves", "doses")
"""The charts of each classifier, each as SVG and as PNG: ``{model}.{chart}``."""

PLATE_CHARTS = ("call", "p", "lift", "fidelity", "status")
"""The charts of each classifier and plate, likewise: ``{model}.{plate}.{chart}``; its mean maps are one PNG beside them."""


def results_of(campaign: str) -> Path:
    """Return the folder of a campaign's results."""
    return RESULTS / campaign


def lock_of_run(root: Path) -> Path:
    """Return the hidden file that a run locks while it works on the results in `root`."""
    return root / ".lock"


def job_list_file(root: Path) -> Path:
    """Return where the list of the campaign's jobs lies, with what the campaign is made of."""
    return root / "campaign.json"


def plan_folder(root: Path) -> Path:
    """Return the folder of the plates' plans."""
    return root / "plan"


def plan_file(root: Path, plate: str) -> Path:
    """Return where the plan of a plate lies."""
    return plan_folder(root) / f"{plate}.json"


def table_of(root: Path, rule: str, **wildcards: str) -> Path:
    """Return the first output of a job of a rule."""
    return root / RULES[rule].table(**wildcards)


def converted_plate(root: Path, plate: str) -> Path:
    """Return the OME-Zarr plate that an export is converted into."""
    return table_of(root, "convert", plate=plate).with_name("plate.zarr")


def maps_of(root: Path, model: str, plate: str, method: str) -> Path:
    """Return the plate of maps of a source plate by a classifier and a method."""
    return root / MAPS.format(model=model, plate=plate, method=method)


def find_tables(root: Path, rule: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the first outputs of a rule's jobs that are there, sorted, each with its wildcards."""
    return _find(root, next(iter(RULES[rule].outputs.values())))


def find_benchmarks(root: Path, rule: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the benchmarks of a rule's jobs that are there, sorted, each with the job's wildcards."""
    return _find(root, benchmark_of(Path(), RULES[rule].place).as_posix())


def _find(root: Path, pattern: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the files below `root` that fit a pattern."""
    wanted = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(pattern)))
    for file in sorted(root.glob(re.sub(r"{\w+}", "*", pattern))):
        if (match := wanted.fullmatch(file.relative_to(root).as_posix())) is not None:
            yield file, match.groupdict()


def log_of(root: Path, place: str) -> Path:
    """Return the log of the job with this `place`."""
    return root / "logs" / f"{place}.log"


def benchmark_of(root: Path, place: str) -> Path:
    """Return the file into which Snakemake writes how long the job with this `place` took."""
    return root / "benchmarks" / f"{place}.tsv"


def jobs_per(over: Over, needs: Collection[str] = ()) -> int:
    """Return how many rules have one job per `over`, for plates or classifiers that need what `needs` names (see `RuleFiles.only`)."""
    return sum(rule.over == over and (not rule.only or rule.only in needs) for rule in RULES.values())
