"""Text that the commands print for people: status, scans, reproductions, checks."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from pcim.campaign.layout import log_of, results_of
from pcim.operations.job_states import STATES, JobReport
from pcim.operations.status import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console

    from pcim.campaign.job_list import PlannedJob
    from pcim.operations.doctor.machine import Check
    from pcim.operations.job_states import Bad
    from pcim.operations.reproduce import Reproduction
    from pcim.operations.rescan import PlateScan
    from pcim.operations.status import Status

_STATES = ("different", "unknown", "close")
_LISTED = 20
"""So many jobs and reasons are listed; `--json` has all."""
_COLUMNS = ("stage", "classifier", "method", "of", "done", "failed", "unfit", "waiting", "per s", "left", "jobs")
_NOTHING = {name: {"0"} for name in ("failed", "unfit")}
"""The columns of a table of stages, and what is nothing to tell: a column without more in any row is not shown."""
_EXAMPLES, _LONGEST = 5, 300
"""So many fields or views of a reason are listed, with so many characters of what each says."""


def duration(seconds: float | None) -> str:
    """Print a time that is left, ``3 h 20 min``; a dash where it is not known."""
    if seconds is None:
        return "\N{EN DASH}"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def show_status(console: Console, status: Status, *, all_plates: bool) -> None:
    """Print how far a campaign is: all plates together, the plates that are not complete, what is at work, what failed."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.asked))
    work = "complete" if status.is_complete else "a run is at work" if status.is_working else "no run is at work"
    console.print(f"Campaign {status.campaign}, {at}: {work}")
    console.print(_stages("All plates", _together(status.rows)))
    _show_plates(console, status.rows, all_plates=all_plates)
    if status.running:
        _show_running(console, status.running)
    _show_reasons(console, status)
    if status.troubles:
        count = len(status.troubles)
        console.print(f"{_count(count, 'job')} failed or stopped:", style="bold")
        for one in status.troubles[:_LISTED]:
            job = one.job
            console.print(f"  {_job_name(one)} {one.state}: {one.why}", soft_wrap=True)
            console.print(f"    log: {log_of(results_of(status.campaign), job.place)}", soft_wrap=True)
        _show_rest(console, status.troubles)
    if not status.is_complete:
        _show_end(console, status)
    if status.rerun:
        console.print("What failed is tried again by:", style="bold")
        console.print(f"  {status.rerun}", soft_wrap=True)
    if status.rescan:
        console.print(
            "Fields that could not be read are taken up, once mended, by this and the next run:",
            style="bold",
            soft_wrap=True,
        )
        console.print(f"  {status.rescan}", soft_wrap=True)


def _show_end(console: Console, status: Status) -> None:
    jobs = max(1, len(status.running))
    told = f"To come: {duration(status.left_s)} with {jobs} job{'s' * (jobs > 1)} at work"
    if status.left_s is not None:
        told += f", until {time.strftime('%Y-%m-%d %H:%M', time.localtime(status.asked + status.left_s))}"
    if status.unmeasured:
        told += f"; not counted, as none has ended yet: {', '.join(status.unmeasured)}"
    console.print(told, soft_wrap=True)


def _show_plates(console: Console, rows: Sequence[Row], *, all_plates: bool) -> None:
    plates: dict[str, list[Row]] = {}
    for row in rows:
        if row.plate:
            plates.setdefault(row.plate, []).append(row)
    open_ones = {plate: of for plate, of in plates.items() if all_plates or not all(row.is_complete for row in of)}
    for plate, of in open_ones.items():
        console.print(_stages(f"Plate {plate}", of))
    if len(plates) > len(open_ones):
        console.print(f"{len(plates) - len(open_ones)} of {len(plates)} plates are complete (--all shows them).")


def _together(rows: Iterable[Row]) -> list[Row]:
    """Sum up the rows of all plates by stage, classifier and method."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.stage, row.model, row.method), []).append(row)
    return [_sum(of) for of in groups.values()]


def _sum(rows: Sequence[Row]) -> Row:
    first = rows[0]
    total, done, failed, unfit, waiting = (
        sum(getattr(row, name) for row in rows) for name in ("total", "done", "failed", "unfit", "waiting")
    )
    rate = sum(row.rate for row in rows)
    left_s = 0.0 if not waiting else waiting / rate if rate else None
    jobs = {state: sum(row.jobs[state] for row in rows) for state in STATES}
    about = ("", first.stage, first.model, first.method, first.unit)
    return Row(*about, total, done, failed, unfit, waiting, rate, left_s, jobs, {})


def _stages(title: str, rows: Iterable[Row]) -> Table:
    rows = list(rows)
    cells = [_cells(row) for row in rows]
    table = _table(title)
    shown = [name for name in _COLUMNS if any(one[name] not in _NOTHING.get(name, {""}) for one in cells)]
    for name in shown:
        folds = name in {"classifier", "method", "jobs"}
        table.add_column(name, justify="left" if folds or name == "stage" else "right", overflow="fold", no_wrap=not folds)
    for row, one in zip(rows, cells, strict=True):
        table.add_row(*(Text(one[name]) for name in shown), style="red" if row.failed or row.jobs["failed"] else None)
    return table


def _cells(row: Row) -> dict[str, str]:
    """Return what is told of a row by column."""
    counts = {name: f"{getattr(row, name):,}" for name in ("done", "failed", "unfit", "waiting")}
    jobs = ", ".join(f"{row.jobs[state]:,} {state}" for state in STATES if row.jobs[state])
    rate, left = (f"{row.rate:.2f}", duration(row.left_s)) if row.rate else ("", "")
    return {"stage": row.stage, "classifier": row.model, "method": row.method, "of": _count(row.total, row.unit), **counts,
            "per s": rate, "left": left, "jobs": jobs}  # fmt: skip


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _job_name(found: JobReport) -> str:
    job = found.job
    return " ".join(filter(None, (job.rule, job.model, job.method, job.plate, job.chunk)))


def _show_running(console: Console, running: Sequence[JobReport]) -> None:
    table = _table("At work", "job", "done")
    for name in ("per s", "left", "on", "as", ""):
        table.add_column(name, overflow="fold")
    for one in running[:_LISTED]:
        known = one.progress
        done = f"{known.done + known.failed:,} of {known.total:,}" if known and known.total else ""
        told = (f"{known.rate:.2f}", duration(known.left_s), f"{known.host} {known.device_name}", known.job) if known else ("",) * 4
        table.add_row(*map(Text, (_job_name(one), done, *told, one.why)))
    console.print(table)
    _show_rest(console, running)


def _show_rest(console: Console, listed: Sequence[Any]) -> None:
    if len(listed) > _LISTED:
        console.print(f"  and {len(listed) - _LISTED} more (--json lists them all)")


def _show_reasons(console: Console, status: Status) -> None:
    """Print what failed or is unfit, by reason, and of each reason the first fields or views with what they say themselves."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in status.rows:
        for reason, number in row.reasons.items():
            counted[row.stage, row.unit, reason] += number
    if not counted:
        return
    alike: dict[tuple[str, str, str], list[tuple[PlannedJob, Bad]]] = {}
    for job, bad in status.bad:
        alike.setdefault((job.rule, job.unit, bad.group), []).append((job, bad))
    console.print("Failed or unfit, and why:", style="bold")
    for (stage, unit, reason), number in counted.most_common(_LISTED):
        console.print(f"  {_count(number, unit)}, {stage}: {reason}", soft_wrap=True)
        members = alike.get((stage, unit, reason), [])
        for job, bad in members[:_EXAMPLES]:
            said = "" if bad.reason in {"", reason} else f": {bad.reason}"
            console.print(f"    {_place(job, bad)}{said[:_LONGEST]}", soft_wrap=True)
        if len(members) > _EXAMPLES:
            console.print(f"    and {len(members) - _EXAMPLES} more (--json lists them all)")
    _show_rest(console, list(counted))


def _place(job: PlannedJob, bad: Bad) -> str:
    of = " ".join(filter(None, (bad.plate or job.plate, bad.well, f"field {bad.field}", bad.view and f"view {bad.view}")))
    by = " ".join(filter(None, (job.model, job.method)))
    return f"{of} ({by})" if by else of


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'s' * (number != 1)}"


def show_scans(console: Console, scans: Sequence[PlateScan], taken: Sequence[Path], command: str) -> None:
    """Print which fields of the plates are not what was ingested, and what does them again."""
    for scan in scans:
        told = f"{len(scan.differences):,} of {scan.fields:,} fields changed" if scan.state == "changed" else scan.state
        console.print(f"{scan.plate}: {told}{': ' * bool(scan.why)}{scan.why}", soft_wrap=True)
        for one in scan.differences:
            console.print(f"  {one.path} (well {one.well}, field {one.field}) {one.kind}: {one.why}", soft_wrap=True)
    if any(scan.state == "changed" for scan in scans):
        before = "Done again by" if taken else "Nothing was changed; without --dry-run these are done again by"
        console.print(f"{before}: {command}", soft_wrap=True)


def show_reproduction(console: Console, found: Reproduction) -> None:
    """Print what was made again and is not equal, what changed since, and last what came of it."""
    unlike = [one for one in found.compared if one.state != "equal"]
    if unlike:
        table = _table("Not equal", "", "classifier", "method", "view", "layer")
        for name in ("largest difference", "Pearson", "why"):
            table.add_column(name, overflow="fold")
        worst = sorted(unlike, key=lambda one: (_STATES.index(one.state), one.pearson))
        for one in worst[:_LISTED]:
            view = f"{one.plate}/{one.well}/{one.field}/{one.view}"
            far = ["" if value != value else f"{value:.4g}" for value in (one.largest, one.pearson)]  # noqa: PLR0124 - NaN
            table.add_row(*map(Text, (one.state, one.model, one.method or one.kind, view, one.layer, *far, one.why)))
        console.print(table)
        _show_rest(console, unlike)
    if found.changes:
        console.print("Not as it was recorded:", style="bold")
        for change in found.changes:
            console.print(f"  {change.what}: {change.recorded}, now {change.now}", soft_wrap=True)
    counts = Counter((one.kind, one.state) for one in found.compared)
    told = ", ".join(f"{number:,} {kind}{'s' * (number != 1)} {state}" for (kind, state), number in sorted(counts.items()))
    words = {
        "equal": "equal, byte for byte",
        "close": "within the tolerance",
        "different": "different",
        "unknown": "cannot be told",
    }
    console.print(f"Campaign {found.campaign}: {words[found.state]}: {told}", soft_wrap=True)


def show_check(console: Console, check: Check) -> None:
    """Print a check of the doctor's: how it is, what was found, what to do."""
    style = {"ok": "green", "skipped": "dim", "warning": "yellow", "failed": "bold red"}[check.state]
    cure = f" -> {check.cure}" if check.cure else ""
    console.print(Text.assemble((f"{check.state:8}", style), f"{check.name}: {check.found}{cure}"), soft_wrap=True)
