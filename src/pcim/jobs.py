"""What every job does around its one call: one log, one lock, files that are whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from pcim.process import importing
from pcim.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from pcim.models import Classifier

log = logging.getLogger("pcim")
SYNC_EVERY_S = 1.0
"""A journal is synced to disk at most so often: on a parallel file system that takes as long as a batch on a GPU."""
_job_log: list[Told] = []


class Stopped(SystemExit):
    """A job that was asked to stop has stopped between two batches, with all that is finished saved.

    It ends the process with exit code 75 ("try again later") and no traceback; `how_far` says in words how far it came.
    """

    def __init__(self, how_far: str) -> None:
        super().__init__(75)
        self.how_far = how_far

    def __str__(self) -> str:
        return self.how_far


@dataclass(frozen=True)
class ChunkJob:
    """What every job on a chunk is told: the source plate, its wells, the classifier, and what it may use."""

    store: Source
    wells: Sequence[str]
    model: Path
    trusted_packages: Sequence[str]
    accept: Sequence[str]
    max_failed: float
    gpus: int
    workers: int
    revision: int
    intensities: Sequence[str] = ()
    objects: Sequence[str] = ()

    @classmethod
    def of(cls, snakemake: Any) -> ChunkJob:
        """Read it from a rule with input `model`, params `chunk` and `revision`, and resource `gpu`."""
        told = dict(snakemake.params.chunk)
        return cls(
            store=Source.of(told.pop("store")),
            model=Path(snakemake.input.model),
            gpus=gpus_of(snakemake.resources),
            workers=int(snakemake.threads),
            revision=int(snakemake.params.revision),
            intensities=list(snakemake.input.intensities),
            objects=list(snakemake.input.get("objects", [])),
            **told,
        )

    def load_classifier(self) -> Classifier:
        """Load the job's classifier onto its device, and torch with it: what can be read before is read meanwhile."""
        with importing():
            from pcim.models import load_classifier, pick_device

        return load_classifier(self.model, self.trusted_packages, pick_device(self.gpus))


def gpus_of(resources: Any) -> int:
    """Return how many GPUs a job was given, asked for as ``gpu: 1`` or, where a site wants that, as ``gres: "gpu:1"``."""
    return int(resources.get("gpu", 0)) or int("gpu" in str(resources.get("gres", "")))


class Told:
    """Several text streams as one; what would overwrite a line on a terminal is a line of its own."""

    def __init__(self, streams: Sequence[TextIO]) -> None:
        self._streams = streams

    def write(self, text: str) -> None:
        """Write to all of them."""
        for stream in self._streams:
            stream.write(text.replace("\r", "\n"))

    def flush(self) -> None:
        """Flush all of them."""
        for stream in self._streams:
            stream.flush()


def job_log() -> Told | None:
    """Return where the job that is running writes its log, if one is."""
    return _job_log[-1] if _job_log else None


@contextlib.contextmanager
def log_to(path: str | Path) -> Iterator[None]:
    """Send what a job says, and its progress, to its log file; an exception ends in the log with its traceback.

    Jobs that run side by side share one terminal, which belongs to Snakemake's own progress. Under SLURM a job has a stderr
    of its own, which is told the same.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        told = Told([stream, sys.stderr] if "SLURM_JOB_ID" in os.environ else [stream])
        handler = logging.StreamHandler(told)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        loggers = (log, logging.getLogger("py.warnings"))
        for logger in loggers:
            logger.addHandler(handler)
        log.setLevel(logging.INFO)
        logging.captureWarnings(True)
        _job_log.append(told)
        try:
            yield
        except Stopped as stop:
            log.warning("%s", stop)
            raise
        except Exception:
            log.exception("failed")
            raise
        finally:
            _job_log.remove(told)
            logging.captureWarnings(False)
            for logger in loggers:
                logger.removeHandler(handler)


@contextlib.contextmanager
def sole_writer(path: str | Path) -> Iterator[None]:
    """Wait until no other process holds `path`'s lock, then hold it: an orphan of a killed run finishes first.

    The lock is the kernel's (flock) on a hidden file beside `path`: it ends with the process, however that ends.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(file).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_held(lock: Path) -> bool:
    """Tell whether a process, on any machine, holds a lock: of a job at work (`sole_writer`), of a run (`hold_campaign`)."""
    try:
        with lock.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def lock_file(path: Path) -> Path:
    """Return the hidden file that a table's `sole_writer` locks."""
    return path.parent / f".{path.name}.lock"


_held: list[Any] = []


def hold_campaign(campaign: str) -> None:
    """Hold a campaign's results for this process, until it ends: two Snakemake runs must not work on one campaign.

    Snakemake's own lock outlives a killed process and wants unlocking by hand; this one is the kernel's.

    Raises
    ------
    RuntimeError
        When another process holds it; names host and process.
    """
    file = Path("results") / campaign / ".lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = file.open("a+")
    for wait_s in (0.05, 0.05, None):  # who only asks for the lock (`is_held`) has it for a moment
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if wait_s is not None:
                time.sleep(wait_s)
                continue
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            raise RuntimeError(
                f"results/{campaign} is being worked on by {owner}; wait for it or end it first"
            ) from None
    handle.truncate(0)
    handle.write(f"process {os.getpid()} on {socket.gethostname()}")
    handle.flush()
    _held.append(handle)  # open as long as the process lives


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a hidden name to write to, and move it to `path` in one step at the end: no reader sees half a file."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.parent / f".{file.name}.partial"
    partial.unlink(missing_ok=True)
    try:
        yield partial
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a Parquet table, whole or not at all."""
    with whole_file(path) as partial:
        table.to_parquet(partial, index=False)


def read_tables(paths: Sequence[str], *, job: bool = False, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read tables of one kind into one; those without rows have no types to add and are left out, unless all are empty.

    With `job`, a column of that name says which file a row comes from. Of no paths the table is empty, with `columns`.
    """
    import pandas as pd

    tables = [pd.read_parquet(path) for path in paths]
    if job:
        tables = [table.assign(job=str(path)) for table, path in zip(tables, paths, strict=True)]
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows, each as column -> value."""
    return cast("list[dict[str, Any]]", table.to_dict("records"))


class Journal:
    """The finished views of a job that may be killed: a line a view, appended when the view is done and what belongs to it stored.

    Snakemake deletes a job's declared outputs before it runs again; the journal is not declared and stays.
    """

    def __init__(self, ledger: str | Path) -> None:
        file = Path(ledger)
        self.path = file.parent / f".{file.stem}.journal.jsonl"
        self._synced = 0.0

    def rows(self) -> list[dict[str, Any]]:
        """Return the recorded rows, oldest first; a last line that was cut off by a kill is left out."""
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                log.warning("%s: a line that was cut off is left out", self.path)
        return rows

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Record rows: when this returns, a kill of the process loses none, and one of the node those of the last second."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        with self.path.open("ab+") as handle:
            end = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, end - 1))
            torn = end > 0 and handle.read(1) != b"\n"
            handle.write(b"\n" * torn + text.encode())
            handle.flush()
            if time.monotonic() - self._synced >= SYNC_EVERY_S:
                os.fsync(handle.fileno())
                self._synced = time.monotonic()
