"""Tests on a real SLURM: each has the cluster for itself, and finds it healthy whatever the one before did to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest
from cluster.control import STATE, Slurm


@pytest.fixture(scope="session")
def slurm() -> Slurm:
    if not Slurm.runs():
        reason = "no SLURM cluster (make cluster cluster-test)"
        if os.environ.get("PCIM_CLUSTER_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Slurm()


@pytest.fixture(autouse=True)
def healthy(slurm: Slurm) -> Iterator[None]:
    with (STATE / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests that run beside this one would end its jobs
        slurm.heal()
        yield
