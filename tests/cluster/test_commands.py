"""What a facility types beside snakemake, on a real cluster: is it ready, and how far is the campaign?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster.campaigns import ClusterRun, new_campaign
from cluster.control import Slurm

pytestmark = pytest.mark.cluster


@pytest.fixture
def campaign(slurm: Slurm, tmp_path: Path) -> ClusterRun:
    return new_campaign(tmp_path)


def ask(run: ClusterRun, *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the answer of a command of pcim."""
    run.command()  # writes config and profile
    done = subprocess.run(
        [sys.executable, "-m", "pcim.cli.main", *words, "--json"], cwd=run.folder, env=run.environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_cluster_that_is_ready_is_told_so_by_test_jobs_on_its_nodes(campaign: ClusterRun) -> None:
    _, told = ask(campaign, "doctor", "--configfile", "config.yaml", "--profile", "profile")
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert states["test job cpu"] == states["test job gpu"] == "ok", told
    assert not [name for name, state in states.items() if state == "failed"], told
    assert told["is_fit"]
    assert any("s a map" in check["found"] for check in told["checks"]), "the network was tried on a node"


def test_what_the_cluster_will_not_take_is_named_before_any_job(campaign: ClusterRun) -> None:
    campaign.resources = {
        "attribute": {"slurm_partition": "gpuu"}, "classify": {"mem_mb": 900_000}, "ingest": {"runtime": 100_000},
    }  # fmt: skip
    code, told = ask(campaign, "doctor", "--configfile", "config.yaml", "--profile", "profile", "--no-job")
    failed = " ".join(f"{check['name']} {check['found']}" for check in told["checks"] if check["state"] == "failed")
    assert code != 0
    for word in ("gpuu", "900000", "100000"):
        assert word in failed.replace(",", "").replace(" ", "").replace("_", ""), failed


def test_the_status_of_a_campaign_that_runs_names_jobs_rates_and_what_waits(slurm: Slurm, campaign: ClusterRun) -> None:
    process = campaign.start("--until", "attribute")
    try:
        job = campaign.at_work(slurm)
        code, told = ask(campaign, "status", str(campaign.results))
        assert code == 0, told
        text = json.dumps(told)
        assert str(job.id) in text, "the job in SLURM's queue is named"
        assert process.wait(timeout=240) == 0, campaign.output.read_text()
        _, after = ask(campaign, "status", str(campaign.results))
        assert str(job.id) not in json.dumps(after)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
