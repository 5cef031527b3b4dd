"""How many wells a chunk gets, from the time per map that this campaign has measured."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING

from pcim.campaign.layout import RESULTS, find_benchmarks, jobs_per
from pcim.campaign.workload import Workload
from pcim.core.identity import well_order
from pcim.plates.vendors import OMEZARR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from pcim.campaign.input_tables import PlateEntry
    from pcim.campaign.plan_file import PlatePlan
    from pcim.classifiers.contract import Contract
    from pcim.config.config import Config
    from pcim.plates.inventory import Survey


@dataclass(frozen=True)
class TimedJob:
    """A finished job of `attribute`: whose it was, its time with start-up, and how many maps it was to make."""

    model: str
    method: str
    seconds: float
    maps: int


def finished_jobs(
    config: Config,
    contracts: Mapping[str, Contract],
    plates: Mapping[str, PlateEntry],
    plans: Mapping[str, PlatePlan],
    results: Path = RESULTS,
) -> Iterator[TimedJob]:
    """Yield the finished jobs of `attribute`, read from Snakemake's benchmark files."""
    found: dict[tuple[str, str, str], int] = {}
    for file, names in find_benchmarks(results / config.campaign, "attribute"):
        model, plate, chunk = of_chunk = names["model"], names["plate"], names["chunk"]
        if model not in contracts or plate not in config.classifiers[model].plates or plate not in plans:
            continue
        if chunk not in plans[plate].chunks:
            continue
        if of_chunk not in found:
            expected = Workload.from_config(config, model, contracts[model])
            found[of_chunk], _ = expected.maps(plates[plate], plans[plate].survey, plans[plate].chunks[chunk])
        with file.open(newline="") as handle:
            seconds = sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
        yield TimedJob(model, names["method"], seconds, found[of_chunk])


def slowest(jobs: Iterator[TimedJob]) -> dict[str, float]:
    """Return classifier -> seconds a map of its slowest method, the median of that method's jobs: all methods share chunks."""
    rates: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        if job.maps:
            rates.setdefault((job.model, job.method), []).append(job.seconds / job.maps)
    found: dict[str, float] = {}
    for (model, _), of_method in rates.items():
        found[model] = max(found.get(model, 0.0), median(of_method))
    return found


@dataclass(frozen=True)
class ChunkSizes:
    """How many wells a chunk gets where wells are planned now; `seconds` is asked then for classifier -> measured seconds a map."""

    config: Config
    contracts: Mapping[str, Contract]
    seconds: Callable[[], Mapping[str, float]]

    def of(self, entry: PlateEntry, survey: Survey, wells: Collection[str], planned: int) -> tuple[int, str]:
        """Return the most wells a chunk for these new wells of a plate that has `planned` chunks, and why, in words."""
        if self.config.wells_per_chunk is not None:
            return self.config.wells_per_chunk, f"{self.config.wells_per_chunk} wells a chunk, as wells_per_chunk says"
        maps, seconds, told = self._slowest(entry, survey, wells)
        target = 60 * self.config.minutes_per_chunk
        wanted = math.ceil(len(wells) / max(1, int(target / (maps * seconds)))) if maps else 1
        allowed = self._chunks_allowed(entry, planned)
        chunks = max(1, min(wanted, allowed))
        size = math.ceil(len(wells) / chunks)
        why = f"{size} wells a chunk, {size * maps * seconds / 60:.3g} minutes at {maps:.3g} maps a well and {told}"
        if wanted > allowed:
            why += (
                f"; {self.config.minutes_per_chunk:g} minutes a job would be more than jobs_per_plate ({self.config.jobs_per_plate}) allows"
            )
        return size, why

    def _slowest(self, entry: PlateEntry, survey: Survey, wells: Collection[str]) -> tuple[float, float, str]:
        """Return maps a well, seconds a map, and what that rests on, of the classifier whose jobs will last longest."""
        assumed, found = self.config.budget.seconds_per_view, []
        for model in self._seeing(entry):
            maps, _ = Workload.from_config(self.config, model, self.contracts[model]).maps(entry, survey, wells)
            seconds = self.seconds().get(model)
            basis = "measured" if seconds else "assumed (budget.seconds_per_view)"
            rate = seconds or assumed
            found.append((maps / len(wells), rate, f"{rate:.3g} s a map, {basis}"))
        return max(found, key=lambda one: one[0] * one[1], default=(0.0, assumed, "no classifier"))

    def _seeing(self, entry: PlateEntry) -> list[str]:
        return [name for name in self.contracts if entry.plate in self.config.classifiers[name].plates]

    def _chunks_allowed(self, entry: PlateEntry, planned: int) -> int:
        """Return how many chunks more the plate may have."""
        models = self._seeing(entry)
        of_plate = jobs_per("plate", {"convert"} if entry.source.format != OMEZARR else ())
        of_plate += len(list(combinations(models, 2))) * jobs_per("pair")
        of_plate += sum(jobs_per("model and plate", self._needs(name)) for name in models)
        of_chunk = len(models) * (jobs_per("chunk") + len(self.config.attribute.methods) * jobs_per("method and chunk"))
        return (self.config.jobs_per_plate - of_plate) // max(1, of_chunk) - planned

    def _needs(self, model: str) -> set[str]:
        """Return the rules that a classifier needs beyond those that all need."""
        needs = {
            "intensities": self.contracts[model].input.percentiles,
            "objects": self.config.classifiers[model].crops,
        }
        return {rule for rule, why in needs.items() if why is not None}


def plan_chunks(wells: Iterable[str], wells_per_chunk: int) -> dict[str, list[str]]:
    """Group a plate's wells, in plate order, into chunks of whole wells; a chunk is named by its first and last well."""
    ordered = sorted(set(wells), key=well_order)
    groups = [ordered[start : start + wells_per_chunk] for start in range(0, len(ordered), wells_per_chunk)]
    return {f"{group[0]}-{group[-1]}": group for group in groups}
