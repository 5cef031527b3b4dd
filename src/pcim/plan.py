"""The plan: what each plate holds and which wells each job works on, written once and kept.

A first run plans from the plates' metadata; jobs and later runs read the plan. Chunks that are written never change: a plate
that gains wells gets new chunks for them, and new settings hold for plates that are planned later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim import ngff
from pcim.chunks import plan_chunks
from pcim.jobs import whole_file
from pcim.source import Source
from pcim.survey import Survey, metadata_digest, survey_plate

if TYPE_CHECKING:
    from collections.abc import Mapping

FORM = 2
"""The form of a plan file; another one is refused, not guessed at."""


@dataclass(frozen=True)
class PlatePlan:
    """What is planned for one plate: its source, what its metadata says, and chunk -> wells."""

    source: Source
    survey: Survey
    chunks: Mapping[str, list[str]]

    def write(self, path: Path) -> None:
        """Write the plan, whole or not at all."""
        content = {
            "form": FORM,
            "source": self.source.plain(),
            "survey": self.survey.plain(),
            "chunks": dict(self.chunks),
        }
        with whole_file(path) as partial:
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")


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
    return PlatePlan(Source.of(content["source"]), Survey.of(content["survey"]), content["chunks"])


def plan_plate(source: Source, known: PlatePlan | None, wells_per_chunk: int) -> PlatePlan:
    """Return the plan of a plate: the known one while the plate's own metadata is the same, else one that keeps its chunks.

    Raises
    ------
    ngff.NgffError
        When the plate cannot be read, or has lost wells that were planned.
    """
    if known is not None and known.source == source and known.survey.digest == metadata_digest(source):
        return known
    survey = survey_plate(source)
    kept = dict(known.chunks) if known is not None else {}
    planned = {well for wells in kept.values() for well in wells}
    lost = sorted(planned - survey.wells.keys())
    if lost:
        raise ngff.NgffError(
            f"{source.address}: wells {lost} were planned and are gone from the plate; sources must not change while a "
            "campaign uses them"
        )
    return PlatePlan(source, survey, kept | plan_chunks(survey.wells.keys() - planned, wells_per_chunk))
