"""How far a campaign is, what failed and why, and when it will end. Nothing is started or changed."""

from __future__ import annotations

import csv
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from pcim.campaign import layout
from pcim.campaign.job_list import PlannedJob, read_job_list, rerun_command, rescan_command
from pcim.operations.job_states import STATES, UNREAD, Bad, JobReport, JobState, look
from pcim.runtime.locks import is_held

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FORM = 1

JobKind: TypeAlias = tuple[str, str, str]
"""A job's rule, classifier and method: what takes about the same time on every plate."""

_SAMPLES = 8
"""So many finished jobs of a kind are asked how long they took."""

_THREADS = 8


@dataclass(frozen=True)
class Row:
    """All jobs of one plate, stage, classifier and method together. `rate` is in units/s, of the jobs at work; `left_s` at that rate."""

    plate: str
    stage: str
    model: str
    method: str
    unit: str
    total: int
    done: int
    failed: int
    unfit: int
    waiting: int
    rate: float
    left_s: float | None
    jobs: dict[JobState, int]
    reasons: dict[str, int]

    @property
    def is_complete(self) -> bool:
        """Whether every job has its table."""
        return sum(self.jobs.values()) == self.jobs["done"]


@dataclass(frozen=True)
class Status:
    """How far a campaign is. `left_s` is None where some kind of job was never measured: `unmeasured` names them."""

    campaign: str
    asked: float
    is_working: bool
    rows: list[Row]
    troubles: list[JobReport]
    running: list[JobReport]
    bad: list[tuple[PlannedJob, Bad]]
    left_s: float | None
    unmeasured: list[str]
    rerun: str
    rescan: str

    @property
    def is_complete(self) -> bool:
        """Whether every job has its table."""
        return all(row.is_complete for row in self.rows)


def campaign_status(root: Path, now: float | None = None) -> Status:
    """Return how far the campaign with results in `root` is.

    Raises
    ------
    ValueError
        When the campaign's list of jobs cannot be read.
    """
    job_list, now = read_job_list(root), time.time() if now is None else now
    with ThreadPoolExecutor(_THREADS) as pool:  # the time goes into opening files on a slow file system
        found = list(pool.map(lambda job: look(root, job, job_list.accept, now), job_list.jobs()))
    speeds = _seconds_a_unit(root, found)
    running = [one for one in found if one.state == "running"]
    left_s, unmeasured = _time_left(found, speeds)
    broken = [one for one in found if one.state == "failed" and (root / one.job.table).exists()]
    again = [one for one in found if one.state == "done" and one.failed and one.job.unit == "view"]
    tables = [str(layout.results_of(job_list.campaign) / one.job.table) for one in (*again, *broken)]
    is_missing = any(one.state in {"failed", "stopped"} for one in found)
    return Status(
        job_list.campaign,
        now,
        is_held(layout.lock_of_run(root)),
        rows_by_plate(found),
        [one for one in found if one.state in {"failed", "stopped"}],
        running,
        [(one.job, bad) for one in found for bad in one.bad],
        left_s,
        unmeasured,
        rerun_command(job_list.command, tables) if tables or is_missing else "",
        rescan_command(
            job_list.command,
            [one.job.plate for one in found if one.job.rule == "ingest" and UNREAD & one.reasons.keys()],
        ),
    )


def _kind(job: PlannedJob) -> JobKind:
    return job.rule, job.model, job.method


def rows_by_plate(found: Iterable[JobReport]) -> list[Row]:
    """Sum up jobs by plate, stage, classifier and method; plates in their own order, what is of no one plate last."""
    groups: dict[tuple[str, JobKind], list[JobReport]] = {}
    for one in found:
        groups.setdefault((one.job.plate, _kind(one.job)), []).append(one)
    rules = list(layout.RULES)
    plates = {plate: number for number, plate in enumerate(dict.fromkeys(plate for plate, _ in groups))}
    ordered = sorted(groups, key=lambda key: (key[0] == "", plates[key[0]], rules.index(key[1][0])))
    return [_row(groups[key]) for key in ordered]


def _row(members: Sequence[JobReport]) -> Row:
    job = members[0].job
    at_work = [one.progress for one in members if one.progress and one.state == "running" and job.unit != "job"]
    rate = sum(progress.rate for progress in at_work)
    waiting = sum(one.waiting for one in members)
    states = Counter(one.state for one in members)
    reasons = sum((one.reasons for one in members), Counter[str]())
    return Row(
        plate=job.plate,
        stage=job.rule,
        model=job.model,
        method=job.method,
        unit=job.unit,
        total=sum(one.total for one in members),
        done=sum(one.done for one in members),
        failed=sum(one.failed for one in members),
        unfit=sum(one.unfit for one in members),
        waiting=waiting,
        rate=rate,
        left_s=0.0 if not waiting else waiting / rate if rate else None,
        jobs={state: states[state] for state in STATES},
        reasons=dict(reasons.most_common()),
    )


def _seconds_a_unit(root: Path, found: Sequence[JobReport]) -> dict[JobKind, float]:
    """Return what a unit of each kind of job takes, s: of finished jobs, start-up included, else of those at work."""
    seconds: dict[JobKind, float] = {}
    kinds: dict[JobKind, list[JobReport]] = {}
    for one in found:
        kinds.setdefault(_kind(one.job), []).append(one)
    for kind, members in kinds.items():
        ended = [one for one in members if one.state == "done" and one.total][-_SAMPLES:]
        spent = [(s, one.total) for one in ended if (s := _spent_s(layout.benchmark_of(root, one.job.place)))]
        told = [one.progress for one in members if one.progress and one.job.unit != "job"]
        rates = [progress.rate for progress in told if progress.rate > 0]
        if spent:
            seconds[kind] = sum(s for s, _ in spent) / sum(units for _, units in spent)
        elif rates:
            seconds[kind] = 1 / statistics.mean(rates)
    return seconds


def _spent_s(benchmark: Path) -> float | None:
    """Return how long a job took, s; None where its benchmark cannot be read."""
    try:
        with benchmark.open(newline="", encoding="utf-8") as handle:
            return sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _time_left(found: Sequence[JobReport], speeds: dict[JobKind, float]) -> tuple[float | None, list[str]]:
    """Return when the campaign will be done with as many jobs side by side as now, s, and the kinds of job never measured."""
    ahead = [one for one in found if one.state != "done"]
    unmeasured = list(dict.fromkeys(" ".join(filter(None, _kind(one.job))) for one in ahead if _kind(one.job) not in speeds))
    work_s = sum(one.waiting * speeds.get(_kind(one.job), 0.0) for one in ahead)
    side_by_side = max(1, sum(one.state == "running" for one in ahead))
    return (work_s / side_by_side if work_s or not ahead else None), unmeasured


def status_as_dict(status: Status) -> dict[str, Any]:
    """Return a status as JSON holds it (docs/formats.md)."""
    named = [field.name for field in fields(Row)]
    return {
        "form": FORM,
        "campaign": status.campaign,
        "asked": status.asked,
        "is_complete": status.is_complete,
        "is_working": status.is_working,
        "left_s": status.left_s,
        "unmeasured": status.unmeasured,
        "rerun": status.rerun,
        "rescan": status.rescan,
        "rows": [{name: getattr(row, name) for name in named} for row in status.rows],
        "troubles": [_plain_job(status.campaign, one) for one in status.troubles],
        "bad": [_plain_bad(status.campaign, job, bad) for job, bad in status.bad],
        "running": [_plain_job(status.campaign, one) for one in status.running],
    }


def _plain_bad(campaign: str, job: PlannedJob, bad: Bad) -> dict[str, Any]:
    return {
        "plate": bad.plate or job.plate, "stage": job.rule, "model": job.model, "method": job.method, "well": bad.well, "field": bad.field,
        "view": bad.view, "verdict": bad.group if job.rule == "ingest" else "failed", "reason": bad.reason,
        "log": str(layout.log_of(layout.results_of(campaign), job.place)),
    }  # fmt: skip


def _plain_job(campaign: str, found: JobReport) -> dict[str, Any]:
    job, known = found.job, found.progress
    return {
        "plate": job.plate, "stage": job.rule, "model": job.model, "method": job.method, "chunk": job.chunk,
        "table": str(layout.results_of(campaign) / job.table), "log": str(layout.log_of(layout.results_of(campaign), job.place)),
        "state": found.state, "why": found.why, "total": found.total, "done": found.done, "failed": found.failed,
        "rate": known.rate if known else None, "left_s": known.left_s if known else None,
        "device_name": known.device_name if known else "", "host": known.host if known else "", "job": known.job if known else "",
        "updated": known.updated if known else None,
    }  # fmt: skip
