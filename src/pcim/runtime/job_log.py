"""The log of a job, and the signals that end the job."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from pcim.core.safe_read import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


log = logging.getLogger("pcim")
_job_log: list[TeeStream] = []
_LOGGED = 20


class JobStopped(SystemExit):
    """A job that was asked to stop, by a file or a signal, has stopped, with all that is finished saved.

    It ends the process with exit code 75 ("try again later") and no traceback; `how_far` says in words how far it came.
    """

    def __init__(self, how_far: str) -> None:
        super().__init__(75)
        self.how_far = how_far

    def __str__(self) -> str:
        return self.how_far


class TeeStream:
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


def job_log() -> TeeStream | None:
    """Return where the job that is running writes its log, if one is."""
    return _job_log[-1] if _job_log else None


class _Printable(logging.Formatter):
    """Writes no secret of an address and nothing that would steer a terminal, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _stop(number: int, _: object) -> NoReturn:
    raise JobStopped(f"stopped by {signal.Signals(number).name}; a rerun goes on from what is saved")


@contextlib.contextmanager
def _heeding_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the job by `JobStopped`, where they are not ignored."""
    heeded = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
    before = [(each, signal.signal(each, _stop)) for each in heeded]
    try:
        yield
    finally:
        for each, handler in before:
            signal.signal(each, handler)


@contextlib.contextmanager
def log_to(path: str | Path) -> Iterator[None]:
    """Send what a job says, and its progress, to its log file; an exception ends in the log with its traceback, a signal with a line.

    Jobs that run side by side share one terminal, which belongs to Snakemake's own progress. Under SLURM a job has a stderr
    of its own, which is told the same.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        told = TeeStream([stream, sys.stderr] if "SLURM_JOB_ID" in os.environ else [stream])
        handler = logging.StreamHandler(told)
        handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
        loggers = (log, logging.getLogger("py.warnings"))
        for logger in loggers:
            logger.addHandler(handler)
        log.setLevel(logging.INFO)
        logging.captureWarnings(True)
        _job_log.append(told)
        try:
            with _heeding_signals():
                yield
        except JobStopped as stop:
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


def log_some(plate: str, lines: Sequence[str], table: str) -> None:
    """Write the first lines of many into the log; `table` holds them all."""
    for line in lines[:_LOGGED]:
        log.info("%s: %s", plate, line)
    if len(lines) > _LOGGED:
        log.info("%s: and %d more: %s", plate, len(lines) - _LOGGED, table)
