"""The runner of long runs finds what it is to find, keeps it where it was told to, and leaves nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import os, sys, time
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/helpers"]
from fuzz import run, targets

def broken(data):
    if data == b"crash":
        os.kill(os.getpid(), 11)
    if data == b"much":
        bytearray(5 * 2**30)
    if data == b"word":
        raise KeyError("word")
    if data != b"good":
        raise ValueError("refused")

run.TARGETS["broken"] = targets.Target(broken, [sys.argv[2].encode()], (ValueError,))
sys.argv = ["run", "broken", "--runs", "3", "--seconds", "60", "--found", sys.argv[3]]
run.main()
"""


@pytest.mark.parametrize(
    ("seed", "found"),
    [("crash", "crash: ended with 77"), ("much", "MemoryError: ''"), ("word", "KeyError: \"'word'\""), ("good", None)],
)
def test_a_long_run_keeps_what_breaks_a_reader_in_its_folder_alone(tmp_path: Path, seed: str, found: str | None) -> None:
    pytest.importorskip("atheris", reason="long runs need atheris")
    here, temporary, kept = tmp_path / "here", tmp_path / "tmp", tmp_path / "found"
    here.mkdir()
    temporary.mkdir()
    words = [sys.executable, "-c", _RUN, str(Path(__file__).parents[1]), seed, str(kept)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, timeout=300, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == (found is not None), done.stderr[-2000:]
    assert told["executions"] == 3
    assert set(told["findings"]) == ({found} if found else set())
    assert not list(here.iterdir())
    assert not list(temporary.iterdir())
    if found:
        assert seed.encode() in {file.read_bytes() for file in kept.iterdir()}
    else:
        assert not kept.exists()
