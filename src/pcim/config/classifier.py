"""Settings of a classifier: its plates, views, regions, and which of its views are explained."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic needs the name at run time
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pcim.config.base import Distinct, Name, Part, Settings, exactly_one
from pcim.core.vocabulary import OWN_REGIONS

if TYPE_CHECKING:
    from collections.abc import Mapping


class Select(Settings):
    """Which views are explained, where all would be too many. Each view's answer depends on that view alone."""

    where: dict[str, list[str]] = Field({}, description="Plate map columns and the values that pass, e.g. {split: [test]}.")
    fraction: float = Field(1.0, gt=0, le=1, description="Share of the views that pass, drawn by a key of the view.")
    controls: bool = Field(True, description="Views of control wells always pass `fraction`.")
    per_well: int | None = Field(None, ge=1, description="At most so many views a well (none: all), drawn by a key of the view.")


class Region(Settings):
    """A named part of a view: the objects of a label image, or a band along the boundary of a label."""

    label: Part | None = Field(None, description="A label image of the plate: the region is the inside of its objects.")
    boundary_of: Part | None = Field(None, description="A label image: the region is a band along its objects' boundary.")
    width_px: float = Field(4.0, gt=0, description="Half the width of that band, px of level 0.")

    _one = model_validator(mode="after")(exactly_one("label", "boundary_of"))


class Crops(Settings):
    """Where a classifier of crops (`view: object`) looks: around the objects of a label image, or places in a table."""

    label: Part | None = Field(None, description="A label image of the plate: a crop around each of its objects.")
    table: Path | None = Field(None, description="CSV with columns well, field, y, x (px of level 0), maybe object, plate.")

    _one = model_validator(mode="after")(exactly_one("label", "table"))


class ClassifierSettings(Settings):
    """One classifier to explain, and what is known about the truth on its plates."""

    model: Path = Field(description="The classifier's model.yaml, relative to the folder that Snakemake runs in.")
    plates: Distinct[Name] = Field(min_length=1, description="Plates of plates.tsv that it classifies.")
    truth: str | None = Field(None, description="Plate map column with the true class (empty where it is unknown).")
    split: str | None = Field(None, description="Plate map column with 'train' or 'test': which wells the classifier has seen.")
    crops: Crops | None = Field(None, description="What `view: object` cuts its views around.")
    objects: Name | None = Field(None, description="The region that holds the biology, one of `regions`.")
    halo_px: float = Field(
        2.0,
        ge=0,
        description="Objects are exchanged with so much around them, pixels of the plate: as far as they reach beyond their label "
        "(docs/choosing.md).",
    )
    regions: dict[Name, Region] = Field(
        {},
        description="Named regions, first come first served; the rest is 'background'. None: maps are not measured by region.",
    )
    select: Select | None = Field(None, description="Overrides `attribute.select` for this classifier.")

    @model_validator(mode="after")
    def _known_objects(self) -> ClassifierSettings:
        if self.objects is not None and self.objects not in self.regions:
            raise ValueError(f"objects: {self.objects!r} is not one of the regions {sorted(self.regions)}")
        if taken := sorted(OWN_REGIONS & self.regions.keys()):
            raise ValueError(f"regions: {taken} are regions that every classifier has; they cannot be defined")
        return self


def regions_of(values: Mapping[str, Any]) -> dict[str, Region]:
    """Return the named regions of a classifier from their plain form."""
    return {name: Region.model_validate(value) for name, value in values.items()}
