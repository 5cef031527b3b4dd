"""Plan a plate: what it holds, and which wells each job works on. A plan is written once and kept.

A first run plans from the plates' metadata; jobs and later runs read the plan. Chunks that are written never change: a plate
that gains wells gets new chunks for them, and new settings hold for plates that are planned later.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from pcim.campaign.chunk_size import ChunkSizes, finished_jobs, plan_chunks, slowest
from pcim.campaign.layout import plan_file, results_of
from pcim.campaign.plan_file import PlatePlan, read_plan
from pcim.plates import ngff
from pcim.plates.inventory import Survey, metadata_digest, survey_plate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pcim.campaign.input_tables import PlateEntry
    from pcim.classifiers.contract import Contract
    from pcim.config.config import Config
    from pcim.core.plate_source import Source


def plan_plate(source: Source, known: PlatePlan | None, size: Callable[[Survey, Collection[str], int], tuple[int, str]]) -> PlatePlan:
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
            f"{source.address}: wells {lost} were planned and are gone from the plate; sources must not change while a campaign uses them"
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
            plan = read_plan(plan_file(results_of(config.campaign), name))
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
