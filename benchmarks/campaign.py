"""What the workflow itself costs in a campaign of 100 plates x 384 wells x 9 fields, 5 000 jobs, in which no job is run.

``python benchmarks/campaign.py [--quick] [--write]``, from the repository's root; minutes. Its plates are metadata alone, in
the temporary folder; it deletes them. The files that a campaign leaves are counted in a small one that is run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from harness import Row, options, report

from pcim.campaign import cost
from pcim.campaign.campaign import Campaign
from pcim.campaign.rule_inputs import RuleInputs

ROOT = Path(__file__).parents[1]
ROWS, COLUMNS, FIELDS, SIDE = "ABCDEFGHIJKLMNOP", 24, 9, 1080
CHANNELS = ("DNA", "GFP")
JOBS = 50
"""A plate's: with ten methods, four chunks, so that a hundred plates are 5 000 jobs and three that sum the campaign up."""
METHODS = ["pcim", "pcim_literal", "integrated_gradients", "grad_cam", "occlusion", "random", "edge", "contrast",
           "randomised_model", "input_x_gradient"]  # fmt: skip


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _group(file: Path, ome: dict[str, Any]) -> None:
    _write(file, {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome | {"version": "0.5"}}})


def write_plate(plate: Path) -> None:
    """Write the metadata of a plate of 384 wells that a plan is made from: the plate's, its wells', its first field's."""
    wells = [(row, column) for row in range(len(ROWS)) for column in range(COLUMNS)]
    places = [{"path": f"{ROWS[r]}/{c + 1}", "rowIndex": r, "columnIndex": c} for r, c in wells]
    rows, columns = [{"name": row} for row in ROWS], [{"name": str(c + 1)} for c in range(COLUMNS)]
    _group(plate / "zarr.json", {"plate": {"rows": rows, "columns": columns, "wells": places}})
    images = [{"path": str(field)} for field in range(FIELDS)]
    for place in places:
        _group(plate / str(place["path"]) / "zarr.json", {"well": {"images": images}})
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    scale = [{"type": "scale", "scale": [1.0, 0.65, 0.65]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    window = {"min": 0, "max": 65535, "start": 0, "end": 65535}
    omero = {"channels": [{"label": name, "color": "FFFFFF", "window": window} for name in CHANNELS]}
    _group(plate / "A/1/0/zarr.json", {"multiscales": [image], "omero": omero})
    shape = [len(CHANNELS), SIDE, SIDE]
    array = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint16", "fill_value": 0,
             "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
             "chunk_key_encoding": {"name": "default"}, "codecs": [{"name": "bytes"}]}  # fmt: skip
    _write(plate / "A/1/0/0/zarr.json", array)


def write_campaign(folder: Path, plates: int, *, stores: int | None = None) -> Path:
    """Write the inputs of a campaign, all that is read before the first job; return its config. Only `stores` plates exist."""
    folder.mkdir(exist_ok=True)
    names = [f"p{number:04d}" for number in range(plates)]
    layout = ["well_position,treatment,control_type,dose,label"]
    for row in ROWS:
        layout += [f"{row}{c:02d},{'DMSO' if c < 3 else f'drug{row}{c}'},{'negcon' if c < 3 else ''},1,live"  # noqa: PLR2004
                   for c in range(1, COLUMNS + 1)]  # fmt: skip
    lines = ["plate\tpath\tplatemap"]
    for number, name in enumerate(names):
        if stores is None or number < stores:
            write_plate(folder / f"{name}.zarr")
        (folder / f"{name}.csv").write_text("\n".join(layout) + "\n")
        lines.append(f"{name}\t{folder / name}.zarr\t{folder / name}.csv")
    (folder / "plates.tsv").write_text("\n".join(lines) + "\n")
    for file in ("weights.safetensors", "test.safetensors"):
        (folder / file).touch()
    contract = {
        "name": "network", "architecture": "pcim.architectures:small_cnn", "weights": "weights.safetensors", "sha256": "0" * 64,
        "classes": ["dead", "live"], "test": {"file": "test.safetensors"},
        "input": {"channels": list(CHANNELS), "view": "field", "size": [SIDE, SIDE], "dtype": "uint16", "mean": [0.0, 0.0],
                  "std": [1.0, 1.0]},
    }  # fmt: skip
    (folder / "model.yaml").write_text(yaml.safe_dump(contract))
    values = {
        "campaign": "large", "plates": str(folder / "plates.tsv"), "jobs_per_plate": JOBS,
        "classifiers": {"network": {"model": str(folder / "model.yaml"), "plates": names, "truth": "label"}},
        "attribute": {"methods": METHODS}, "budget": {"seconds_per_view": 4},
    }  # fmt: skip
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    return config


@dataclass(frozen=True)
class Spent:
    """What a process took: seconds by the clock and of the processor, peak memory (MB), and what it said."""

    wall: float
    cpu: float
    megabytes: float
    told: str


def snakemake(folder: Path, *arguments: str, snakefile: Path = ROOT / "Snakefile") -> Spent:
    """Run Snakemake in a folder with this tree's package.

    Raises
    ------
    RuntimeError
        With what it said, when it fails.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--nolock", "--cores", "2", *arguments]
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests/helpers"))), "PATH": os.environ["PATH"]}
    paths["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), paths["PATH"]])
    output = folder / "output.txt"
    began = time.perf_counter()
    with chdir(folder), output.open("w") as stream:
        process = subprocess.Popen(command, env=os.environ | paths, stdout=stream, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    told = output.read_text()
    if process.returncode:
        raise RuntimeError(told)
    return Spent(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3, told)


def start_job(folder: Path, config: Path, job: str, snakefile: Path) -> Spent:
    """Start one job, ``rule:wildcard=value,...``, as an executor on another machine does, and end before its work."""
    rule = job.partition(":")[0]
    remote = [
        "--mode",
        "remote",
        "--target-jobs",
        job,
        "--allowed-rules",
        rule,
        "--force",
        "--force-use-threads",
        "--attempt",
        "1",
    ]
    beside = [
        "--ignore-incomplete",
        "--notemp",
        "--no-hooks",
        "--nocolor",
        "--max-inventory-time",
        "0",
        "--dry-run",
        "--quiet",
    ]
    return snakemake(folder, *remote, *beside, "--configfile", str(config), snakefile=snakefile)


def empty_snakefile(folder: Path) -> Path:
    """Write a Snakefile with one rule that needs nothing: what Snakemake alone costs."""
    file = folder / "Snakefile.empty"
    file.write_text('rule attribute:\n    output: "never"\n    shell: "true"\n')
    return file


def above_empty(job: tuple[Path, Path, str], bare: tuple[Path, Path, str], snakefiles: tuple[Path, Path], turns: int) -> float:
    """Return the processor time of a job's start less that of an empty Snakefile's, the median of so many turns."""
    ours, empty = snakefiles
    return statistics.median(start_job(*job, ours).cpu - start_job(*bare, empty).cpu for _ in range(turns))


def snakefile_of_a_job(folder: Path) -> Path:
    """Write a Snakefile that is ours, asks for what a job on a chunk is told, as its script would, and says what was imported."""
    file = folder / "Snakefile.job"
    asked = f'include: {str(ROOT / "Snakefile")!r}\nassert campaign.plans["p0000"].chunks\n'
    file.write_text(asked + 'import sys\nprint("IMPORTED", *{name.partition(".")[0] for name in sys.modules})\n')
    return file


def plan(folder: Path, config: Path) -> Campaign:
    """Plan a campaign and write its plans, as a run does before its first job."""
    with chdir(folder):
        campaign = Campaign.load(yaml.safe_load(config.read_text()))
        campaign.write_plans()
    return campaign


def one_job(folder: Path, plates: int) -> tuple[Path, Path, str]:
    """Make all that one job of `attribute` reads in a campaign of so many plates; return where it runs, its config and the job."""
    inputs, run = folder / f"of_{plates}", folder / f"run_{plates}"
    run.mkdir()
    campaign = plan(run, write_campaign(inputs, 1))
    config = write_campaign(inputs, plates, stores=1)
    chunk = next(iter(campaign.plans["p0000"].chunks))
    _touch(run, ["results/large/ingest/p0000/fields.parquet", f"results/large/classify/network/p0000/{chunk}.parquet"])
    return run, config, f"attribute:campaign=large,model=network,method=pcim,plate=p0000,chunk={chunk}"


def pretend(folder: Path, campaign: Campaign) -> None:
    """Write what the jobs wait for whose start is measured; nobody reads it."""
    for path in ("ingest/{plate}/fields", "classify/{model}/{plate}/{chunk}", "attribute/{model}/{method}/{plate}/{chunk}",
                 "evaluate/{model}/{plate}/{chunk}", "evaluate/{model}/{plate}/{chunk}.curves", "evaluate/{model}/interventions",
                 *(f"aggregate/{{model}}/{{plate}}/{name}" for name in ("shares", "groups", "profiles"))):  # fmt: skip
        _touch(folder, RuleInputs(campaign).everywhere("results/{campaign}/" + path + ".parquet")({"campaign": campaign.name}))
    for path in ("maps/{model}/{plate}_{method}.zarr/zarr.json", "aggregate/{model}/{plate}/mean_maps.zarr.zip",
                 "aggregate/{model}/{plate}/object_maps.zarr.zip"):  # fmt: skip
        _touch(folder, RuleInputs(campaign).everywhere("results/{campaign}/" + path)({"campaign": campaign.name}))


def _touch(folder: Path, paths: list[str]) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def files_left(folder: Path) -> tuple[int, int]:
    """Run the tests' small campaign; return the files that it leaves and those that its dry run told of."""
    sys.path.insert(0, str(ROOT / "tests/helpers"))
    from planted_campaign import write_campaign as write_small

    inputs, place = folder / "small_inputs", folder / "small"
    inputs.mkdir(), place.mkdir()
    config = inputs / "config.yaml"
    config.write_text(yaml.safe_dump(write_small(inputs)))
    with chdir(place):
        told = cost.costs(Campaign.load(yaml.safe_load(config.read_text())))
    snakemake(place, "--configfile", str(config), "--quiet", "all")
    left = [path for part in ("results", ".snakemake") for path in (place / part).rglob("*") if path.is_file()]
    return len(left), sum(told.values(), cost.Cost()).files


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form has ten plates and starts one job."""
    plates, starts = (10, 1) if quick else (100, 5)
    size = f"{plates} plates"
    with tempfile.TemporaryDirectory() as place:
        folder, run = Path(place), Path(place) / "run"
        run.mkdir()
        config = write_campaign(folder / "inputs", plates)
        first = snakemake(run, "--dry-run", "--quiet", "--configfile", str(config))
        campaign = plan(run, config)
        jobs = sum(cost.costs(campaign, run / "results").values(), cost.Cost()).jobs
        again = snakemake(run, "--dry-run", "--quiet", "--configfile", str(config))
        half = write_campaign(folder / "half", plates // 2)
        (folder / "run_half").mkdir()
        smaller = snakemake(folder / "run_half", "--dry-run", "--quiet", "--configfile", str(half))
        pretend(run, campaign)
        empty, ours = empty_snakefile(folder), snakefile_of_a_job(folder)
        jobs_of = {count: one_job(folder, count) for count in (plates, 100 * plates)}
        turns = [start_job(run, config, "attribute:", empty).cpu for _ in range(starts)]
        above = {n: above_empty(job, (run, config, "attribute:"), (ours, empty), starts) for n, job in jobs_of.items()}
        last = start_job(run, config, "report:campaign=large", ours).cpu
        left, told = files_left(folder)
    alone = statistics.median(turns)
    a_plate = (first.cpu - smaller.cpu) / (plates - plates // 2)
    rows = [
        Row(f"dry run before anything is planned, {size}, {jobs} jobs", first.wall, "s", 60, "lower"),
        Row(f"dry run before anything is planned, {size}: peak memory", first.megabytes, "MB", 500, "lower"),
        Row(f"dry run of the planned campaign, {size}", again.wall, "s", 60, "lower"),
        Row(f"dry run of the planned campaign, {size}: peak memory", again.megabytes, "MB", 500, "lower"),
        Row("dry run: one plate more, processor", a_plate, "s", None, "lower"),
        Row("dry run: one plate more, memory", (first.megabytes - smaller.megabytes) / (plates - plates // 2), "MB", None, "lower"),
        *(Row(f"start of a job of attribute, {n} plates, above an empty Snakefile's, processor", cpu, "s", 1, "lower")
          for n, cpu in above.items()),
        Row("start of the report's job above an empty Snakefile's, processor", last - alone, "s", None, "lower"),
        Row("start of a job with an empty Snakefile, processor", alone, "s", None, "lower"),
        Row(f"files that a small campaign leaves ({left}) / those its dry run tells of", left / told, "x", 1, "lower"),
    ]  # fmt: skip
    report("campaign", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
