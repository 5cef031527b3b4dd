"""The private SLURM of cluster.sh in the hands of a test: submit, look, wait, and break what shall break."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

SCRIPT = Path(__file__).with_name("cluster.sh")
STATE = Path(os.environ.get("PCIM_CLUSTER") or SCRIPT.parents[2] / ".cluster").resolve()
CONF = STATE / "etc" / "slurm.conf"

Node = Literal["cpu1", "gpu1", "gpu2"]
Daemon = Literal["munged", "mariadbd", "slurmdbd", "slurmctld", "cpu1", "gpu1", "gpu2"]  # a node stands for its slurmd
NODES: tuple[Node, ...] = ("cpu1", "gpu1", "gpu2")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Job:
    """A job as slurmctld tells it; finished ones are told for 300 s."""

    id: int
    state: str  # PENDING, RUNNING, COMPLETED, PREEMPTED ...
    node: str  # empty while it waits
    restarts: int
    name: str


class Slurm:
    """The cluster. Every method asks SLURM afresh, and raises CalledProcessError or TimeoutExpired if it does not answer."""

    environment = os.environ | {"SLURM_CONF": str(CONF)}  # for commands that shall use this cluster

    def command(self, *words: str | Path, seconds: float = 30) -> str:
        """What a command of SLURM's prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
        return done.stdout.strip()

    def cluster(self, *words: str) -> None:
        """Run cluster.sh."""
        subprocess.run([SCRIPT, *words], check=True, stdout=subprocess.DEVNULL, timeout=120)

    @staticmethod
    def runs() -> bool:
        return CONF.exists() and subprocess.run([SCRIPT, "status"], stderr=subprocess.DEVNULL, check=False).returncode == 0

    # ---- jobs

    def submit(self, script: str, *options: str) -> int:
        """Submit shell lines; what they print goes nowhere unless `--output` is among the options."""
        output = [] if any(option.startswith("--output") for option in options) else ["--output=/dev/null"]
        return int(self.command("sbatch", "--parsable", *output, *options, f"--wrap={script}"))

    def preempt(self, node: Node, seconds: int = 5) -> int:
        """Submit a job of the higher tier that takes the whole node for some seconds."""
        return self.submit(f"sleep {seconds}", "--partition=gpu_high", f"--nodelist={node}", "--exclusive")

    def jobs(self, *, finished: bool = False) -> list[Job]:
        """All jobs that wait, run or end; with `finished` also those that ended within 300 s."""
        states = ["--states=all"] if finished else []
        fields = "JobID:12,State:20,NodeList:20,RestartCnt:12,Name:200"
        found = []
        for line in self.command("squeue", "--noheader", *states, f"--Format={fields}").splitlines():
            number, state, node, restarts, name = (
                line[start:end].strip() for start, end in [(0, 12), (12, 32), (32, 52), (52, 64), (64, 264)]
            )
            found.append(Job(int(number), state, node, int(restarts), name))
        return found

    def job(self, number: int) -> Job:
        return next(job for job in self.jobs(finished=True) if job.id == number)

    def reason(self, number: int) -> str:
        """Why a job waits, in SLURM's word."""
        return self.command("squeue", "--noheader", f"--jobs={number}", "--format=%r")

    def cancel(self, *numbers: int) -> None:
        self.command("scancel", *map(str, numbers))

    def processes(self, number: int) -> set[int]:
        """The pids of a job's own processes, SLURM's step daemon not among them; also when its slurmd is dead."""
        return _having(f"SLURM_CONF={CONF}", f"SLURM_JOB_ID={number}")

    # ---- waiting

    def wait_until(self, condition: Callable[[], Found], what: str, seconds: float = 60) -> Found:
        """Ask until the answer is true; SLURM's silence counts as not yet."""
        end = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except (subprocess.SubprocessError, StopIteration):
                pass
            if time.monotonic() > end:
                raise AssertionError(f"after {seconds:.0f} s still not: {what}\n{self.picture()}")
            time.sleep(0.2)

    def wait_for(self, number: int, *states: str, seconds: float = 60) -> Job:
        """Wait until a job is in one of these states."""
        what = f"job {number} is {' or '.join(states)}"
        return self.wait_until(lambda: (job := self.job(number)).state in states and job, what, seconds)

    def wait_until_saved(self, number: int) -> None:
        """Wait until slurmctld has written a waiting or running job to disk, up to 5 s: one that dies before forgets the job."""
        before = time.time()
        self.command("scontrol", "update", f"jobid={number}", "comment=saved")  # a change, so that it writes anew
        file = STATE / "spool" / "slurmctld" / "job_state"
        self.wait_until(lambda: file.exists() and file.stat().st_mtime > before, f"slurmctld has saved job {number}")

    def picture(self) -> str:
        """Jobs and nodes in words, for a message."""
        try:
            return self.command("squeue", "--states=all", seconds=5) + "\n" + self.command("sinfo", "-N", "-l", seconds=5)
        except subprocess.SubprocessError as error:
            return f"and slurmctld does not answer: {error}"

    # ---- nodes and daemons

    def node_states(self) -> dict[str, str]:
        """`idle`, `allocated`, `drained`, `down*` ... by node; a star where it does not answer."""
        told = self.command("sinfo", "-N", "--noheader", "--format=%N %T")  # of one node, sinfo may tell old news
        return dict(line.split() for line in told.splitlines())

    def set_node(self, node: Node, state: Literal["DRAIN", "DOWN", "RESUME"]) -> None:
        self.command("scontrol", "update", f"nodename={node}", f"state={state}", "reason=test")

    def kill(self, daemon: Daemon) -> None:
        """End a daemon by kill -9; jobs of a killed slurmd live on."""
        self.cluster("kill", daemon)

    def stop(self, daemon: Daemon) -> None:
        self.cluster("down", daemon)

    def start(self, daemon: Daemon) -> None:
        """Start a daemon and wait until it answers; nothing if it runs."""
        self.cluster("up", daemon)

    def crash(self, node: Node) -> None:
        """As if the node lost its power: slurmd, step daemons and all processes of jobs end by kill -9."""
        self.kill(node)
        mine = (f"SLURM_CONF={CONF}", f"SLURMD_NODENAME={node}")
        # More than once: a job may just be starting.
        self.wait_until(lambda: not _kill(_steps(node) | _having(*mine)), f"nothing runs on {node}")

    def set_clock(self, node: Node, offset: str) -> None:
        """Let jobs that start on a node see a wrong time, ``-2h`` or ``+2h``, until the cluster is healed."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        told = {"LD_PRELOAD": library, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": 1}
        (STATE / f"jobs.{node}").write_text("".join(f"export {name}={value}\n" for name, value in told.items()))

    def heal(self) -> None:
        """All daemons up, no jobs, all nodes idle, all clocks right."""
        for told in STATE.glob("jobs.*"):
            told.unlink()
        self.cluster("start")
        self.wait_until(self._healthy, "no jobs, and all nodes idle")

    def _healthy(self) -> bool:
        jobs = self.jobs()
        if jobs:
            self.cancel(*(job.id for job in jobs))
            return False
        # Jobs that slurmctld gave up or forgot may live on.
        strays = _kill(_having(f"SLURM_CONF={CONF}", "SLURM_JOB_ID=") | _steps(*NODES))
        states = self.node_states()
        for node, state in states.items():
            if state.startswith(("drain", "down")):
                self.set_node(node, "RESUME")
        return not strays and set(states.values()) <= {"idle", "planned"}  # planned: a job that is gone was to have it


# ---- /proc: what SLURM does not tell once one of its daemons is dead


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _having(*entries: str) -> set[int]:
    """The processes whose environment has all of these entries; one that ends in `=` stands for any value."""
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):  # it ended, or is another user's
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if all(
                any(has.startswith(want) if want.endswith(b"=") else has == want for has in environment)
                for want in map(os.fsencode, entries)
            ):
                found.add(pid)
    return found


def _steps(*nodes: Node) -> set[int]:
    """The step daemons of these nodes: they write into their node's log."""
    logs = {STATE / "log" / f"{node}.log" for node in nodes}
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            process = Path(f"/proc/{pid}")
            step = (process / "comm").read_text() == "slurmstepd\n"
            if step and any(link.readlink() in logs for link in (process / "fd").iterdir()):
                found.add(pid)
    return found


def _kill(pids: set[int]) -> set[int]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids
