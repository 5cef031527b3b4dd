"""How far a job is, for whoever looks; and how it ends when it is asked to."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from dataclasses import asdict, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from workflow_runs import hear_interrupts

from pcim.runtime import progress as module
from pcim.runtime.job_log import JobStopped, log_to
from pcim.runtime.progress import STOP_FILE, Progress, progress, progress_file, read_progress, telling

if TYPE_CHECKING:
    from pathlib import Path

KEYS = [
    "stage", "plate", "chunk", "method", "model", "total", "done", "failed", "started", "updated", "rate", "left_s",
    "device", "device_name", "host", "job", "state",
]  # fmt: skip


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    wildcards = {"plate": "p1", "chunk": "A01-B12", "model": "spots"}
    table = tmp_path / "classify/spots/p1/A01-B12.parquet"
    return SimpleNamespace(rule="classify", wildcards=wildcards, output=[str(table)])


def test_the_file_says_how_far_the_job_is_and_goes_when_the_table_is_written(job: Any) -> None:
    file = progress_file(job.output[0])
    assert file.name == ".A01-B12.progress.json"
    with telling(job):
        bar = progress(10, "classify p1", kept=2, device=("cpu", "a processor"))
        bar.update(3, 1)
        assert list(json.loads(file.read_text())) == KEYS == [each.name for each in fields(Progress)]
        known = read_progress(file)
        assert known is not None
        assert (known.total, known.done, known.failed, known.state) == (10, 5, 1, "running")
        assert (known.stage, known.plate, known.chunk, known.method, known.model) == (
            "classify",
            "p1",
            "A01-B12",
            "",
            "spots",
        )
        assert (known.device, known.device_name, known.job) == ("cpu", "a processor", f"pid {os.getpid()}")
        assert known.left_s == pytest.approx(4 / known.rate), "4 of 10 wait; what an earlier run did counts for no rate"
        assert known.started <= known.updated
        bar.close()
    assert not file.exists()
    assert list(file.parent.iterdir()) == []


def test_a_job_that_fails_says_so_and_leaves_its_file(job: Any) -> None:
    with pytest.raises(KeyError), telling(job):
        raise KeyError("plate")
    known = read_progress(progress_file(job.output[0]))
    assert known is not None
    assert (known.state, known.total, known.left_s) == ("failed", 0, None)


def test_a_full_disk_is_no_matter_of_progress(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "whole_file", full)
    with telling(job):
        meter = progress(1, "classify")
        meter.update()
    assert meter.done == 1
    assert not progress_file(job.output[0]).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stage": 1}', "\x00"])
def test_what_is_no_progress_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "any.json").write_text(content)
    assert read_progress(tmp_path / "any.json") is None
    assert read_progress(tmp_path / "none.json") is None


def test_a_value_of_another_type_is_no_progress(tmp_path: Path) -> None:
    whole = asdict(Progress("classify", "p", "A01-A02", "", "m"))
    for name, value in (("total", "3"), ("plate", 3), ("left_s", "soon"), ("started", None)):
        (tmp_path / "any.json").write_text(json.dumps(whole | {name: value}))
        assert read_progress(tmp_path / "any.json") is None, name
    (tmp_path / "any.json").write_text(json.dumps(whole))
    assert read_progress(tmp_path / "any.json") == Progress(**whole)


def test_a_job_stops_between_batches_once_the_file_is_there_and_never_at_its_end(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STOP_FILE, str(tmp_path / "stop"))
    with pytest.raises(JobStopped) as stopped, log_to(tmp_path / "job.log"), telling(job):
        bar = progress(9, "classify p1")
        bar.update(4)
        (tmp_path / "stop").touch()
        bar.update(4, 0)
    assert stopped.value.code == 75
    known = read_progress(progress_file(job.output[0]))
    assert known is not None
    assert (known.state, known.done) == ("stopped", 8)
    text = (tmp_path / "job.log").read_text()
    assert "WARNING stopped as PCIM_STOP_FILE asks: classify p1: 8 of 9 views are done, 0 failed" in text
    assert "Traceback" not in text
    progress(8, "classify p1").update(8)


def test_a_stopped_process_ends_with_its_code_and_no_traceback_and_slurm_hears_the_log(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    code = (
        "import sys; from pcim.runtime.job_log import log_to; from pcim.runtime.progress import progress\n"
        f"with log_to({str(tmp_path / 'job.log')!r}):\n    progress(2, 'classify').update()"
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    for slurm in ({}, {"SLURM_JOB_ID": "7"}):
        environment = own | slurm | {STOP_FILE: str(tmp_path / "stop"), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 75
        assert "Traceback" not in done.stderr
        assert ("stopped as PCIM_STOP_FILE asks" in done.stderr) == bool(slurm)
        assert "stopped as PCIM_STOP_FILE asks" in (tmp_path / "job.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_interrupted_ends_with_a_line_and_its_own_code(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    code = f"import os; from pcim.runtime.job_log import log_to\nwith log_to({str(log)!r}):\n    os.kill(os.getpid(), {int(number)})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False,
        preexec_fn=hear_interrupts,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (75, "")
    (line,) = log.read_text().splitlines()
    assert line.endswith(f"WARNING stopped by {number.name}; a rerun goes on from what is saved")


def test_in_a_file_or_a_pipe_progress_is_plain_lines_and_on_a_terminal_a_bar_that_moves(tmp_path: Path) -> None:
    code = (
        "from pcim.runtime import progress\n"
        "with progress.progress_bar(3, 'rescan', 'field') as bar:\n    bar.mininterval = 0\n    [bar.update() for _ in range(3)]"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    piped = subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, check=True).stderr
    assert piped.isascii()
    assert b"\r" not in piped
    assert b"\x1b" not in piped
    lines = piped.decode().split("\n")
    told = dict.fromkeys(line.partition("|")[0] for line in lines if line.strip())
    assert list(told) == [f"rescan: {share:3d}%" for share in (0, 33, 67, 100)]
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    subprocess.run([sys.executable, "-c", code], env=environment, stderr=end, check=True)
    os.set_blocking(terminal, False)
    assert os.read(terminal, 10_000).count(b"\rrescan") >= 3, "lines that overwrite each other"
