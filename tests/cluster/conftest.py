"""Tests on a real SLURM: they have it for themselves, and each finds it healthy whatever the one before did to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest
from cluster.control import STATE, Slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    if not Slurm.runs():
        reason = "no SLURM cluster (make cluster cluster-test)"
        if os.environ.get("PCIM_CLUSTER_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker that waits for another's lock would wait for ever
        pytest.skip("one process at a time works on the SLURM cluster (make cluster-test)")
    with (STATE / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests that run beside these would end their jobs
        slurm = Slurm()
        slurm.heal()
        yield slurm


@pytest.fixture(autouse=True)
def healthy(slurm: Slurm) -> None:
    slurm.heal()
