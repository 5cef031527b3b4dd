"""Locks of the kernel: one writer per table, one run per campaign."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    """Tell whether a process, on any machine, holds a lock: of a job at work (`sole_writer`), of a run (`hold_results`)."""
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


def hold_results(lock: Path) -> None:
    """Hold a campaign's results for this process, until it ends: two Snakemake runs must not work on one campaign.

    `lock` is a hidden file in the folder of the results. Snakemake's own lock outlives a killed process and wants unlocking by hand;
    this one is the kernel's.

    Raises
    ------
    RuntimeError
        When another process holds it; names host and process.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = lock.open("a+")
    for wait_s in (0.05, 0.05, None):  # `is_held` takes the lock for a moment
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
            raise RuntimeError(f"{lock.parent} is being worked on by {owner}; wait for it or end it first") from None
    handle.truncate(0)
    handle.write(f"process {os.getpid()} on {socket.gethostname()}")
    handle.flush()
    _held.append(handle)  # open as long as the process lives
