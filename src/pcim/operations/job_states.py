"""The state of one job, seen from outside: from its table, else its progress, journal, lock and log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pcim.campaign.layout import log_of
from pcim.core.identity import well_name
from pcim.runtime.journal import Journal
from pcim.runtime.locks import is_held, lock_file
from pcim.runtime.progress import Progress, progress_file, read_progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pcim.campaign.job_list import PlannedJob

JobState = Literal["done", "running", "failed", "stopped", "waiting"]
STATES: tuple[JobState, ...] = ("done", "running", "failed", "stopped", "waiting")
"""`stopped`: a job that began, has no table and is not at work any more: killed, or out of time. The next run goes on with it."""

UNREAD = {"missing", "truncated", "nan"}
"""Verdicts on fields that stay out, whatever a campaign accepts, until their files are mended and the plate is read again."""

SILENT_S = 300.0
"""A job that has not been heard of for so long is dead, s, unless it holds its lock."""

_LONGEST_REASON = 200


@dataclass(frozen=True)
class Bad:
    """A field or a view that failed, or an unfit field: where it is, its verdict or reason as a group, and its own reason."""

    plate: str
    well: str
    field: str
    view: str
    group: str
    reason: str


@dataclass(frozen=True)
class JobReport:
    """What was found of one job.

    Its units (fields, views, or the job itself) are done, failed, unfit (skipped by the verdict of the field) or waiting.
    """

    job: PlannedJob
    state: JobState
    total: int
    done: int = 0
    failed: int = 0
    unfit: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    bad: tuple[Bad, ...] = ()
    why: str = ""
    progress: Progress | None = None

    @property
    def waiting(self) -> int:
        """Units of which nothing is known yet."""
        return max(0, self.total - self.done - self.failed - self.unfit)


def look(root: Path, job: PlannedJob, accept: Sequence[str], now: float) -> JobReport:
    """Return what is found of one job: whatever cannot be read is a reason, never an exception."""
    table = root / job.table
    if table.exists():
        try:
            return _read_table(table, job, accept)
        except Exception as error:  # noqa: BLE001 - pyarrow has many of its own for a broken file
            return JobReport(job, "failed", job.expected, why=f"the table cannot be read: {str(error).splitlines()[0]}")
    known = read_progress(progress_file(table))
    told = known if known and known.total and job.unit != "job" else None
    total, done, failed = (told.total, told.done, told.failed) if told else (job.expected, 0, 0)
    if known is None and job.rule == "attribute":
        done = len(_views_in_journal(table))
    state, why = _state_without_table(root, job, known, now)
    return JobReport(job, state, max(total, done + failed), done, failed, why=why, progress=known)


def _state_without_table(root: Path, job: PlannedJob, known: Progress | None, now: float) -> tuple[JobState, str]:
    """Return what became of a job that has no table, and why."""
    silent_s = _silence_s(progress_file(root / job.table), known, now) if known else 0.0
    if known and known.state == "running" and silent_s < SILENT_S:
        return "running", ""  # whether its lock is seen from here or not
    if is_held(lock_file(root / job.table)):
        return "running", f"not heard of for {silent_s / 60:.0f} min" if known and known.total else ""
    log = log_of(root, job.place)
    said = _end_of(log)
    if why := _last_error(said):
        return "failed", why
    if known:
        where = f"{known.job} on {known.host}"
        dead = f"dead: not heard of for {silent_s / 60:.0f} min ({where})"
        return (
            "failed" if known.state == "failed" else "stopped",
            dead if known.state == "running" else f"{known.state} ({where})",
        )
    if log.exists():
        silent = "ended without a word: killed, out of time or memory, or its node was lost"
        return "stopped", _how_it_stopped(said) or silent
    return "waiting", ""


def _silence_s(file: Path, known: Progress, now: float) -> float:
    """Return for how long a job has said nothing, s. A node's clock may be wrong, so the file's own time counts as well."""
    try:
        heard = max(known.updated, file.stat().st_mtime)
    except OSError:
        heard = known.updated
    return max(0.0, now - heard)


def _read_table(table: Path, job: PlannedJob, accept: Sequence[str]) -> JobReport:
    """Count what a finished table says; of tables without a state a unit, that it is there and whole."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if table.suffix != ".parquet":
        return JobReport(job, "done", 1, 1)
    file = pq.ParquetFile(table)  # reads the end of the file: a table that was cut off is found
    if job.rule == "ingest":
        verdicts = Counter(file.read(columns=["qc"])["qc"].to_pylist())
        unfit = Counter({verdict: n for verdict, n in verdicts.items() if verdict not in {"ok", *accept}})
        total = verdicts.total()
        bad = _bad(file, pc.is_in(file.read(columns=["qc"])["qc"], pa.array(list(unfit), pa.string())), "qc")
        return JobReport(job, "done", total, total - unfit.total(), unfit=unfit.total(), reasons=unfit, bad=bad)
    if job.rule == "evaluate" and "fingerprint" in file.schema_arrow.names:
        views = pc.count_distinct(file.read(columns=["fingerprint"])["fingerprint"]).as_py()
        return JobReport(job, "done", views, views)
    if job.rule not in {"classify", "attribute"}:
        return JobReport(job, "done", job.expected, job.expected)
    names = ["status", "reason", *(["scored"] if job.rule == "attribute" else [])]
    rows = file.read(columns=names)
    is_view = rows["scored"] if job.rule == "attribute" else pc.is_valid(rows["status"])
    bad = _bad(file, pc.and_(is_view, pc.equal(rows["status"], "failed")), "reason")
    rows = rows.filter(is_view)  # a row a view: a second target's maps are of the same views
    states: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for row in rows.group_by(["status", "reason"]).aggregate([([], "count_all")]).to_pylist():
        states[row["status"]] += row["count_all"]
        if row["status"] != "ok":
            reasons[_short(row["status"], row["reason"])] += row["count_all"]
    return JobReport(job, "done", states.total(), states["ok"], states["failed"], states["skipped"], reasons, bad)


def _bad(file: Any, chosen: Any, group: str) -> tuple[Bad, ...]:
    """Return the chosen rows of a table of fields or views; a column that it lacks is empty."""
    import pyarrow.compute as pc

    if not pc.any(chosen).as_py():
        return ()
    named = ("plate", "row", "column", "field", "view", "qc", "reason")
    rows = file.read(columns=[name for name in named if name in file.schema_arrow.names]).filter(chosen)
    found = [{name: str(value or "") for name, value in row.items()} for row in rows.to_pylist()]
    return tuple(
        Bad(
            row.get("plate", ""),
            well_name(row["row"], row["column"]) if row.get("row") and row.get("column") else "",
            row.get("field", ""),
            row.get("view", ""),
            row[group][:_LONGEST_REASON],
            row.get("reason", ""),
        )
        for row in found
    )


def _short(status: str, reason: str) -> str:
    """Return a reason that views have in common: of a verdict its name, without the field's own numbers."""
    return reason.partition(":")[0] if status == "skipped" else reason[:_LONGEST_REASON]


def _views_in_journal(ledger: Path) -> set[tuple[str, ...]]:
    """Return the views whose maps are stored, as the journal of a job without a ledger says."""
    try:
        rows = Journal(ledger).rows()
        return {tuple(row[name] for name in ("row", "column", "field", "view")) for row in rows if row["status"] == "ok"}
    except (OSError, KeyError, TypeError, ValueError):
        return set()


def _end_of(log: Path) -> str:
    """Return the end of a log; empty where there is none."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - 2**16))
            return handle.read().decode(errors="replace")
    except OSError:
        return ""


def _last_error(text: str) -> str:
    """Return how a job says that it failed, the last line of its log after a traceback; empty where it does not."""
    _, failed, trace = text.rpartition(" ERROR failed\n")
    told = [line for line in trace.splitlines() if line and not line.startswith(" ")]
    return told[-1][:_LONGEST_REASON] if failed and told else ""


def _how_it_stopped(text: str) -> str:
    """Return how a job says that it was stopped; empty where it does not."""
    _, stopped, how = text.rpartition(" WARNING stopped ")
    return f"stopped {how.splitlines()[0]}"[:_LONGEST_REASON] if stopped else ""
