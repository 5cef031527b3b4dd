"""A small campaign on the real cluster, by the profile that users get: only the site's values are changed."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from cluster.control import Job, Slurm
from planted_campaign import write_campaign
from workflow_runs import REPOSITORY, Run

GPU_RULES = ("attribute", "evaluate", "interventions")
PAUSE = 0.08
"""Seconds that the classifier takes a step, so that a job can be met at work."""


@dataclass
class ClusterRun(Run):
    """A campaign in a folder, with the command that works on it; `resources` replace those of a rule, `changes` the profile's keys.

    `whole` is the finished one that it was copied from.
    """

    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    whole: ClusterRun | None = None

    def command(self, *arguments: str) -> list[str]:
        config, profile = self.folder / "config.yaml", self.folder / "profile" / "profile.yaml"
        config.write_text(yaml.safe_dump(self.values))
        profile.parent.mkdir(exist_ok=True)
        profile.write_text(yaml.safe_dump(self.profile()))
        return [
            sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(self.folder),
            "--profile", str(profile.parent), "--configfile", str(config), *arguments,
        ]  # fmt: skip

    def profile(self) -> dict[str, Any]:
        """The profile as a facility changes it: partitions, and how a GPU is asked for. The GPUs are no GPUs: jobs use the CPU."""
        profile = yaml.safe_load((REPOSITORY / "profiles/slurm/profile.yaml").read_text())
        profile |= {"seconds-between-status-checks": 2, "latency-wait": 10, "pcim-slurm-forgotten-after": 15}
        profile["default-resources"] = {"slurm_partition": "cpu", "slurm_account": "screening", "runtime": 10}
        for rule, resources in profile["set-resources"].items():
            resources |= {"mem_mb": 1500, "runtime": 10}
            if rule in GPU_RULES:
                resources |= {"gpu": 0, "slurm_partition": "gpu", "slurm_extra": "--gres=gpu:1"}
            profile["set-resources"][rule] = resources | self.resources.get(rule, {})
        profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
        return dict(profile | self.changes)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"SLURM_CONF": Slurm.environment["SLURM_CONF"]}

    def copy(self, folder: Path) -> ClusterRun:
        """Move to a copy whose maps are still to be made."""
        shutil.copytree(self.folder, folder)
        copied = replace(self, folder=folder, resources={}, changes={}, whole=self)
        for stage in ("attribute", "maps", "aggregate", "evaluate", "report"):
            shutil.rmtree(copied.results / stage, ignore_errors=True)
        return copied

    def stored(self) -> dict[str, bytes]:
        """Every file of every stored field of maps; what `aggregate` writes around them is left out."""
        return {name: content for name, content in self.maps().items() if len(Path(name).parts) > 5}

    def at_work(self, slurm: Slurm, *, chunk: str = "A01-A04", method: str = "pcim") -> Job:
        """Wait until a job explains views, has stored a field, and is not done; return it."""
        journal = self.results / f"attribute/spots/{method}/plate1/.{chunk}.journal.jsonl"
        slurm.wait_until(journal.exists, f"{journal} exists", 120)
        return self.job(slurm, method, chunk)

    def job(self, slurm: Slurm, *wildcards: str) -> Job:
        """Return the running attribute job of these wildcards."""
        lines = slurm.command("squeue", "--noheader", "--states=RUNNING", "--Format=JobID:12,Comment:200").splitlines()
        told = {line[12:].strip(): int(line[:12]) for line in lines}
        return slurm.job(next(number for words, number in told.items() if set(words.split()) >= {"attribute", *wildcards}))


def new_campaign(folder: Path) -> ClusterRun:
    """Make inputs and an empty folder for a run on the cluster."""
    inputs, place = folder / "inputs", folder / "campaign"
    inputs.mkdir()
    place.mkdir()
    values = write_campaign(inputs, pause=PAUSE)
    values["attribute"] |= {"methods": ["pcim", "random"], "batch_size": 2}
    return ClusterRun(place, values)


def overlaps(slurm: Slurm) -> list[str]:
    """Return the names under which accounting knows two jobs that ran at the same time."""
    fields = "--format=JobName%100,Start,End"
    lines = slurm.command("sacct", "-X", "-n", "-P", "--allusers", "--starttime=now-1hours", fields).splitlines()
    spans: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        name, start, end = line.split("|")
        if name.startswith("pcim-") and start not in {"Unknown", "None"}:
            spans.setdefault(name, []).append((start, end))
    return [
        name
        for name, of_name in spans.items()
        for (_, end), (start, _) in zip(sorted(of_name), sorted(of_name)[1:], strict=False)
        if end == "Unknown" or start < end
    ]
