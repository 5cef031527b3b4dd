"""One form for every benchmark: ratios within one run, a printed table, a JSON file."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "zarr", "dask", "captum", "pcim")


@dataclass(frozen=True)
class Row:
    """One measured number, the bar that it should meet (None: reported only), and which side of the bar is good.

    `low` and `high` are the ends of its 95 % interval over `n` values, where it has one.
    """

    name: str
    value: float
    unit: str
    bar: float | None
    better: Literal["lower", "higher"]
    low: float | None = None
    high: float | None = None
    n: int | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.better == "lower" else self.value >= self.bar


def options(description: str) -> argparse.Namespace:
    """Read the two options that every benchmark has: `quick` and `write`."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps and repeats; nothing is written")
    parser.add_argument("--write", action="store_true", help="write the results of the quick form too")
    return parser.parse_args()


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired_ratio(work: Callable[[], object], reference: Callable[[], object], repeats: int) -> float:
    """Return the median of time(work) / time(reference), measured in turns so that a busy machine slows both alike."""
    work(), reference()  # first calls warm caches
    return statistics.median(seconds(work) / seconds(reference) for _ in range(repeats))


def machine() -> str:
    """Name the processor, the number of cores and the system."""
    models = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {len(models) or '?'} cores, {platform.system()}"


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


def report(name: str, rows: Sequence[Row], quick: bool, write: bool = False) -> None:
    """Print the table; write ``results/{name}.json`` in the full form, and in the quick one where `write` asks for it."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        bar = "" if row.bar is None else f", bar {row.bar:g}: {'met' if row.met else 'MISSED'}"
        interval = "" if row.low is None else f"[{row.low:+.3f}, {row.high:+.3f}] n = {row.n}"
        print(f"{row.name:<{width}}  {row.value:8.3f} {row.unit:<10} {interval}  {row.better} is better{bar}")
    if quick and not write:
        print("quick form: not written")
        return
    git = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    versions = {package: version(package) for package in PACKAGES}
    content = {"machine": machine(), "versions": versions, "commit": commit, "rows": [asdict(row) for row in rows]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, default=float) + "\n")
    print(f"written: {RESULTS / f'{name}.json'}")
