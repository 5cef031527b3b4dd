"""One job that is wanted, and what to do about it, given what the queue and its files show."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from snakemake_executor_plugin_pcim_slurm import slurm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snakemake_executor_plugin_pcim_slurm.slurm import Queue, QueuedJob

ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "RECONFIG_FAIL", "REVOKED", "SPECIAL_EXIT", "TIMEOUT"}  # fmt: skip
"""States in which a job will not run any more. In every other one it is live."""

CLUSTER = {"BOOT_FAIL", "LAUNCH_FAILED", "NODE_FAIL", "PREEMPTED", "RECONFIG_FAIL", "REVOKED"}
"""Those of them that are the cluster's doing."""

_LONGEST_PAUSE = 300
_NODE = re.compile(r"[A-Za-z0-9._-]+")


class Do(Enum):
    """What is to be done about a job."""

    WAIT = "wait"
    SUBMIT = "submit"
    SUCCEED = "succeed"
    FAIL = "fail"


@dataclass
class Task:
    """A job that Snakemake wants: `command` makes `outputs`; its files lie in `folder` under its `name`.

    `job_id` is its number in the queue, None until it is known. `newest_input`, `unseen_since`, `not_before`: seconds since the epoch.
    `avoided`: nodes whose clock is behind.
    """

    name: str
    folder: Path
    command: str
    options: Sequence[str]
    outputs: Sequence[Path]
    newest_input: int
    forgotten_after: float
    resubmissions: int
    job_id: str | None = None
    submissions: int = 0
    unseen_since: float | None = None
    not_before: float = 0.0
    pause: float = 2.5
    avoided: set[str] = field(default_factory=set)

    def live(self, queue: Queue) -> list[QueuedJob]:
        """Return its jobs that wait or run, the oldest first."""
        return sorted((job for job in queue.get(self.name, []) if job.state not in ENDED), key=lambda job: int(job.id))

    def rivals(self, queue: Queue) -> list[QueuedJob]:
        """Return the live jobs that make the same outputs from something else."""
        stem = self.name.rpartition("-")[0] + "-"
        names = [name for name in queue if name.startswith(stem) and name != self.name]
        return [job for name in names for job in queue[name] if job.state not in ENDED]

    def decide(  # noqa: PLR0911 - a table of cases, the surest first
        self, queue: Queue, files: set[str], *, now: float, excuse_failure: bool = False
    ) -> tuple[Do, str]:
        """Return what to do, and why where that is worth telling.

        `files` are the names in `folder`; with `excuse_failure` a job that failed is submitted again like one that the cluster ended.
        """
        word, detail = self._word(files)
        if word == "ok" and (self.job_id is not None or self._left_as_told()):
            return Do.SUCCEED, ""
        if live := self.live(queue):
            slurm.cancel(live[1:])
            self.job_id, self.unseen_since = live[0].id, None
            return Do.WAIT, ""
        if self.job_id is None:
            return self._before_the_start(queue, now)
        state = next((job.state for job in queue.get(self.name, []) if job.id == self.job_id), None)
        if word == "stopped":
            return self._again(now, "its time was up, what it had done is saved")
        if word == "behind":  # what it writes there would look older than what it is made from
            self.avoided.add(detail)
            return self._again(now, f"the clock of node {detail} is behind; the job avoids it")
        if state in CLUSTER or (excuse_failure and (word or state)):
            return self._again(now, str(state))
        if word == "failed" or state in ENDED - {"COMPLETED"}:
            return Do.FAIL, f"ended as {state or 'FAILED'}"
        return self._without_a_word(state, now)

    def _without_a_word(self, state: str | None, now: float) -> tuple[Do, str]:
        """Wait for a slow file system, or a slurmctld that is coming up again; then believe what is seen."""
        self.unseen_since = self.unseen_since or now
        if now - self.unseen_since < self.forgotten_after:
            return Do.WAIT, ""
        if state == "COMPLETED":
            return Do.FAIL, f"COMPLETED, but {self._file('result')} was not written: does every node share this folder?"
        return self._again(now, f"SLURM knows no job {self.job_id} any more")

    def _before_the_start(self, queue: Queue, now: float) -> tuple[Do, str]:
        if rivals := self.rivals(queue):
            slurm.cancel(rivals)  # of an earlier run, with other settings
            return Do.WAIT, ""
        return (Do.SUBMIT, "") if now >= self.not_before else (Do.WAIT, "")

    def _again(self, now: float, why: str) -> tuple[Do, str]:
        if self.submissions > self.resubmissions:
            return Do.FAIL, f"given up after {self.submissions} submissions, the last ended so: {why}"
        if now < self.not_before:
            return Do.WAIT, ""
        return Do.SUBMIT, why

    def submit(self, now: float) -> None:
        """Submit it. Where no answer comes it may be in the queue all the same: then the next look finds it by its name."""
        self.job_id, self.unseen_since = None, None
        self._file("result").unlink(missing_ok=True)
        self.pause = min(2 * self.pause, _LONGEST_PAUSE)
        self.not_before = now + self.pause
        base = shlex.quote(str(self.folder / self.name))
        script = slurm.SCRIPT.format(base=base, command=self.command, newest=self.newest_input)
        avoided = [f"--exclude={','.join(sorted(self.avoided))}"] if self.avoided else []
        self.job_id = slurm.submit(script, self.name, str(self.log), [*self.options, *avoided])
        self.submissions += 1

    def _word(self, files: set[str]) -> tuple[str, str]:
        """Return how the owner, the last job that began, said that it ended (ok, stopped, failed, behind; "" if not), and a detail."""
        if f"{self.name}.result" not in files or f"{self.name}.owner" not in files:
            return "", ""
        said = self._file("result").read_text(encoding="utf-8", errors="replace").split()
        if len(said) != 3 or not _NODE.fullmatch(said[2]):  # noqa: PLR2004 - not the script's: see its `say`
            return "", ""
        word, who, detail = said
        is_owner = who == self._file("owner").read_text(encoding="utf-8").strip()
        return (word, detail) if is_owner else ("", "")

    def _left_as_told(self) -> bool:
        """Tell whether the outputs are those that the job left when it ended: a run with other settings may have made them since."""
        said = self._file("result").stat().st_mtime_ns
        return all(output.exists() and output.stat().st_mtime_ns <= said for output in self.outputs)

    @property
    def log(self) -> Path:
        """What its script and Snakemake in it say, all submissions one after another."""
        return self._file("log")

    def forget(self) -> None:
        """Delete its files: Snakemake knows that it is done."""
        for path in self.folder.glob(f"{self.name}.*"):
            path.unlink(missing_ok=True)

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"
