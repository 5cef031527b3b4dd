"""The config of a campaign: each setting with its meaning, unit, default and bound. `config/README.md` is made from it.

The models are frozen and refuse unknown keys. Threads, memory, partitions and GPUs are no choices about the science: they
live in the profiles.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic needs the name at run time
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from pcim.config.base import Name, PlainName, Settings
from pcim.config.classifier import ClassifierSettings  # noqa: TC001 - pydantic needs the name at run time
from pcim.config.report import ReportSettings
from pcim.config.stages import AggregateSettings, AttributeSettings, ClassifySettings, EvaluateSettings, IngestSettings


def _check_orcid(orcid: str) -> str:
    """Refuse an ORCID whose last character is not the check character of the others (ISO 7064, MOD 11-2)."""
    digits, total = orcid.replace("-", ""), 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    if digits[-1] != ("X" if check == 10 else str(check)):  # noqa: PLR2004 - X stands for 10
        raise ValueError(f"{orcid!r} is no ORCID: its last character does not check the others")
    return orcid


Orcid = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$"), AfterValidator(_check_orcid)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]


class Person(Settings):
    """Somebody who answers for a campaign."""

    name: Line = Field(description="Name.")
    orcid: Orcid | None = Field(None, description="ORCID, 0000-0002-1825-0097.")
    affiliation: Line | None = Field(None, description="Where this person works.")


class BudgetSettings(Settings):
    """What a campaign may cost: a run that would cost more is refused before its first job (none: no limit)."""

    max_jobs: int | None = Field(None, ge=1, description="Jobs.")
    max_files: int | None = Field(None, ge=1, description="Files of every kind: maps, tables, logs, locks, Snakemake's own records.")
    max_gb: float | None = Field(None, gt=0, description="Size of the plates of maps before compression, 10^9 bytes.")
    max_hours: float | None = Field(
        None,
        gt=0,
        description="Time of the devices that make the maps, GPU-hours on GPUs; the other stages are not counted.",
    )
    seconds_per_view: float = Field(
        1.0,
        gt=0,
        description="Time of a map, of one view by one method for one target, that is assumed until the campaign has measured it.",
    )

    @property
    def is_limited(self) -> bool:
        """Whether there is a quota at all."""
        return any(getattr(self, name) is not None for name in ("max_jobs", "max_files", "max_gb", "max_hours"))


class Config(Settings):
    """A whole campaign."""

    campaign: PlainName = Field(description="Name of the campaign: results go to results/{campaign}.")
    plates: Path = Field(description="Table of the plates: columns plate, path, platemap (tab separated).")
    minutes_per_chunk: float = Field(
        30.0,
        gt=0,
        description="A plate is cut into chunks of whole wells, so that the slowest method's job on one lasts about so long: decided when "
        "the plate is first planned.",
    )
    jobs_per_plate: int = Field(
        49,
        ge=1,
        description="Most jobs of a plate, all classifiers, methods and stages together: chunks are larger where there would be more. One "
        "chunk is the least.",
    )
    wells_per_chunk: int | None = Field(None, ge=1, description="Whole wells a chunk, whatever the two above say (none: by them).")
    max_failed: float = Field(0.2, ge=0, le=1, description="A job fails when more than this share of its views failed.")
    classifiers: dict[Name, ClassifierSettings] = Field(min_length=1, description="The classifiers to explain, by name.")
    people: list[Person] = Field([], description="Who answers for the campaign: name, orcid, affiliation each.")
    licence: str = Field("", max_length=256, description="Licence of the results, a URL or SPDX's name (none: not stated).")
    ingest: IngestSettings = IngestSettings()
    classify: ClassifySettings = ClassifySettings()
    attribute: AttributeSettings = AttributeSettings()
    aggregate: AggregateSettings = AggregateSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
    budget: BudgetSettings = BudgetSettings()
