"""Run Snakemake in this process (``python -m pcim.cli.run_snakemake WORDS``); Ctrl-C ends it with one sentence."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTERRUPTED = 128 + signal.SIGINT
"""The exit code of a run that Ctrl-C stopped."""

_DEAF = "set -euo pipefail; trap '' INT; "
"""What a job's shell begins with: Ctrl-C in a terminal reaches every process, and those that are starting would tell it by a traceback."""


def run(words: Sequence[str]) -> int:
    """Run Snakemake by the words after ``snakemake``, and return its exit code, or `INTERRUPTED`."""
    asked_to_stop: list[int] = []

    def stop(number: int, _: object) -> NoReturn:
        asked_to_stop.append(number)
        _end_jobs()
        raise KeyboardInterrupt

    try:
        code = _snakemake(words, stop)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if not asked_to_stop and code != INTERRUPTED:
        return code
    sys.stderr.write("pcim: stopped; the same command goes on from there\n")
    return INTERRUPTED


def _snakemake(words: Sequence[str], stop: Callable[[int, object], NoReturn]) -> int:
    from snakemake.cli import main
    from snakemake.shell import shell

    shell.prefix(_DEAF)
    signal.signal(signal.SIGINT, stop)
    try:
        main(list(words))
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end_jobs() -> None:
    """Ask every job on this machine to end, and let none begin. Snakemake cancels those of a cluster itself."""
    from snakemake.logging import logger
    from snakemake.shell import shell

    # Snakemake's words for it are those for jobs that failed; that jobs of a cluster could not be cancelled is a warning.
    logger.addFilter(lambda record: record.levelno == logging.WARNING)
    shell.prefix("exit 75; ")
    started = psutil.Process().children(recursive=True)
    parents = {process.ppid() for process in started}
    for process in started:
        if process.pid not in parents:  # a shell waits for its job
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()


if __name__ == "__main__":
    ended = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    if ended == INTERRUPTED:
        os._exit(ended)  # Python would end by the signal where it came while a Snakefile was read
    sys.exit(ended)
