"""The plan of a plate as a file: written once by a run, read by its jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcim.campaign import layout
from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.inventory import Survey
from pcim.runtime.atomic_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


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
            "source": self.source.to_dict(),
            "basis": self.basis,
            "survey": self.survey.to_dict(),
            "chunks": dict(self.chunks),
        }
        with whole_file(path) as hidden:
            hidden.write_text(json.dumps(content, indent=1), encoding="utf-8")


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
        Source.from_dict(content["source"]), Survey.from_dict(content["survey"]), content["chunks"], tuple(content.get("basis", ()))
    )


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
            file = layout.plan_file(layout.results_of(self._campaign), plate)
            plan = read_plan(file)
            if plan is None:
                raise ngff.NgffError(f"plate {plate!r}: {file}: no plan; a run writes it before its first job")
            self._read[plate] = plan
        return self._read[plate]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plates)

    def __len__(self) -> int:
        return len(self._plates)
