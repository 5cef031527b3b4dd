"""Whatever happens to the cluster, the campaign ends complete, with the maps of a run that nothing disturbed.

Each test takes a campaign that is classified, starts it, waits for a job that has stored a field and has more to do, and breaks
something. Nothing may run twice on one output at the same time, and nothing may hang.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster.campaigns import ClusterRun, new_campaign, overlaps
from cluster.control import Job, Slurm

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="session")
def undisturbed(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> ClusterRun:
    """A finished campaign that nothing disturbed."""
    run = new_campaign(tmp_path_factory.mktemp("undisturbed"))
    run()
    return run


@pytest.fixture
def campaign(undisturbed: ClusterRun, tmp_path: Path) -> ClusterRun:
    """The same, moved to another folder, its maps still to be made."""
    return undisturbed.copy(tmp_path / "campaign")


Start = Callable[[ClusterRun], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a campaign's run up to its maps; what it has started is ended with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(run: ClusterRun) -> subprocess.Popen[bytes]:
        begun.append(run.start("--until", "attribute"))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def crash(process: subprocess.Popen[bytes]) -> None:
    """End Snakemake alone, as when a login session crashes: its jobs live on."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def finish(run: ClusterRun, process: subprocess.Popen[bytes], seconds: float = 240) -> str:
    """Wait for the end and compare with the run that nothing disturbed: the same files of maps, byte for byte, and no debris."""
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it hangs:\n{run.output.read_text()}")
    output = run.output.read_text()
    assert code == 0, output
    assert run.stored(), "there are maps"
    assert run.whole is not None
    assert run.stored() == run.whole.stored()
    assert not list(run.results.glob("maps/*/*/.partial*")), "debris"
    return output


def test_a_campaign_runs_through_and_again_there_is_nothing_to_do_also_elsewhere(
    slurm: Slurm, undisturbed: ClusterRun, campaign: ClusterRun
) -> None:
    assert (undisturbed.results / "report/index.html").exists()
    assert "Nothing to be done" in undisturbed()
    assert not overlaps(slurm)
    assert not list((undisturbed.folder / ".snakemake/pcim-slurm").glob("pcim-*")), "a job that is done is forgotten"
    plan = [line.split()[:2] for line in campaign("--dry-run", "--until", "attribute").splitlines() if line]
    assert ["attribute", "4"] in plan
    assert not any(line[0] in {"ingest", "classify"} for line in plan), "a move redoes nothing"


Fault = Callable[[Slurm, ClusterRun], int]
"""Breaks something while a job is at work, and returns that job."""


def scripts(slurm: Slurm, job: int) -> list[int]:
    """Return the processes of a job that do its work: not its shell, and not the Snakemake in it."""
    found = slurm.processes(job)
    return [pid for pid in found if b".snakemake/scripts/" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def scancel(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    slurm.cancel(job.id)
    return job.id


def kill_of_the_process(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    for pid in scripts(slurm, job.id):
        os.kill(pid, signal.SIGKILL)
    return job.id


def kill_of_the_batch_script(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    os.kill(min(slurm.processes(job.id)), signal.SIGKILL)
    return job.id


def slurmd_killed_and_back(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    slurm.kill(job.node)
    time.sleep(3)
    slurm.start(job.node)
    return job.id


def slurmd_dead_past_its_timeout(slurm: Slurm, run: ClusterRun) -> int:
    """Its jobs live on, and SLURM gives them up: the twin of one that is still at work waits for it, and finds its maps."""
    job = run.at_work(slurm)
    slurm.kill(job.node)
    at_work = scripts(slurm, job.id)
    for pid in at_work:
        os.kill(pid, signal.SIGSTOP)

    def twins() -> list[Job]:
        return [one for one in slurm.jobs() if (one.name, one.state) == (job.name, "RUNNING") and one.id != job.id]

    slurm.wait_until(twins, "its twin runs on the other node", 120)
    time.sleep(10)
    for pid in at_work:
        os.kill(pid, signal.SIGCONT)
    return job.id


def node_crashes(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    slurm.crash(job.node)
    return job.id


def node_drained(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    slurm.set_node(job.node, "DRAIN")
    return job.id


def node_down(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    slurm.set_node(job.node, "DOWN")
    return job.id


def preempted(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    slurm.preempt(job.node)
    return job.id


def accounting_down(slurm: Slurm, run: ClusterRun) -> int:
    job = run.at_work(slurm)
    slurm.kill("slurmdbd")
    slurm.kill("mariadbd")
    return job.id


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (scancel, "CANCELLED"), (kill_of_the_process, "FAILED"), (kill_of_the_batch_script, "FAILED"),
        (slurmd_killed_and_back, "COMPLETED"), (slurmd_dead_past_its_timeout, "NODE_FAIL"), (node_crashes, "NODE_FAIL"),
        (node_drained, "COMPLETED"), (node_down, "NODE_FAIL"), (preempted, "PREEMPTED"), (accounting_down, "COMPLETED"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)  # fmt: skip
def test_after_a_fault_the_campaign_ends_with_the_same_maps(
    fault: Fault, end: str, slurm: Slurm, campaign: ClusterRun, start: Start
) -> None:
    process = start(campaign)
    job = fault(slurm, campaign)
    finish(campaign, process)
    assert slurm.job(job).state == end, "the fault has met its job"


def test_preemption_that_cancels(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    campaign.resources = {"attribute": {"slurm_partition": "gpu_cancel"}}
    process = start(campaign)
    job = preempted(slurm, campaign)
    finish(campaign, process)
    assert slurm.job(job).state == "PREEMPTED"


def test_slurmctld_is_killed_while_jobs_run(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    process = start(campaign)
    campaign.at_work(slurm)
    slurm.kill("slurmctld")
    time.sleep(25)
    slurm.start("slurmctld")
    output = finish(campaign, process)
    assert "waiting: squeue" in output
    assert "it goes on" in output


def test_slurmctld_is_killed_while_jobs_are_submitted(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    process = start(campaign)
    slurm.wait_until(lambda: any(job.name.startswith("pcim-attribute") for job in slurm.jobs()), "a job is there")
    slurm.kill("slurmctld")  # it had no time to save them: they are forgotten, run on, and their numbers are given again
    time.sleep(10)
    slurm.start("slurmctld")
    assert "is submitted again: SLURM knows no job" in finish(campaign, process)


def test_a_job_that_needs_more_memory_gets_it(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    campaign.resources = {"attribute": {"mem_mb": "150 if attempt == 1 else 1500"}}
    output = finish(campaign, start(campaign))
    assert "OUT_OF_MEMORY" in output


def test_a_job_at_its_time_limit_is_told_before_and_gets_more(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    campaign.resources = {"attribute": {"runtime": "1 if attempt == 1 else 10"}}
    process = start(campaign)
    job = campaign.at_work(slurm)
    for pid in scripts(slurm, job.id):
        os.kill(pid, signal.SIGSTOP)  # it does not hear what it is told
    told = campaign.folder / ".snakemake/pcim-slurm"
    slurm.wait_until(lambda: list(told.glob("*.stop")), "SLURM has sent its signal", 90)
    slurm.wait_for(job.id, "TIMEOUT", seconds=150)
    assert "TIMEOUT" in finish(campaign, process)


def test_a_job_that_is_told_of_its_end_saves_what_it_has_and_the_next_goes_on(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    campaign.changes = {"retries": 0}
    process = start(campaign)
    first = campaign.at_work(slurm)
    os.kill(min(slurm.processes(first.id)), signal.SIGUSR1)
    output = finish(campaign, process)
    assert "its time was up, what it had done is saved" in output
    assert slurm.job(first.id).state == "FAILED"


def test_snakemake_killed_and_the_same_command_again_adopts_the_jobs(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    process = start(campaign)
    before = campaign.at_work(slurm).id
    crash(process)
    output = finish(campaign, start(campaign))
    assert "is submitted again" not in output
    assert slurm.job(before).state == "COMPLETED", "it was adopted"
    assert not overlaps(slurm)


def test_snakemake_dead_while_its_jobs_end(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    process = start(campaign)
    campaign.at_work(slurm)
    crash(process)
    slurm.wait_until(lambda: not slurm.jobs(), "the orphans have ended", 120)
    submitted = len(slurm.jobs(finished=True))
    finish(campaign, start(campaign))
    assert len(slurm.jobs(finished=True)) == submitted, "what has ended well is not submitted again"


def test_settings_that_changed_meanwhile_end_the_orphans(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    process = start(campaign)
    orphan = campaign.at_work(slurm).id
    crash(process)
    campaign.values["attribute"] |= {"blur": 0.2}
    process = start(campaign)
    slurm.wait_for(orphan, "CANCELLED", seconds=90)
    campaign.values["attribute"].pop("blur")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    finish(campaign, start(campaign))
    assert slurm.job(orphan).state == "CANCELLED"


def test_settings_that_changed_and_changed_back_leave_no_maps_of_the_others(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    process = start(campaign)
    campaign.at_work(slurm)
    crash(process)
    slurm.wait_until(lambda: not slurm.jobs(), "its jobs have ended, and nobody was told", 120)
    campaign.values["attribute"] |= {"blur": 0.2}
    assert start(campaign).wait(timeout=240) == 0, campaign.output.read_text()
    assert campaign.whole is not None
    assert campaign.stored() != campaign.whole.stored()
    campaign.values["attribute"].pop("blur")
    finish(campaign, start(campaign))


def test_ctrl_c_leaves_no_job(slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    process = start(campaign)
    campaign.at_work(slurm)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    slurm.wait_until(lambda: not slurm.jobs(), "no job is left", 30)
    finish(campaign, start(campaign))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MB."""
    if os.geteuid() != 0:
        pytest.skip("a file system is mounted for it (as root)")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_is_full_for_a_minute(slurm: Slurm, undisturbed: ClusterRun, small_disk: Path, start: Start) -> None:
    campaign = undisturbed.copy(small_disk / "campaign")
    process = start(campaign)
    campaign.at_work(slurm)
    with (small_disk / "fill").open("wb", buffering=0) as fill, pytest.raises(OSError, match="No space"):
        while True:
            fill.write(bytes(2**16))
    time.sleep(60)
    (small_disk / "fill").unlink()
    assert "No space left on device" in finish(campaign, process)


@pytest.mark.parametrize("offset", ["-2h", "+2h"])
def test_a_node_with_a_wrong_clock(offset: str, slurm: Slurm, campaign: ClusterRun, start: Start) -> None:
    slurm.set_clock("gpu2", offset)
    output = finish(campaign, start(campaign))
    assert ("the clock of node gpu2 is behind" in output) == (offset == "-2h")
    campaign()
    assert "Nothing to be done" in campaign()
