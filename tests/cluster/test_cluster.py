"""The cluster is what the tests of faults take it for."""

from __future__ import annotations

import pytest
from cluster.control import CONF, Daemon, Slurm

pytestmark = pytest.mark.cluster


def state_in_accounting(slurm: Slurm, number: int) -> str:
    return slurm.command("sacct", "-X", "-n", "-P", f"--jobs={number}", "--format=State")


def test_three_nodes_of_four_cores_with_two_gpus_each_on_two(slurm):
    told = slurm.command("sinfo", "-h", "-N", "-p", "cpu,gpu", "-o", "%N %T %c %m %G").splitlines()
    assert [line.split() for line in sorted(set(told))] == [
        ["cpu1", "idle", "4", "8000", "(null)"],
        ["gpu1", "idle", "4", "8000", "gpu:fake:2"],
        ["gpu2", "idle", "4", "8000", "gpu:fake:2"],
    ]


def test_accounting_knows_how_a_job_ended(slurm):
    good, bad = slurm.submit("true"), slurm.submit("exit 3")
    slurm.wait_for(good, "COMPLETED")
    slurm.wait_for(bad, "FAILED")
    slurm.wait_until(lambda: state_in_accounting(slurm, good) == "COMPLETED", "accounting knows the good job")
    slurm.wait_until(lambda: state_in_accounting(slurm, bad) == "FAILED", "accounting knows the bad job")
    assert slurm.command("sacct", "-X", "-n", "-P", f"--jobs={bad}", "--format=ExitCode") == "3:0"


def test_a_job_over_its_memory_is_killed(slurm):
    number = slurm.submit("exec python3 -c 'import time; waste = bytearray(10**9); time.sleep(60)'", "--mem=100")
    limited = (CONF.parent / "cgroup.conf").exists()  # else SLURM polls, and ends it as it ends any job
    assert slurm.wait_for(number, "OUT_OF_MEMORY" if limited else "FAILED").node == "cpu1"
    assert not slurm.processes(number)


def test_a_job_without_gpu_sees_none(slurm, tmp_path):
    number = slurm.submit("echo ${CUDA_VISIBLE_DEVICES-none}", "--partition=gpu", f"--output={tmp_path}/seen")
    slurm.wait_for(number, "COMPLETED")
    assert (tmp_path / "seen").read_text().strip() in {"none", "", "NoDevFiles"}


def test_two_jobs_on_one_node_see_different_gpus(slurm, tmp_path):
    jobs = [
        slurm.submit(
            f"echo $CUDA_VISIBLE_DEVICES; touch {tmp_path}/{job}.up; while [ ! -e {tmp_path}/{1 - job}.up ]; do sleep 0.1; done",
            "--partition=gpu",
            "--nodelist=gpu1",
            "--gpus=fake:1",
            f"--output={tmp_path}/{job}",
        )
        for job in range(2)
    ]
    for number in jobs:  # each waits for the other, so they held their GPUs at the same time
        slurm.wait_for(number, "COMPLETED")
    assert {(tmp_path / str(job)).read_text().strip() for job in range(2)} == {"0", "1"}


def test_a_third_job_waits_for_a_gpu(slurm):
    running = [slurm.submit("sleep 60", "--partition=gpu", "--nodelist=gpu1", "--gpus=1") for _ in range(2)]
    for number in running:
        slurm.wait_for(number, "RUNNING")
    third = slurm.submit("true", "--partition=gpu", "--nodelist=gpu1", "--gpus=1")
    slurm.wait_until(lambda: slurm.reason(third) in {"Resources", "Priority"}, "the third job waits for resources")
    slurm.cancel(running[0])
    assert slurm.wait_for(third, "COMPLETED").node == "gpu1"
    assert slurm.job(running[1]).state == "RUNNING"


def preempted(slurm: Slurm, *options: str) -> int:
    """Return the number of a running job whose node a job of the higher tier has asked for."""
    low = slurm.submit("sleep 60", "--nodelist=gpu1", *options)
    slurm.wait_for(low, "RUNNING")
    slurm.wait_for(slurm.preempt("gpu1"), "RUNNING")
    return low


def test_preemption_puts_a_job_of_gpu_back_into_the_queue(slurm):
    low = preempted(slurm, "--partition=gpu", "--requeue")
    job = slurm.wait_for(low, "PENDING")
    assert job.restarts == 1


@pytest.mark.parametrize("options", [("--partition=gpu_cancel",), ("--partition=gpu", "--no-requeue")], ids=" ".join)
def test_preemption_ends_a_job_that_is_not_requeued(slurm, options):
    job = slurm.wait_for(preempted(slurm, *options), "PREEMPTED")
    assert (job.node, job.restarts) == ("gpu1", 0)


def test_cancel_ends_every_process_of_a_job(slurm):
    number = slurm.submit("sleep 61 & sleep 62 & wait")
    slurm.wait_for(number, "RUNNING")
    slurm.wait_until(lambda: len(slurm.processes(number)) >= 3, "the job has three processes")
    slurm.cancel(number)
    assert slurm.wait_for(number, "CANCELLED").restarts == 0
    slurm.wait_until(lambda: not slurm.processes(number), "the processes are gone")


@pytest.mark.parametrize("daemon", ["slurmctld", "cpu1"])
def test_a_job_outlives_the_death_of_a_daemon(slurm, tmp_path, daemon: Daemon):
    number = slurm.submit(f"while [ ! -e {tmp_path}/end ]; do sleep 0.1; done")
    slurm.wait_for(number, "RUNNING")
    slurm.wait_until_saved(number)
    slurm.kill(daemon)
    assert slurm.processes(number)
    slurm.start(daemon)
    (tmp_path / "end").touch()
    assert slurm.wait_for(number, "COMPLETED").restarts == 0


def test_slurmctld_forgets_a_job_that_it_had_no_time_to_save(slurm):
    known = slurm.submit("sleep 60")
    slurm.wait_until_saved(known)
    number = slurm.submit("sleep 60")
    slurm.kill("slurmctld")
    slurm.start("slurmctld")
    assert [job.id for job in slurm.jobs(finished=True) if job.id >= known] == [known]
    assert slurm.submit("true") == number  # and gives its number away once more


def test_a_crashed_node_takes_its_job_with_it(slurm):
    number = slurm.submit("sleep 60", "--no-requeue")
    slurm.wait_for(number, "RUNNING")
    slurm.crash("cpu1")
    assert not slurm.processes(number)
    slurm.set_node("cpu1", "DOWN")  # else slurmctld notices after SlurmdTimeout only
    slurm.wait_for(number, "NODE_FAIL")


@pytest.mark.parametrize("daemon", ["slurmdbd", "mariadbd"])
def test_accounting_catches_up(slurm, daemon: Daemon):
    slurm.kill(daemon)
    number = slurm.submit("true")
    assert slurm.wait_for(number, "COMPLETED").restarts == 0, "no job needs accounting"
    slurm.start(daemon)
    slurm.wait_until(lambda: state_in_accounting(slurm, number) == "COMPLETED", "accounting has caught up")


def test_a_drained_node_takes_no_job_until_it_is_resumed(slurm):
    slurm.set_node("cpu1", "DRAIN")
    number = slurm.submit("true")
    slurm.wait_until(lambda: "ReqNodeNotAvail" in slurm.reason(number), "the job waits for the node")
    slurm.set_node("cpu1", "RESUME")
    assert slurm.wait_for(number, "COMPLETED").node == "cpu1"


def test_heal_undoes_whatever_a_test_has_done(slurm):
    number = slurm.submit("trap '' TERM; setsid sleep 600 & sleep 600; sleep 600", "--partition=gpu", "--nodelist=gpu1")
    slurm.wait_for(number, "RUNNING")
    slurm.set_node("gpu2", "DOWN")
    for daemon in ("mariadbd", "slurmctld", "gpu1"):
        slurm.kill(daemon)
    slurm.heal()
    assert slurm.jobs() == []
    assert slurm.node_states() == dict.fromkeys(["cpu1", "gpu1", "gpu2"], "idle")
    assert not slurm.processes(number)
