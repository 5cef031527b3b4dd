"""A job that dies at any moment leaves every field and table whole or absent, and its rerun makes the same bytes."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from chunk_jobs import METHODS, Chunk, files_of

if TYPE_CHECKING:
    from collections.abc import Callable

KILLS = 100
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.scandir"}


def in_a_child(work: Callable[[], None], *, die_at: int = 0, die_after_s: float = 0.0) -> tuple[bool, int]:
    """Run work in a forked process that may kill itself at its n-th touch of the file system, or after a time.

    Return whether it came to its end, and how often it touched the file system.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        touched = 0

        def hook(event: str, arguments: Any) -> None:
            nonlocal touched
            if event in CHANGES:
                touched += 1
                if touched == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)  # for good: that is why it is a process of its own
        if die_after_s:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, die_after_s)
        code = 1
        try:
            work()
            os.write(writer, str(touched).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    said = os.read(reader, 20)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the job failed instead of dying"
    return not os.WIFSIGNALED(status), int(said or b"0")


def is_whole_or_absent(chunk: Chunk, undisturbed: Chunk) -> None:
    for method in METHODS:
        there = files_of(undisturbed.maps(method))
        for field in chunk.maps(method).glob("[A-Z]/*/*"):
            name = str(field.relative_to(chunk.maps(method)))
            wanted = {place: content for place, content in there.items() if place.startswith(name + "/")}
            found = {f"{name}/{place}": content for place, content in files_of(field).items()}
            assert found == wanted, f"{method} {name} is there and not whole"
    for table in ("calls", *METHODS, "scores", "curves"):
        if chunk.table(table).exists():
            pd.testing.assert_frame_equal(chunk.read(table), undisturbed.read(table), check_exact=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Chunk:
    chunk = Chunk.make(tmp_path_factory.mktemp("undisturbed"))
    chunk.run()  # and warms what a forked job needs
    return chunk


def test_a_job_killed_at_a_hundred_random_moments_ends_with_the_same_bytes(undisturbed: Chunk, tmp_path: Path) -> None:
    lot = random.Random(0)
    chunk = Chunk(undisturbed.inputs, tmp_path / "0")
    began = time.monotonic()
    _, touches = in_a_child(chunk.run)
    lasts_s = time.monotonic() - began
    is_whole_or_absent(chunk, undisturbed)
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        chunk = Chunk(undisturbed.inputs, tmp_path / str(rounds))
        ended = False
        while not ended and kills < KILLS:
            if kills % 2:
                ended, _ = in_a_child(chunk.run, die_at=lot.randint(1, touches // 2))
            else:
                ended, _ = in_a_child(chunk.run, die_after_s=lot.uniform(0.01, lasts_s / 2))
            kills += not ended
            is_whole_or_absent(chunk, undisturbed)
        assert in_a_child(chunk.run)[0]
        for table in ("calls", *METHODS, "scores", "curves"):
            pd.testing.assert_frame_equal(chunk.read(table), undisturbed.read(table), check_exact=True)
        for method in METHODS:
            assert files_of(chunk.maps(method)) == files_of(undisturbed.maps(method))
        left = [path.name for path in chunk.results.rglob(".*") if not path.name.endswith((".kept", ".journal.jsonl"))]
        assert not left, "debris"
    assert rounds > 1
