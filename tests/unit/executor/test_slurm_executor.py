"""The executor's decisions, and its words with SLURM, against a queue that is made up. tests/cluster runs it on a real one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_pcim_slurm import Executor, job_name, slurm
from snakemake_executor_plugin_pcim_slurm.slurm import QueuedJob, RefusedError, UnreachableError
from snakemake_executor_plugin_pcim_slurm.task import CLUSTER, ENDED, Do, Task

NAME = "pcim-attribute-0123456789ab-cdef01234567"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What SLURM was asked; it takes every job as number 7."""
    asked: list[tuple[str, ...]] = []

    def run(*command: str, given: str = "") -> str:
        asked.append(command)
        return "7\n" if command[0] == "sbatch" else ""

    monkeypatch.setattr(slurm, "_run", run)
    return asked


def make(folder: Path, **known: Any) -> Task:
    return Task(NAME, folder, "true", [], [folder / "output"], 0, 60, 3, **known)


def decided(task: Task, *seen: QueuedJob, now: float = 0.0, name: str = NAME, **how: Any) -> Do:
    files = {path.name for path in task.folder.iterdir()}
    return task.decide({name: list(seen)}, files, now=now, **how)[0]


def ended(task: Task, word: str, owner: str = "7.0", said_by: str = "7.0") -> None:
    (task.folder / f"{NAME}.owner").write_text(f"{owner}\n")
    (task.folder / f"{NAME}.result").write_text(f"{word} {said_by} 0\n")


def test_a_job_that_is_not_in_the_queue_is_submitted_once(tmp_path: Path, commands: Any) -> None:
    task = make(tmp_path)
    assert decided(task) is Do.SUBMIT
    task.submit(0.0)
    assert task.job_id == "7"
    assert decided(task, QueuedJob("7", "PENDING")) is Do.WAIT
    assert decided(task, QueuedJob("7", "COMPLETING")) is Do.WAIT
    assert [command[0] for command in commands] == ["sbatch"]


def test_a_job_of_a_run_that_was_killed_is_adopted(tmp_path: Path, commands: Any) -> None:
    task = make(tmp_path)
    assert decided(task, QueuedJob("5", "RUNNING")) is Do.WAIT
    assert task.job_id == "5"
    ended(task, "ok", "5.0", "5.0")
    assert decided(task, QueuedJob("5", "COMPLETED")) is Do.SUCCEED
    assert commands == []


def test_a_job_that_ended_well_while_nobody_looked_is_not_run_again(tmp_path: Path, commands: Any) -> None:
    task = make(tmp_path)
    (tmp_path / "output").touch()
    ended(task, "ok")
    assert decided(make(tmp_path)) is Do.SUCCEED
    (tmp_path / "output").unlink()
    assert decided(task) is Do.SUBMIT, "its output is gone"


def test_a_job_that_ended_well_before_others_made_its_output_anew_is_run_again(tmp_path: Path, commands: Any) -> None:
    # Settings were changed, and changed back: what lies there is the other settings'.
    (tmp_path / "output").touch()
    ended(make(tmp_path), "ok")
    said = (tmp_path / f"{NAME}.result").stat().st_mtime
    os.utime(tmp_path / "output", (said + 1, said + 1))
    assert decided(make(tmp_path)) is Do.SUBMIT


def test_what_an_earlier_owner_says_does_not_count(tmp_path: Path, commands: Any) -> None:
    task = make(tmp_path, job_id="8")
    ended(task, "ok", owner="8.0", said_by="7.0")
    assert decided(task, QueuedJob("8", "RUNNING")) is Do.WAIT


@pytest.mark.parametrize("said", ["", "ok", "ok 7.0", "behind 7.0 n1;reboot", "behind 7.0 --exclusive=$(x)", "ok 7.0 0 0", "\0\0\0"])
def test_a_result_that_the_script_did_not_write_says_nothing(tmp_path: Path, commands: Any, said: str) -> None:
    task = make(tmp_path, job_id="7")
    ended(task, "ok")
    (tmp_path / f"{NAME}.result").write_text(said)
    assert decided(task, QueuedJob("7", "RUNNING")) is Do.WAIT
    assert not task.avoided


@pytest.mark.parametrize("part", ["", ".snakemake", ".snakemake/pcim-slurm"])
def test_a_folder_that_everyone_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.chdir(tmp_path)
    executor = Executor.__new__(Executor)
    executor.__post_init__()
    assert not executor.folder.stat().st_mode & 0o002
    (tmp_path / part).chmod(0o777)
    with pytest.raises(WorkflowError, match="everyone may write there"):
        executor.__post_init__()
    (tmp_path / part).chmod(0o1777)  # as /tmp is: each may take away their own alone
    executor.__post_init__()


def test_of_twins_the_oldest_goes_on(tmp_path: Path, commands: list[tuple[str, ...]]) -> None:
    task = make(tmp_path)
    assert decided(task, QueuedJob("12", "PENDING"), QueuedJob("9", "RUNNING")) is Do.WAIT
    assert task.job_id == "9"
    assert commands == [("scancel", "12")]


def test_a_job_that_makes_the_same_from_other_settings_is_cancelled_first(tmp_path: Path, commands: list[tuple[str, ...]]) -> None:
    task, other = make(tmp_path), NAME[:-1] + "0"
    assert decided(task, QueuedJob("3", "RUNNING"), name=other) is Do.WAIT
    assert commands == [("scancel", "3")]
    assert decided(task, QueuedJob("3", "CANCELLED"), name=other) is Do.SUBMIT
    assert decided(task, QueuedJob("4", "RUNNING"), name="pcim-attribute-ffffffffffff-cdef01234567") is Do.SUBMIT


@pytest.mark.parametrize("state", sorted(CLUSTER))
def test_what_the_cluster_did_is_mended_without_a_retry_but_not_for_ever(tmp_path: Path, commands: Any, state: str) -> None:
    task, now = make(tmp_path), 0.0
    for _ in range(4):
        assert decided(task, *([QueuedJob("7", state)] if task.job_id else []), now=now) is Do.SUBMIT
        task.submit(now)
        now += 1000
    assert decided(task, QueuedJob("7", state), now=now) is Do.FAIL


@pytest.mark.parametrize("state", sorted(ENDED - CLUSTER - {"COMPLETED"}))
def test_what_the_job_did_is_told_to_snakemake(tmp_path: Path, commands: Any, state: str) -> None:
    assert decided(make(tmp_path, job_id="7"), QueuedJob("7", state)) is Do.FAIL


def test_a_job_that_said_it_failed_failed_whatever_the_queue_says(tmp_path: Path, commands: Any) -> None:
    task = make(tmp_path, job_id="7")
    ended(task, "failed")
    assert decided(task) is Do.FAIL
    assert decided(task, now=0.0, excuse_failure=True) is Do.SUBMIT, "the disk was full"


def test_a_job_that_ended_before_its_time_limit_goes_on_where_it_was(tmp_path: Path, commands: Any) -> None:
    task = make(tmp_path, job_id="7")
    ended(task, "stopped")
    assert decided(task, QueuedJob("7", "FAILED")) is Do.SUBMIT


@pytest.mark.parametrize("seen", [[], [QueuedJob("7", "COMPLETED")]])
def test_a_slow_file_system_and_a_slurmctld_that_comes_up_again_are_waited_for(
    tmp_path: Path, commands: Any, seen: list[QueuedJob]
) -> None:
    task = make(tmp_path, job_id="7")
    assert decided(task, *seen, now=100.0) is Do.WAIT
    assert decided(task, *seen, now=159.0) is Do.WAIT
    assert decided(task, *seen, now=161.0) is (Do.FAIL if seen else Do.SUBMIT)


def test_submissions_are_paused_longer_and_longer(tmp_path: Path, commands: Any) -> None:
    task = make(tmp_path)
    pauses = []
    for _ in range(9):
        task.submit(0.0)
        pauses.append(task.not_before)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (5, 300)


def test_resources_become_options_of_sbatch() -> None:
    given = {"slurm_partition": "gpu", "mem_mb": 16000, "runtime": 240, "gpu": 1, "gpu_model": "h200", "tmpdir": "/tmp",
             "slurm_account": "mine", "constraint": "a&b", "slurm_extra": "--mail-user='a b' --nice=5"}  # fmt: skip
    found = slurm.options(given, threads=4, lead=120)
    assert set(found) == {
        "--partition=gpu", "--account=mine", "--mem=16000", "--time=240", "--constraint=a&b", "--cpus-per-task=4", "--gpus=h200:1",
        "--nodes=1", "--signal=B:USR1@120", "--mail-user=a b", "--nice=5",
    }  # fmt: skip
    assert "--signal=B:USR1@15" in slurm.options({"runtime": 2}, threads=1, lead=120), "a short job is not stopped at once"
    assert not any("gpu" in option for option in slurm.options({"gpu": 0, "runtime": 5}, threads=1, lead=120))
    assert "--gres=gpu:1" in slurm.options({"gpu": 0, "gres": "gpu:1"}, threads=1, lead=120)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            UnreachableError,
        ),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", UnreachableError),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", UnreachableError),
        ("sbatch: error: invalid partition specified: gpuu", RefusedError),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", RefusedError),
    ],
)
def test_a_cluster_that_is_down_is_waited_for_and_a_wrong_setting_is_not(
    words: str, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "sbatch"
    said.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    said.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(kind, match="sbatch: "):
        slurm.submit("", NAME, "log", [])


def test_a_run_inside_an_allocation_hands_on_how_the_cluster_is_reached_and_not_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "squeue"
    told.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    told.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in (
        "SLURM_CONF",
        "SLURM_JWT",
        "SLURM_JOB_ID",
        "SLURM_MEM_PER_CPU",
        "SBATCH_PARTITION",
        "SNAKEMAKE_PROFILE",
    ):
        monkeypatch.setenv(name, "x")
    assert slurm.queue() == {}
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert {name for name in seen if name.startswith(("SLURM_", "SBATCH_", "SNAKEMAKE_"))} == {
        "SLURM_CONF",
        "SLURM_JWT",
    }


def test_the_queue_is_read_whatever_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "_run", lambda *_: "1|RUNNING|a|b\n2|PENDING|c\n3|FAILED|c\n")
    assert slurm.queue() == {
        "a|b": [QueuedJob("1", "RUNNING")],
        "c": [QueuedJob("2", "PENDING"), QueuedJob("3", "FAILED")],
    }


def said(task: Task) -> str:
    return task._word({path.name for path in task.folder.iterdir()})[0]


def run_script(task: Task, job_id: str = "7") -> subprocess.Popen[bytes]:
    import shlex

    base = shlex.quote(str(task.folder / task.name))
    text = slurm.SCRIPT.format(base=base, command=task.command, newest=task.newest_input)
    told = {"SLURM_JOB_ID": job_id, "SLURMD_NODENAME": "n1"}
    return subprocess.Popen(["sh", "-c", text], env=os.environ | told, cwd="/")


@pytest.mark.parametrize(("command", "word"), [("true", "ok"), ("exit 3", "failed"), ("touch $PCIM_STOP_FILE; exit 3", "stopped")])
def test_the_script_says_how_the_job_ended(tmp_path: Path, command: str, word: str) -> None:
    task = make(tmp_path, job_id="7")
    task.command = command
    code = run_script(task).wait()
    assert (code == 0) == (word == "ok")
    assert said(task) == word


def test_a_node_whose_clock_is_behind_does_nothing_and_is_avoided(tmp_path: Path, commands: list[tuple[str, ...]]) -> None:
    task = make(tmp_path, job_id="7")
    task.command, task.newest_input = f"touch {tmp_path}/ran", int(time.time()) + 3600
    assert run_script(task).wait() == 1
    assert said(task) == "behind"
    assert not (tmp_path / "ran").exists()
    assert decided(task, QueuedJob("7", "FAILED")) is Do.SUBMIT
    task.submit(0.0)
    assert "--exclude=n1" in commands[-1]


def test_a_clock_that_is_behind_by_seconds_is_waited_for(tmp_path: Path) -> None:
    task = make(tmp_path, job_id="7")
    task.newest_input = int(time.time()) + 2
    assert run_script(task).wait() == 0
    assert time.time() >= task.newest_input


def test_the_signal_before_the_time_limit_reaches_the_job_which_ends_by_itself(tmp_path: Path) -> None:
    task = make(tmp_path, job_id="7")
    task.command = 'touch begun; while ! [ -e "$PCIM_STOP_FILE" ]; do sleep 0.05; done; sleep 0.3; exit 1'
    task.command = f"cd {tmp_path} && {task.command}"
    process = run_script(task)
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    process.send_signal(10)
    process.send_signal(10)
    assert process.wait(timeout=10) == 1
    assert said(task) == "stopped"


def test_a_twin_that_finished_first_leaves_nothing_to_do_and_a_dethroned_one_says_nothing(tmp_path: Path) -> None:
    task = make(tmp_path, job_id="8")
    task.command = f"sleep 0.6; echo x >> {tmp_path}/ran"
    old = run_script(task, "7")
    time.sleep(0.2)
    assert run_script(task, "8").wait() == 0
    assert old.wait() == 0
    assert (tmp_path / f"{NAME}.result").read_text().split()[:2] == ["ok", "8.0"]
    assert run_script(task, "9").wait() == 0
    assert (tmp_path / "ran").read_text() == "x\nx\n", "the third had nothing to do"


def test_a_jobs_name_is_made_of_all_that_it_is_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "input"
    source.write_text("a")

    def name(output: str = "x", **params: Any) -> str:
        job = SimpleNamespace(is_group=lambda: False, rule=SimpleNamespace(name="attribute"), output=[output], input=[str(source)],
                              params=params)  # fmt: skip
        return job_name(job)

    first = name(revision=1)
    assert name(revision=1) == first
    assert name(revision=2).rpartition("-")[0] == first.rpartition("-")[0], "the same outputs"
    assert name(revision=2) != first
    assert name("y", revision=1).rpartition("-")[0] != first.rpartition("-")[0]
    source.write_text("ab")
    assert name(revision=1) != first
    monkeypatch.chdir(tmp_path)
    assert name(revision=1).split("-")[2] != first.split("-")[2], "another campaign folder"
