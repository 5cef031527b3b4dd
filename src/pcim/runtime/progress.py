"""How far a job is, in its log or on a terminal, and in a hidden file beside the table that it will write."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pcim.runtime.atomic_file import whole_file
from pcim.runtime.job_log import JobStopped, TeeStream, job_log

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_FILE = "PCIM_STOP_FILE"
"""The environment variable that names a file: once it is there, a job stops between two batches."""
EVERY_S = 5.0
"""The file is written at most so often."""


@dataclass(frozen=True)
class Progress:
    """How far a job is: `total` views, of which `done` have their result and `failed` a reason why not; the rest is waiting.

    Of interventions `plate`, `chunk` and `method` are empty, of other stages `method` alone. `started` and `updated` are seconds since
    1970, `rate` views a second in this process (0: not known yet), `left_s` seconds to go (None: not known). `job` is the SLURM job's
    number, or ``pid 123`` on `host`. A killed process leaves ``running`` behind: judge it by `updated`.
    """

    stage: str
    plate: str
    chunk: str
    method: str
    model: str
    total: int = 0
    done: int = 0
    failed: int = 0
    started: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    rate: float = 0.0
    left_s: float | None = None
    device: str = ""
    device_name: str = ""
    host: str = field(default_factory=socket.gethostname)
    job: str = field(default_factory=lambda: os.environ.get("SLURM_JOB_ID") or f"pid {os.getpid()}")
    state: Literal["running", "stopped", "failed"] = "running"


def progress_file(table: str | Path) -> Path:
    """Return where the progress of the job that makes a table lies: ``.{stem}.progress.json`` beside it."""
    file = Path(table)
    return file.parent / f".{file.stem}.progress.json"


def read_progress(path: str | Path) -> Progress | None:
    """Read a file of progress; None where there is none, or it is none."""
    try:
        content = json.loads(Path(path).read_bytes())
        known = {each.name: content[each.name] for each in fields(Progress)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    numbers = {"total": int, "done": int, "failed": int, "started": float, "updated": float, "rate": float}
    texts = known.keys() - numbers.keys() - {"left_s"}
    are_numbers = all(isinstance(known[name], (int, kind)) for name, kind in numbers.items())
    is_left_known = known["left_s"] is None or isinstance(known["left_s"], (int, float))
    if not (are_numbers and is_left_known and all(isinstance(known[name], str) for name in texts)):
        return None
    return Progress(**known)


class _Teller:
    """Writes the file of progress of one job."""

    def __init__(self, table: str, progress: Progress) -> None:
        self.path, self.progress, self._written = progress_file(table), progress, 0.0

    def tell(self, *, now: bool = False, **changes: Any) -> None:
        """Write the changed progress, at most every few seconds, or `now`. A disk that is full stops the job elsewhere."""
        self.progress = replace(self.progress, updated=time.time(), **changes)
        if now or time.monotonic() - self._written >= EVERY_S:
            self._written = time.monotonic()
            with contextlib.suppress(OSError), whole_file(self.path) as partial:
                partial.write_text(json.dumps(asdict(self.progress)), encoding="utf-8")


_telling: list[_Teller] = []


@contextlib.contextmanager
def telling(snakemake: Any) -> Iterator[None]:
    """Keep the file of progress of Snakemake's job, from now until its table is written; it stays when the job stops or fails."""
    plate, chunk, method, model = (str(snakemake.wildcards.get(n, "")) for n in ("plate", "chunk", "method", "model"))
    teller = _Teller(str(snakemake.output[0]), Progress(str(snakemake.rule), plate, chunk, method, model))
    teller.tell(now=True)
    _telling.append(teller)
    try:
        yield
    except BaseException as error:
        teller.tell(now=True, state="stopped" if isinstance(error, JobStopped) else "failed", left_s=None)
        raise
    else:
        teller.path.unlink(missing_ok=True)
    finally:
        _telling.remove(teller)


def progress_bar(total: int, what: str, unit: str, initial: int = 0) -> Any:
    """Return a bar, `tqdm`'s, that moves on a terminal; in a job's log, a file or a pipe it is a plain line now and then."""
    from tqdm import tqdm

    moves = job_log() is None and sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        file=sys.stderr if moves else job_log() or TeeStream([sys.stderr]),
        mininterval=0.5 if moves else 30,
        ascii=not moves,
    )


class Meter:
    """Counts the views of a job: a bar that moves on a terminal, now and then a line in a job's log, and its file of progress."""

    def __init__(self, total: int, what: str, unit: str, before: tuple[int, int], device: tuple[str, str]) -> None:
        self.total, self.what, self.unit, self.device = total, what, unit, device
        self.done, self.failed = before
        self._before, self._began = sum(before), time.monotonic()
        self._bar = progress_bar(total, what, unit, self._before)
        self._tell(now=True)

    @property
    def rate(self) -> float:
        """Views a second in this process."""
        return (self.done + self.failed - self._before) / max(time.monotonic() - self._began, 1e-9)

    def update(self, done: int = 1, failed: int = 0) -> None:
        """Count views that are finished and saved, and some that failed. Called between two batches.

        Raises
        ------
        Stopped
            When the job was asked to stop (`STOP_FILE`) and there is more to do.
        """
        self.done, self.failed = self.done + done, self.failed + failed
        self._bar.update(done + failed)
        self._tell()
        asked = os.environ.get(STOP_FILE)
        if asked and self.done + self.failed < self.total and Path(asked).exists():
            self._bar.close()
            told = f"{self.done} of {self.total} {self.unit}s are done, {self.failed} failed"
            raise JobStopped(f"stopped as {STOP_FILE} asks: {self.what}: {told}; a rerun goes on from there")

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
        self._tell(now=True)

    def _tell(self, *, now: bool = False) -> None:
        if _telling:
            rate, left = self.rate, self.total - self.done - self.failed
            device, device_name = self.device
            _telling[-1].tell(
                now=now, total=self.total, done=self.done, failed=self.failed, rate=rate, device=device,
                left_s=left / rate if rate else None, device_name=device_name,
            )  # fmt: skip


def progress(  # noqa: PLR0913 - a call with defaults
    total: int,
    what: str,
    unit: str = "view",
    *,
    kept: int = 0,
    failed: int = 0,
    device: tuple[str, str] = ("", ""),
) -> Meter:
    """Return a meter of `total` views: `kept` are finished since an earlier run or are skipped, `failed` cannot be tried.

    `device` is the type and the name of what computes.
    """
    return Meter(total, what, unit, (kept, failed), device)
