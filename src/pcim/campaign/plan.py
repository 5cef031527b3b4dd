"""The plan: what each plate holds and which wells each job works on, written once and kept.

A first run plans from the plates' metadata; jobs and later runs read the plan. Chunks that are written never change: a plate
that gains wells gets new chunks for them, and new settings hold for plates that are planned later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.campaign.chunk_size import ChunkSizes, finished_jobs, slowest
from pcim.core.plate_source import Source
from pcim.core.tiling import plan_chunks
from pcim.plates import ngff
from pcim.plates.inventory import Survey, metadata_digest, survey_plate
from pcim.runtime.atomic_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from pcim.campaign.input_tables import PlateEntry
    from pcim.classifiers.contract import Contract
    from pcim.config.config import Config

FORM = 2
"""The form of a plan file; another one is refused, not guessed at."""


@dataclass(frozen=True)
class PlatePlan:
    """What is planned for one plate: its source, what its metadata says, and chunk -> wells.

    `basis` says, a sentence each time that wells were planned, why the chunks are as large as they are.
    """

    source: Source
    survey: Survey
    chunks: Mapping[str, list[str]]
    basis: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the plan, whole or not at all."""
        content = {
            "form": FORM,
            "source": self.source.plain(),
            "basis": self.basis,
            "survey": self.survey.plain(),
            "chunks": dict(self.chunks),
        }
        with whole_file(path) as hidden:
            hidden.write_text(json.dumps(content, indent=1), encoding="utf-8")


def plan_file(campaign: str, plate: str) -> Path:
    """Return where a plate's plan lies."""
    return Path("results") / campaign / "plan" / f"{plate}.json"


def read_plan(path: Path) -> PlatePlan | None:
    """Read a plan; None where there is none yet.

    Raises
    ------
    ngff.NgffError
        When the file is no plan of this form.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ngff.NgffError(f"{path}: not readable as a plan: {error}; delete it to plan the plate anew") from error
    if not isinstance(content, dict) or content.get("form") != FORM:
        raise ngff.NgffError(f"{path}: a plan of another version; delete it to plan the plate anew")
    return PlatePlan(
        Source.of(content["source"]), Survey.of(content["survey"]), content["chunks"], tuple(content.get("basis", ()))
    )


def plan_plate(
    source: Source, known: PlatePlan | None, size: Callable[[Survey, Collection[str], int], tuple[int, str]]
) -> PlatePlan:
    """Return the plan of a plate: the known one while the plate's own metadata is the same, else one that keeps its chunks.

    `size` is asked about wells that are new, with the survey and the number of chunks planned before: the most wells a chunk,
    and why.

    Raises
    ------
    ngff.NgffError
        When the plate cannot be read, or has lost wells that were planned.
    """
    if known is not None and known.source == source and known.survey.digest == metadata_digest(source):
        return known
    survey = survey_plate(source)
    kept = dict(known.chunks) if known is not None else {}
    basis = known.basis if known is not None else ()
    planned = {well for wells in kept.values() for well in wells}
    lost = sorted(planned - survey.wells.keys())
    if lost:
        raise ngff.NgffError(
            f"{source.address}: wells {lost} were planned and are gone from the plate; sources must not change while a "
            "campaign uses them"
        )
    new = survey.wells.keys() - planned
    if not new:
        return PlatePlan(source, survey, kept, basis)
    wells_per_chunk, why = size(survey, new, len(kept))
    return PlatePlan(source, survey, kept | plan_chunks(new, wells_per_chunk), (*basis, why))


def plan_plates(
    config: Config, plates: Mapping[str, PlateEntry], contracts: Mapping[str, Contract], faults: list[str]
) -> dict[str, PlatePlan]:
    """Return the plan of every plate, known, made or grown; a plate for which that cannot be is left out, with a fault."""
    known: dict[str, PlatePlan] = {}
    sound = []
    for name in plates:
        try:
            plan = read_plan(plan_file(config.campaign, name))
        except ngff.NgffError as error:
            faults.append(f"plate {name!r}: {error}")
            continue
        sound.append(name)
        if plan is not None:
            known[name] = plan
    sizes = ChunkSizes(config, contracts, cache(lambda: slowest(finished_jobs(config, contracts, plates, known))))
    found = {}
    for name in sound:
        try:
            found[name] = plan_plate(plates[name].source, known.get(name), partial(sizes.of, plates[name]))
        except (ValueError, OSError) as error:
            faults.append(f"plate {name!r}: {error}")
    return found


class Plans(Mapping[str, PlatePlan]):
    """The plans that a run has written, each read when it is first asked for: a job needs its own plate's alone."""

    def __init__(self, campaign: str, plates: Iterable[str]) -> None:
        self._campaign, self._plates = campaign, dict.fromkeys(plates)
        self._read: dict[str, PlatePlan] = {}

    def __getitem__(self, plate: str) -> PlatePlan:
        """Return a plate's plan.

        Raises
        ------
        ngff.NgffError
            When no run has planned the plate, or its plan cannot be read.
        """
        if plate not in self._plates:
            raise KeyError(plate)
        if plate not in self._read:
            file = plan_file(self._campaign, plate)
            plan = read_plan(file)
            if plan is None:
                raise ngff.NgffError(f"plate {plate!r}: {file}: no plan; a run writes it before its first job")
            self._read[plate] = plan
        return self._read[plate]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plates)

    def __len__(self) -> int:
        return len(self._plates)
