"""What a job costs beside its work: the example's attribute jobs through Snakemake, and the same views by the package directly.

``python benchmarks/jobs.py [--quick] [--write]``, from the repository's root; some minutes on two cores. Nothing else should be running.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import yaml
from harness import Row, options, report

CAMPAIGN = "benchmark_jobs"
RESULTS = Path("results") / CAMPAIGN
CONFIG = RESULTS / "config.yaml"
CORES = 2
WASTE_S, WASTE_SHARE, THROUGHPUT_BAR = 20.0, 0.03, 0.9


def snakemake(*arguments: str, cores: int = CORES) -> float:
    """Run Snakemake on the campaign and return the seconds that it took."""
    command = [sys.executable, "-m", "snakemake", "--configfile", str(CONFIG), "--cores", str(cores), "--quiet", "all"]
    began = time.perf_counter()
    subprocess.run([*command[:3], *arguments, *command[3:]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def forget_maps() -> None:
    """Delete all that the attribute jobs have made."""
    for made in ("attribute", "maps", "benchmarks/attribute"):
        shutil.rmtree(RESULTS / made, ignore_errors=True)


def ledgers() -> list[Path]:
    """Return the ledgers of the campaign."""
    return [path for path in sorted((RESULTS / "attribute").rglob("*.parquet")) if not path.name.startswith(".")]


def prepare(methods: list[str]) -> None:
    """Make the example a campaign of its own, up to the calls."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    values: dict[str, Any] = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    values["campaign"] = CAMPAIGN
    values["attribute"]["methods"] = methods
    CONFIG.write_text(yaml.safe_dump(values))
    snakemake("--until", "classify")


def wasted(ledger: Path) -> Row:
    """Run one job alone and compare the time beside its loop with what is allowed."""
    _, _, _, model, method, plate, _ = ledger.parts
    shutil.rmtree(RESULTS / "maps" / model / f"{plate}_{method}.zarr")
    shutil.rmtree(ledger.parent)
    wall = snakemake(str(ledger), cores=1)
    loop = float(pd.read_parquet(ledger)["seconds"].sum())
    allowed = WASTE_S + WASTE_SHARE * wall
    name = f"{model} {method}: {wall - loop:.1f} s of {wall:.1f} s outside the loop / 20 s + 3 %"
    return Row(name, (wall - loop) / allowed, "x", 1.0, "lower")


def direct(numbers: list[int], threads: int) -> None:
    """Make the numbered ledgers in this process, as a user of the package would: what each job does, start-up once."""
    import torch

    torch.set_num_threads(threads)
    torch.set_num_threads = lambda _: None  # jobs take one thread each, which a user's own process does not
    from pcim.campaign.campaign import Campaign
    from pcim.campaign.rule_inputs import RuleInputs
    from pcim.config.stages import AttributeSettings
    from pcim.revisions import REVISIONS
    from pcim.stages.attribute.job import attribute_chunk
    from pcim.stages.chunk_job import ChunkJob

    campaign = Campaign.load(yaml.safe_load(CONFIG.read_text()), look_at_plates=False)
    rules = RuleInputs(campaign)
    for model, method, plate, chunk in [jobs()[number] for number in numbers]:
        w = SimpleNamespace(model=model, method=method, plate=plate, chunk=chunk, campaign=CAMPAIGN)
        told = SimpleNamespace(
            params=SimpleNamespace(chunk=rules.chunk(w), revision=REVISIONS["attribute"]),
            input=_Input(model=rules.model(w), intensities=[]),
            resources={}, threads=1,
        )  # fmt: skip
        attribute_chunk(
            ChunkJob.from_rule(told),
            fields=str(RESULTS / "ingest" / plate / "fields.parquet"),
            calls=str(RESULTS / "classify" / model / plate / f"{chunk}.parquet"),
            method=method,
            maps=str(RESULTS / "maps" / model / f"{plate}_{method}.zarr"),
            ledger=str(RESULTS / "attribute" / model / method / plate / f"{chunk}.parquet"),
            settings=AttributeSettings.model_validate(rules.attribute_settings(w)),
        )


class _Input(SimpleNamespace):
    def get(self, name: str, default: Any) -> Any:
        return getattr(self, name, default)


def jobs() -> list[tuple[str, str, str, str]]:
    """Return (model, method, plate, chunk) of every attribute job."""
    calls = [p for p in sorted((RESULTS / "classify").rglob("*.parquet")) if not p.name.startswith(".")]
    methods = yaml.safe_load(CONFIG.read_text())["attribute"]["methods"]
    return [(p.parts[3], method, p.parts[4], p.stem) for p in calls for method in methods]


def alone(processes: int, threads: int) -> float:
    """Return the seconds that the package takes for all jobs in so many processes, of so many threads each."""
    count = len(jobs())
    forget_maps()
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [sys.executable, __file__, json.dumps(list(range(start, count, processes))), str(threads)],
            stderr=subprocess.DEVNULL,
        )
        for start in range(processes)
    ]
    assert not any(process.wait() for process in running)
    return time.perf_counter() - began


def throughput() -> tuple[list[Row], list[Path]]:
    """Compare the workflow's time for all attribute jobs, as many at once as there are cores, with the package's own."""
    forget_maps()
    through = snakemake("--until", "attribute")
    made = ledgers()
    assert len(made) == len(jobs())
    views, loops = (sum(pd.read_parquet(p)[c].agg(how) for p in made) for c, how in (("view", "size"), ("seconds", "sum")))
    one, wide, each = alone(1, 1), alone(1, CORES), alone(CORES, 1)
    assert ledgers() == made
    what = f"{len(made)} jobs, {views} maps, {loops:.0f} s of loops: {through:.0f} s"
    rows = [
        Row(f"workflow / package in one process, one thread as a job: the same maps; {what}, {one:.0f} "
            f"s", one / through, "x", THROUGHPUT_BAR, "higher"),
        Row(f"workflow / package in one process, {CORES} threads: other bytes, {wide:.0f} "
            f"s", wide / through, "x", THROUGHPUT_BAR, "higher"),
        Row(f"workflow / package in a process a core, started once, {each:.0f} s", each / through, "x", None, "higher"),
    ]  # fmt: skip
    return rows, made


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form takes one method."""
    methods = yaml.safe_load(Path("config/config.yaml").read_text())["attribute"]["methods"]
    prepare(methods[:1] if quick else methods)
    rows, made = throughput()
    rows += [wasted(ledger) for ledger in made if "pcim" in ledger.parts]
    report("jobs", rows, quick, write)
    shutil.rmtree(RESULTS)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("["):
        direct(json.loads(sys.argv[1]), int(sys.argv[2]))
    else:
        main(**vars(options(__doc__)))
