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
        return (
            CONF.exists() and subprocess.run([SCRIPT, "status"], stderr=subprocess.DEVNULL, check=False).returncode == 0
        )

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

    def processes(self, number: int) -> list[int]:
        """The pids of a job's own processes, SLURM's step daemon not among them; also when its slurmd is dead."""
        mine = {f"SLURM_CONF={CONF}".encode(), f"SLURM_JOB_ID={number}".encode()}
        return [pid for pid in _pids() if mine <= _environment(pid)]

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

    def picture(self) -> str:
        """Jobs and nodes in words, for a message."""
        try:
            return (
                self.command("squeue", "--states=all", seconds=5) + "\n" + self.command("sinfo", "-N", "-l", seconds=5)
            )
        except subprocess.SubprocessError as error:
            return f"and slurmctld does not answer: {error}"

    # ---- nodes and daemons

    def node_state(self, node: Node) -> str:
        """`idle`, `allocated`, `drained`, `down*` ...; a star where the node does not answer."""
        return self.command("sinfo", "--noheader", f"--nodes={node}", "--format=%T").splitlines()[0]

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
        mine = {f"SLURM_CONF={CONF}".encode(), f"SLURMD_NODENAME={node}".encode()}
        jobs = {pid for pid in _pids() if mine <= _environment(pid)}
        for pid in {_parent(pid) for pid in jobs} & set(_steps()):  # first, or they would still report the end
            _kill(pid)
        for pid in jobs:
            _kill(pid)

    def heal(self) -> None:
        """All daemons up, no jobs, all nodes idle."""
        self.cluster("start")
        self.wait_until(self._settled, "no jobs, and all nodes idle", seconds=60)
        ours = f"SLURM_CONF={CONF}".encode()
        for pid in _pids():  # a job that SLURM gave up may live on
            environment = _environment(pid)
            if ours in environment and any(entry.startswith(b"SLURM_JOB_ID=") for entry in environment):
                _kill(pid)

    def _settled(self) -> bool:
        jobs = self.jobs()
        if jobs:
            self.cancel(*(job.id for job in jobs))
        states = {node: self.node_state(node) for node in NODES}
        for node, state in states.items():
            if state.startswith(("drain", "down")):
                self.set_node(node, "RESUME")
        return not jobs and set(states.values()) == {"idle"}


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:  # it ended, or is another user's
        return set()


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _steps() -> list[int]:
    """The pids of this cluster's step daemons: they stand in the folder of its logs."""
    found = []
    for pid in _pids():
        try:
            if (
                Path(f"/proc/{pid}/comm").read_text() == "slurmstepd\n"
                and Path(f"/proc/{pid}/cwd").readlink() == STATE / "log"
            ):
                found.append(pid)
        except OSError:
            continue
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
