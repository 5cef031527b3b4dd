"""Choices about what a campaign may cost."""

from __future__ import annotations

from pydantic import Field

from pcim.config.base import Settings


class BudgetSettings(Settings):
    """What a campaign may cost: a run that would cost more is refused before its first job (none: no limit)."""

    max_jobs: int | None = Field(None, ge=1, description="Jobs.")
    max_files: int | None = Field(
        None, ge=1, description="Files of every kind: maps, tables, logs, locks, Snakemake's own records."
    )
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
