"""The three commands of SLURM, the options that a job's resources become, and the script that a node runs."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SECONDS = 60
"""How long a command may take: a busy slurmctld is slow."""

_HOW_TO_REACH = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"}
"""Variables that say which cluster is meant and who asks."""

_TRANSIENT = (
    "contact",
    "timed out",
    "connection",
    "temporar",
    "zero bytes",
    "communication",
    "limit",
    "unavailable",
    "try again",
)
"""What sbatch says where the same submission may well be taken later, in lower case."""

SCRIPT = """\
#!/bin/sh
base={base}
me=$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}
say() {{ echo "$2" > "$1.$me" && mv -f "$1.$me" "$1"; }}  # whole or not at all
# A job that SLURM had given up, on a node that it could not reach, may have finished meanwhile.
grep -q '^ok' "$base.result" 2> /dev/null && exit 0
say "$base.owner" "$me"  # from here on an older twin's word no longer counts
export PCIM_STOP_FILE="$base.stop"
rm -f "$PCIM_STOP_FILE"
late=$(({newest} - $(date +%s)))  # an output must not be older than an input
[ $late -gt 300 ] && say "$base.result" "behind $me $SLURMD_NODENAME" && exit 1
[ $late -gt 0 ] && sleep $late
trap 'touch "$PCIM_STOP_FILE"' USR1  # the time limit is near: the job ends by itself after what it is doing
( {command} ) &
child=$!
while :; do
  wait $child
  code=$?
  kill -0 $child 2> /dev/null || break  # else the signal ended the wait, not the job
done
word=failed
[ -e "$PCIM_STOP_FILE" ] && word=stopped
[ $code -eq 0 ] && word=ok
[ "$(cat "$base.owner")" = "$me" ] && say "$base.result" "$word $me $code"
exit $code
"""


class UnreachableError(Exception):
    """SLURM does not answer now."""


class RefusedError(Exception):
    """SLURM will not take this job, however often it is asked."""


class QueuedJob(NamedTuple):
    """A job as the queue shows it."""

    id: str
    state: str


Queue = dict[str, list[QueuedJob]]
"""Name -> the jobs of that name, those that ended a short time ago too."""


def queue() -> Queue:
    """Return this user's jobs by name.

    Raises
    ------
    UnreachableError
        When slurmctld does not answer.
    """
    found: Queue = {}
    # not by name: a list of thousands of names is longer than a command line may be
    for line in _run("squeue", "--noheader", "--me", "--states=all", "--format=%A|%T|%j").splitlines():
        number, state, name = line.strip().split("|", 2)
        found.setdefault(name, []).append(QueuedJob(number, state))
    return found


def submit(script: str, name: str, log: str, options: Sequence[str]) -> str:
    """Submit a job and return its number.

    It is never requeued by SLURM, which would wait two minutes and tell nobody, and never runs beside another of its name.

    Raises
    ------
    UnreachableError, RefusedError
        When it was not taken, with SLURM's own words.
    """
    fixed = ["--parsable", "--no-requeue", "--dependency=singleton", "--open-mode=append"]
    told = _run("sbatch", *fixed, f"--job-name={name}", f"--output={log}", *options, given=script)
    return told.strip().partition(";")[0]


def cancel(jobs: Iterable[QueuedJob]) -> None:
    """Cancel jobs, as far as SLURM answers."""
    numbers = [job.id for job in jobs]
    for start in range(0, len(numbers), 500):
        try:
            _run("scancel", *numbers[start : start + 500])
        except (UnreachableError, RefusedError):
            continue  # they ended by themselves, or will be seen in the queue again


def options(resources: Mapping[str, object], *, threads: int, lead: int) -> list[str]:
    """Return sbatch's options for a rule's resources, named as Snakemake's own SLURM plugin names them.

    `lead`: seconds before the time limit at which the script is signalled, at most an eighth of the time; 0: it is not.
    """
    flags = {"slurm_partition": "partition", "slurm_account": "account", "mem_mb": "mem", "mem_mb_per_cpu": "mem-per-cpu",
             "runtime": "time", "qos": "qos", "constraint": "constraint", "gres": "gres", "nodes": "nodes"}  # fmt: skip
    given = {name: value for name, value in resources.items() if value not in {None, "", 0}}
    found = [f"--{flag}={given[name]}" for name, flag in flags.items() if name in given]
    found.append(f"--cpus-per-task={threads}")
    if "gpu" in given:
        model = f"{given['gpu_model']}:" if "gpu_model" in given else ""
        found += [f"--gpus={model}{given['gpu']}", *([] if "nodes" in given else ["--nodes=1"])]
    if lead and "runtime" in given:
        found.append(f"--signal=B:USR1@{min(lead, int(str(given['runtime'])) * 60 // 8)}")
    return found + shlex.split(str(given.get("slurm_extra", "")))


def _run(*command: str, given: str = "") -> str:
    # A run that was itself started in an allocation must not hand its place on; snakemake in a job must not read our profile.
    dropped = ("SLURM_", "SBATCH_", "SNAKEMAKE_PROFILE")
    kept = {key: value for key, value in os.environ.items() if key in _HOW_TO_REACH or not key.startswith(dropped)}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the words are our own
            command, input=given, capture_output=True, text=True, timeout=_SECONDS, check=False, env=kept
        )
    except FileNotFoundError:
        raise RefusedError(f"{command[0]}: not found on this machine; is this a login node of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"{command[0]} does not answer") from None
    if done.returncode == 0:
        return done.stdout
    words = done.stderr.strip() or f"exit code {done.returncode}"
    is_transient = command[0] != "sbatch" or any(sign in words.lower() for sign in _TRANSIENT)
    raise (UnreachableError if is_transient else RefusedError)(f"{command[0]}: {words}")
