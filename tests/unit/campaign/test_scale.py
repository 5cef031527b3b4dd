"""What every job of a large campaign repeats stays small: it reads its own plate's plan, and imports nothing heavy."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "zarr", "dask", "pandas", "scipy", "matplotlib", "captum", "pyarrow"}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("campaign")


def test_a_job_of_a_campaign_of_5000_jobs_starts_within_a_second_of_an_empty_snakefile(benchmark: Any, tmp_path: Path) -> None:
    run, config, job = benchmark.one_job(tmp_path, 100)
    empty, ours = benchmark.empty_snakefile(tmp_path), benchmark.snakefile_of_a_job(tmp_path)
    alone = min(benchmark.start_job(run, config, "attribute:", empty).cpu for _ in range(2))
    began = min(benchmark.start_job(run, config, job, ours).cpu for _ in range(2))
    assert began - alone < 1.0


def test_a_job_imports_nothing_heavy_and_reads_no_other_plates_plan_or_map(benchmark: Any, tmp_path: Path) -> None:
    run, config, job = benchmark.one_job(tmp_path, 3)
    for unread in ("p0001.csv", "p0002.csv"):
        (config.parent / unread).unlink()
    output = benchmark.start_job(run, config, job, benchmark.snakefile_of_a_job(tmp_path)).told
    (imported,) = [line for line in output.splitlines() if line.startswith("IMPORTED ")]
    assert {"pcim", "snakemake"} <= set(imported.split())
    assert not HEAVY & set(imported.split())
    assert [file.name for file in (run / "results/large/plan").iterdir()] == ["p0000.json"]
