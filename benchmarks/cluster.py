"""Two hundred small real jobs through a real SLURM by `executor: pcim-slurm`: none is lost, and what a job costs beside its own work.

``python benchmarks/cluster.py [--quick] [--write]`` with SLURM_CONF set (`make cluster` prints it) and slurmdbd up. `--quick`: 12 jobs.

Each job sleeps a second. Overhead is the rest of the time that SLURM counts for it (the Snakemake that starts in it, above all), and the
time from its end to the moment when the run knows it. Only as many jobs run at a time as the machine has cores: a node of a
real cluster has some of its own for every job.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from harness import Row, options, report

WORK = 1
"""Seconds that each job sleeps."""

SNAKEFILE = """
rule all:
    input: expand("out/{n}", n=range(config["count"]))

rule small:
    output: "out/{n}"
    resources: mem_mb=400, runtime=5
    shell: "sleep 1; date +%s.%N > {output}"
"""
PROFILE = Path(__file__).parents[1] / "profiles/slurm/profile.yaml"


def run(folder: Path, count: int) -> tuple[float, list[str]]:
    """Run the jobs; return the seconds that it took, and the names of the outputs that are not there."""
    (folder / "Snakefile").write_text(SNAKEFILE)
    profile = yaml.safe_load(PROFILE.read_text()) | {"latency-wait": 10}
    for key in ("set-resources", "default-resources"):  # of PCIM's rules
        del profile[key]
    profile["set-threads"] = {"small": 2}  # two at a time on a node of the tests' cluster, which has 4 and stands on 2 cores
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    command = [sys.executable, "-m", "snakemake", "--profile", str(folder), "--nolock", "--config", f"count={count}"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    took = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return took, [str(n) for n in range(count) if not (folder / "out" / str(n)).exists()]


def counted(since: str) -> list[float]:
    """Return the seconds that SLURM counts for each job that ran since then."""
    asked = ["sacct", "-X", "-n", "-P", f"--starttime={since}", "--format=JobName%80,ElapsedRaw,State"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return [float(line.split("|")[1]) for line in lines if re.fullmatch(r"pcim-small-.*\|\d+\|COMPLETED", line)]


def known_after(folder: Path, count: int) -> list[float]:
    """Return the seconds from each job's end to the moment when Snakemake knew of it: it then writes what it keeps of the output."""
    import base64

    kept = folder / ".snakemake/metadata"
    ends = {n: float((folder / "out" / str(n)).read_text()) for n in range(count)}
    return [(kept / base64.b64encode(f"out/{n}".encode()).decode()).stat().st_mtime - end for n, end in ends.items()]


def main(*, quick: bool, write: bool) -> None:
    """Print the table; the full form is kept."""
    count = 12 if quick else 200
    since = time.strftime("%Y-%m-%dT%H:%M:%S")
    with tempfile.TemporaryDirectory(prefix="pcim-cluster-", dir=Path.cwd()) as place:
        took, lost = run(Path(place), count)
        late = known_after(Path(place), count)
    elapsed = counted(since)
    for _ in range(30):  # accounting is a little behind
        if len(elapsed) < count:
            time.sleep(2)
            elapsed = counted(since)
    beside = [seconds - WORK for seconds in elapsed]
    report(
        "cluster",
        [
            Row("jobs lost: outputs that are not there", float(len(lost)), "", 0.0, "lower"),
            Row("jobs that accounting counts, beside those wanted", float(len(elapsed) - count), "", 0.0, "lower"),
            Row("overhead a job: in the job", statistics.median(beside), "s", None, "lower"),
            Row("overhead a job: until the run knows", statistics.median(late), "s", None, "lower"),
            Row("overhead a job", statistics.median(beside) + statistics.median(late), "s", 15.0, "lower"),
            Row("overhead a job, 95 of 100 below", sorted(beside)[int(0.95 * count)] + sorted(late)[int(0.95 * count)], "s", None, "lower"),
            Row("wall time a job", took / count, "s", None, "lower"),
        ],
        quick,
        write,
    )  # fmt: skip


if __name__ == "__main__":
    main(**vars(options(__doc__)))
