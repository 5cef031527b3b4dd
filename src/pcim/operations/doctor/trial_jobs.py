"""Test jobs: one minute on a node of each partition, to see what the jobs of a campaign will see there."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import shlex
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcim.operations.doctor.machine import Check, call
from pcim.operations.doctor.slurm_checks import by_partition
from pcim.runtime.atomic_file import whole_file
from snakemake_executor_plugin_pcim_slurm.slurm import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pcim.operations.doctor.profile_requests import Profile, Request
    from pcim.operations.doctor.slurm_checks import Partition

POLL_S = 2.0
_JOB_MINUTES = 5


@dataclass(frozen=True)
class Trial:
    """A job that looks around on a node: what it asks for, and what it is told."""

    partition: str
    request: Request
    folder: Path
    told: dict[str, Any]

    def options(self) -> list[str]:
        """Return sbatch's options: those that the executor gives a job of the rule, but for the time."""
        asked = self.request
        resources = {
            "slurm_partition": self.partition,
            "slurm_account": asked.account,
            "qos": asked.qos,
            "constraint": asked.constraint,
            "gres": asked.gres,
            "gpu": asked.gpus,
            "gpu_model": asked.gpu_model,
            "nodes": 1,
            "mem_mb": round(asked.mem_mb or 0),
            "runtime": math.ceil(min(_JOB_MINUTES, asked.runtime or _JOB_MINUTES)),
            "slurm_extra": shlex.join(asked.extra),
        }
        log = self.folder / f"{_file_name(self.partition)}.log"
        return [*options(resources, threads=1, lead=0), "--job-name=pcim-doctor", f"--output={log}"]


def _file_name(partition: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", partition) or "default"


def run_trial(job: Trial, timeout_s: float) -> Iterator[Check]:
    """Submit a test job, wait for it, and tell what it saw."""
    name = f"test job {job.partition}".strip()
    stem = job.folder / _file_name(job.partition)
    asked, answer, script = stem.with_suffix(".asked.json"), stem.with_suffix(".json"), job.folder / "probe.sh"
    with whole_file(asked) as partial:
        partial.write_text(json.dumps({**job.told, "answer": str(answer.resolve())}), encoding="utf-8")
    script.write_text('#!/bin/sh\nexec "$@"\n', encoding="utf-8")  # the words come as arguments: no shell reads them
    command = [sys.executable, "-m", "pcim.operations.doctor.node_probe", str(asked.resolve())]
    with (job.folder / "lock").open("w") as held:  # the job must not get it: locks must hold across nodes
        fcntl.flock(held, fcntl.LOCK_EX)
        code, out, err = call("sbatch", "--parsable", *job.options(), str(script), *command)
        number = out.strip().partition(";")[0]
        if code or not number.isdecimal():
            yield Check(name, "failed", f"sbatch: {' '.join((err or out).split())}", "change the profile")
            return
        try:
            last = _await(number, answer, timeout_s)
        except KeyboardInterrupt:
            call("scancel", number)
            raise
    if not answer.exists():
        call("scancel", number)
        log = stem.with_suffix(".log")
        said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        cure = f"look into {log}" if said else "a busy cluster? try again with a longer --timeout, or --no-job"
        yield Check(
            name,
            "warning" if last.startswith("PENDING") else "failed",
            f"no answer from job {number}: {'; '.join([last, *said])}",
            cure,
        )
        return
    yield from judge(name, job, json.loads(answer.read_text(encoding="utf-8")))


def _await(number: str, answer: Path, timeout_s: float) -> str:
    """Wait until a job has answered, is gone, or the time is up; return its last state."""
    end, last, gone = time.monotonic() + timeout_s, "never seen in the queue", 0
    while time.monotonic() < end and not _is_there(answer):
        code, out, _ = call("squeue", "-h", "-j", number, "-o", "%T %r")
        gone = 0 if out.strip() else gone + (code in {0, 1})
        last = " ".join(out.split()) or last
        if gone > 3:  # noqa: PLR2004 - a file may come later than the job's end on a network file system
            return f"ended without an answer (last state: {last})"
        time.sleep(POLL_S)
    return last


def _is_there(file: Path) -> bool:
    os.listdir(file.parent)  # noqa: PTH208 - makes a network file system look again
    return file.exists()


def judge(name: str, job: Trial, told: dict[str, Any]) -> Iterator[Check]:
    """Turn what a test job saw into checks."""
    node = told["host"]
    unseen = [f"{what} ({path})" for what, path in told["unseen"].items()]
    if unseen:
        yield Check(
            name,
            "failed",
            f"node {node} does not see: {', '.join(unseen)}",
            "put it where every node has it under the same path",
        )
    if told["write"]:
        yield Check(name, "failed", f"node {node} cannot write results: {told['write']}", "make results/ writable there")
    if not told["is_lock_kept"]:
        yield Check(
            name,
            "failed",
            f"node {node} got a lock that this machine holds",
            "flock must work across nodes: results elsewhere, or mount with flock",
        )
    if job.request.wants_gpu:
        found = f"node {node}: {told['gpu'] or 'torch sees no GPU'}, torch {told['torch']}"
        yield Check(
            f"{name}: GPU",
            "ok" if told["gpu"] else "failed",
            found,
            "" if told["gpu"] else "a CUDA build of torch, and a partition whose GPUs --gpus or --gres gives",
        )
    if not unseen and not told["write"] and told["is_lock_kept"]:
        yield Check(name, "ok", f"node {node} sees clone, environment, plates and classifiers, writes and locks results")
    yield from _speed(name, str(job.told.get("model", "")), told)


def _speed(name: str, model: str, told: dict[str, Any]) -> Iterator[Check]:
    if told.get("fault"):
        yield Check(f"{name}: speed", "failed", told["fault"], "the classifier must run in a job; see the log of the test job")
    elif told.get("seconds"):
        each = ", ".join(f"{method} {value:.3g}" for method, value in told["seconds"].items())
        mean = sum(told["seconds"].values()) / len(told["seconds"])
        yield Check(
            f"{name}: speed",
            "ok",
            f"{model} on {told['gpu'] or 'the CPU'}, s a map: {each}",
            f"budget: {{seconds_per_view: {mean:.2g}}}",
        )


def trials(profile: Profile, known: dict[str, Partition], folder: Path, told: dict[str, Any]) -> Iterable[Trial]:
    """Return a test job for every partition that is used: as the rule asks that wants a GPU, else the most memory."""
    for partition, requests in by_partition(profile, known).items():
        if partition in known:
            asked = max(requests, key=lambda request: (request.wants_gpu, request.rule == "attribute", request.mem_mb or 0))
            measures = asked.wants_gpu or not any(request.wants_gpu for request in profile.requests.values())
            yield Trial(partition, asked, folder, told | {"is_to_measure": measures, "gpus": int(asked.wants_gpu)})
