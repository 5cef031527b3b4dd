"""A Snakemake executor for SLURM that loses no job: ``executor: pcim-slurm`` in a profile.

It works like a thermostat. Every few seconds it compares the jobs that Snakemake wants with those in the queue, all of them by
one ``squeue``, and acts on the difference: a job that is not there is submitted, one that ended is reported, one that SLURM lost
is submitted again. Nothing is remembered but by SLURM and the file system, so any process may die at any moment:

- A job's name is a digest of its outputs and of what it is made from (inputs, params, so the stage's revision too). A job of that
  name which is in the queue is adopted, whoever submitted it; one that makes the same outputs from something else is cancelled first.
- A job says how it ended in a small file (see `slurm.SCRIPT`), so neither accounting nor slurmctld's memory is needed.
- What the cluster did to a job (preemption, a dead node, a slurmctld that forgot it) is mended here, what the job did itself (an
  error, too little memory or time) is told to Snakemake, whose `retries` then raise memory and run time.
"""

import errno
import hashlib
import json
import shlex
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_pcim_slurm import slurm
from snakemake_executor_plugin_pcim_slurm.slurm import RefusedError, UnreachableError
from snakemake_executor_plugin_pcim_slurm.task import Do, Task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

_PROBE = 2**20
"""Bytes for which there must be room: more than a job writes at a time."""


def _setting(default: int, words: str) -> Any:
    return field(default=default, metadata={"help": words})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """What a profile may set, as ``pcim-slurm-lead`` and so on."""

    lead: int = _setting(120, "Seconds before its time limit at which a job is told to save what it has and end.")
    forgotten_after: int = _setting(60, "Seconds after which a job that the queue does not show is submitted again.")
    resubmissions: int = _setting(20, "How often a job that the cluster ended is submitted again without a retry.")


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=1,
)


class Executor(RemoteExecutor):
    """Keeps the queue as Snakemake wants it."""

    def __post_init__(self) -> None:
        self.folder = Path(".snakemake/pcim-slurm").absolute()
        self.folder.mkdir(mode=0o775, parents=True, exist_ok=True)
        if open_to_all := [str(path) for path in (self.folder, *self.folder.parents[:2]) if anyone_may_write(path)]:
            raise WorkflowError(f"{open_to_all}: everyone may write there, where what jobs run is kept; chmod o-w")
        self.tasks: dict[str, Task] = {}
        self.cancelled = False
        self.trouble: str | None = None
        self.full_until = 0.0

    def run_job(self, job: "JobExecutorInterface") -> None:
        """Note the job as wanted; the next look at the queue submits or adopts it."""
        name = job_name(job)
        told: ExecutorSettings = self.workflow.executor_settings
        options = slurm.options(dict(job.resources.items()), threads=job.threads, lead=told.lead)
        options.append(f"--comment={' '.join([job.name, *job.wildcards])}")  # for people who look at the queue
        command = f"cd {shlex.quote(str(Path.cwd()))} && {self._command(job)}"
        outputs = [Path(output) for output in job.output]
        newest = max((int(path.stat().st_mtime) + 1 for path in _inputs(job)), default=0)
        self.tasks[name] = Task(name, self.folder, command, options, outputs, newest, told.forgotten_after, told.resubmissions)
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=name))

    def _command(self, job: "JobExecutorInterface") -> str:
        """Return what the node runs. Snakemake writes long lists of inputs to a file meanwhile: a full disk is waited for."""
        while True:
            try:
                return str(self.format_job_exec(job))
            except OSError as problem:
                self._say(str(problem))
                time.sleep(10)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> "AsyncGenerator[SubmittedJobInfo, None]":
        """Bring the queue nearer to what is wanted; yields the jobs that go on."""
        try:
            self._probe()
            queue = slurm.queue() if active_jobs else {}
            self._say(None)
        except (UnreachableError, OSError) as problem:
            # A full disk, or slurmctld is down: jobs run on, and nothing is decided meanwhile.
            self._say(str(problem))
            for info in active_jobs:
                yield info
            return
        files = {path.name for path in self.folder.iterdir()}
        for info in active_jobs:
            if self._goes_on(info, queue, files):
                yield info

    def _goes_on(self, info: SubmittedJobInfo, queue: slurm.Queue, files: set[str]) -> bool:
        """Act on the difference between one job and the queue, and tell whether the job goes on."""
        task = self.tasks[str(info.external_jobid)]
        do, why = Do.WAIT, ""
        try:
            do, why = task.decide(queue, files, now=time.time(), excuse_failure=time.time() < self.full_until)
            if do is Do.SUBMIT and not self.cancelled:
                if why:
                    self.logger.warning(f"{task.name} is submitted again: {why}")  # noqa: G004 - it fills in nothing itself
                task.submit(time.time())
        except (UnreachableError, OSError) as problem:
            self._say(str(problem))
        except RefusedError as problem:
            do, why = Do.FAIL, str(problem)
        if do not in {Do.SUCCEED, Do.FAIL}:
            return True
        del self.tasks[task.name]
        slurm.cancel(task.live(queue))  # a twin of it that still waits in the queue
        if do is Do.SUCCEED:
            task.forget()
            self.report_job_success(info)
        else:
            self.report_job_error(info, msg=f"SLURM job {task.job_id}: {why}. ", aux_logs=[str(task.log)])
        return False

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:  # noqa: ARG002 - of these some are just being looked at
        """Cancel every job of this run; called on Ctrl-C and after a failure without ``keep-going``."""
        self.cancelled = True
        try:
            queue = slurm.queue()
            slurm.cancel([job for task in list(self.tasks.values()) for job in task.live(queue)])
        except UnreachableError as problem:
            self._say(f"jobs could not be cancelled, they go on: {problem}")

    def _probe(self) -> None:
        """Raise OSError where the file system takes nothing: until then and a little after, a failed job is no job's fault."""
        probe = self.folder / ".probe"
        try:
            probe.write_bytes(bytes(_PROBE))
        except OSError as problem:
            if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
                self.full_until = time.time() + 60
            raise
        finally:
            probe.unlink(missing_ok=True)  # else the next one would find the room that this one has left

    def _say(self, trouble: str | None) -> None:
        """Say once that something is wrong, and once that it is over."""
        if trouble and not self.trouble:
            self.logger.warning(f"waiting: {trouble}")  # noqa: G004 - as above
        elif self.trouble and not trouble:
            self.logger.warning("it goes on")
        self.trouble = trouble


def anyone_may_write(path: Path) -> bool:
    """Tell whether every user of the machine may put a file of that name in another's place."""
    mode = path.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def job_name(job: "JobExecutorInterface") -> str:
    """Return the name by which a job is known to SLURM: ``pcim-{rule}-{outputs}-{made of}``, the last two digests.

    What a job is made of: its params and rule, and the size and time of each input, so that a job which runs on in the queue after
    a setting or an input changed is not taken for the one that is wanted now.
    """
    jobs = _jobs(job)
    outputs = sorted(str(output) for one in jobs for output in one.output)
    made_of = {
        "rules": sorted(one.rule.name for one in jobs),
        "params": [sorted((str(key), value) for key, value in one.params.items()) for one in jobs],
        "inputs": [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in _inputs(job)],
    }
    rule = "group" if job.is_group() else job.rule.name
    return f"pcim-{rule}-{_digest([str(Path.cwd()), *outputs])}-{_digest(made_of)}"


def _jobs(job: "JobExecutorInterface") -> list[Any]:
    return list(job.jobs) if job.is_group() else [job]


def _inputs(job: "JobExecutorInterface") -> list[Path]:
    """Return the inputs that are there: those of a group are made by the group in part."""
    paths = sorted({Path(path) for one in _jobs(job) for path in one.input})
    return [path for path in paths if path.exists()]


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()
