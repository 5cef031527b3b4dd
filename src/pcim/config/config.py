"""Choices: every setting of a campaign, with its meaning, unit, default and bound. `config/README.md` is made from it.

The models are frozen and refuse unknown keys. Threads, memory, partitions and GPUs are no choices about the science: they
live in the profiles.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic needs the name at run time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pcim.budget_settings import BudgetSettings
from pcim.config.base import CALL, Distinct, Name, Part, PlainName, Settings, exactly_one
from pcim.config.methods import PEER_CHOICES, Background, Method, PcimSettings, PeerSettings
from pcim.config.report import DoubtSettings, ReadingSettings
from pcim.config.stages import ClassifySettings
from pcim.core.vocabulary import OWN_REGIONS
from pcim.crate_settings import Person  # noqa: TC001 - pydantic needs the name at run time

if TYPE_CHECKING:
    from collections.abc import Mapping

Substitute = Literal["mean", "blur", "median", "noise", "road"]
Verdict = Literal["empty", "saturated", "clipped", "constant", "out_of_focus", "suspect", "missing", "truncated", "nan"]


class Select(Settings):
    """Which views are explained, where all would be too many. Each view's answer depends on that view alone."""

    where: dict[str, list[str]] = Field(
        {}, description="Plate map columns and the values that pass, e.g. {split: [test]}."
    )
    fraction: float = Field(1.0, gt=0, le=1, description="Share of the views that pass, drawn by a key of the view.")
    controls: bool = Field(True, description="Views of control wells always pass `fraction`.")
    per_well: int | None = Field(
        None, ge=1, description="At most so many views a well (none: all), drawn by a key of the view."
    )


class Region(Settings):
    """A named part of a view: the objects of a label image, or a band along the boundary of a label."""

    label: Part | None = Field(None, description="A label image of the plate: the region is the inside of its objects.")
    boundary_of: Part | None = Field(
        None, description="A label image: the region is a band along its objects' boundary."
    )
    width_px: float = Field(4.0, gt=0, description="Half the width of that band, px of level 0.")

    _one = model_validator(mode="after")(exactly_one("label", "boundary_of"))


class Crops(Settings):
    """Where a classifier of crops (`view: object`) looks: around the objects of a label image, or places in a table."""

    label: Part | None = Field(None, description="A label image of the plate: a crop around each of its objects.")
    table: Path | None = Field(
        None, description="CSV with columns well, field, y, x (px of level 0), maybe object, plate."
    )

    _one = model_validator(mode="after")(exactly_one("label", "table"))


class ClassifierSettings(Settings):
    """One classifier to explain, and what is known about the truth on its plates."""

    model: Path = Field(description="The classifier's model.yaml, relative to the folder that Snakemake runs in.")
    plates: Distinct[Name] = Field(min_length=1, description="Plates of plates.tsv that it classifies.")
    truth: str | None = Field(None, description="Plate map column with the true class (empty where it is unknown).")
    split: str | None = Field(
        None, description="Plate map column with 'train' or 'test': which wells the classifier has seen."
    )
    crops: Crops | None = Field(None, description="What `view: object` cuts its views around.")
    objects: Name | None = Field(None, description="The region that holds the biology, one of `regions`.")
    halo_px: float = Field(
        2.0,
        ge=0,
        description="Objects are exchanged with so much around them, pixels of the plate: as far as they reach beyond their label (docs/choosing.md).",
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


class IngestSettings(Settings):
    """Quality verdicts: which fields are not worth a classifier's time."""

    saturated_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="'saturated': more than this share of a channel sits at 255, 1023, 4095, 16383 or 65535, its highest value.",
    )
    clipped_share: float = Field(
        0.9, gt=0, le=1, description="'clipped': more than this share of a channel sits at 0, its lowest value."
    )
    empty_contrast: float = Field(
        4.0,
        ge=0,
        description="'empty': the brightest and darkest 0.5 % lie within so many noise units of the median, in every channel.",
    )
    focus: float = Field(
        0.001,
        ge=0,
        description="'out_of_focus': less than this share of the variance is detail of 1 to 2 px (Gaussian sigmas), in every channel.",
    )
    levels: int = Field(
        3, ge=1, le=8, description="Resolution levels of the OME-Zarr plate that a vendor's export is converted into."
    )
    accept: list[Literal["empty", "saturated", "clipped", "constant", "out_of_focus", "suspect"]] = Field(
        [], description="Verdicts that are recorded and nevertheless classified; what cannot be read never is."
    )


class AttributeSettings(Settings):
    """Attribution maps of the selected views by every method."""

    methods: Distinct[Method] = Field(
        [
            "pcim",
            "pcim_literal",
            "integrated_gradients",
            "grad_cam",
            "occlusion",
            "random",
            "edge",
            "contrast",
            "randomised_model",
        ],
        min_length=1,
        description="Methods whose maps are made, stored and scored.",
    )
    targets: Distinct[str] = Field(
        [CALL],
        min_length=1,
        max_length=8,
        description="What is explained, a layer of the maps each: 'call' (what the classifier says) or a class's name. The first is scored and reported.",
    )
    select: Select = Field(Select(), description="Which views are explained.")
    background: Background = Field(
        "auto",
        description="What a pixel becomes where a method takes it away: the training mean, a blur, or auto: PCIM keeps over a blur and drops into the mean, a peer takes the mean for tiles and a blur for fields.",
    )
    blur: float = Field(0.125, gt=0, le=1, description="Standard deviation of that blur, share of the view's height.")
    pcim: PcimSettings = Field(PcimSettings(), description="PCIM's default preset.")
    peers: PeerSettings = Field(PeerSettings(), description="The methods that PCIM is compared with.")
    forward_passes: int = Field(
        1000,
        ge=128,
        description="Forward passes a view with which PCIM explains a classifier that is not differentiable.",
    )
    batch_size: int = Field(8, ge=1, description="Views learnt together; the last batch is padded to it.")
    dtype: Literal["float32", "float16"] = Field("float32", description="How maps are stored.")
    levels: int = Field(3, ge=1, le=8, description="Resolution levels of the stored maps.")
    top_percent: float = Field(
        5.0, gt=0, lt=100, description="The stored label marks this share of each view, the map's highest pixels."
    )

    def of_method(self, method: str) -> dict[str, Any]:
        """Return what one method's maps depend on, in plain form: a change of another method's settings is none of it."""
        apart = {"select", "methods", "targets", "batch_size", "peers", "pcim", "forward_passes"}
        chosen = self.model_dump(mode="json", exclude=apart)
        if method in {"pcim", "randomised_model"}:
            chosen["pcim"] = self.pcim.model_dump(mode="json")
        if method == "pcim" and self.forward_passes != type(self).model_fields["forward_passes"].default:
            chosen["forward_passes"] = self.forward_passes  # as by default, it is no part of maps made without it
        if method in PEER_CHOICES:
            chosen["peers"] = self.peers.model_dump(mode="json", include=PEER_CHOICES[method])
        return chosen


class AggregateSettings(Settings):
    """Mean maps and the share of attribution in each region."""

    mean_maps: Distinct[Literal["call", "treatment", "dose", "well"]] = Field(
        ["call", "treatment", "dose", "well"],
        description="Groups whose mean maps are stored: `call` of every method, the others of the method that is read (PCIM, or the first without it). `dose` is a treatment at a dose.",
    )
    mean_map_px: int = Field(
        256, ge=8, le=4096, description="Longest side of a mean map of whole views, px; larger views are resized to it."
    )
    object_window_px: int = Field(
        64,
        ge=3,
        le=256,
        description="Side of the window around each object's centroid in the object-centred mean maps, px of level 0; an even one has a pixel more before the centroid than behind.",
    )
    objects_per_view: int = Field(
        500, ge=1, description="At most so many objects a view are averaged, drawn by a key of the view."
    )


class EvaluateSettings(Settings):
    """Fidelity and localization of every map and its controls, and the interventions."""

    steps: int = Field(
        10, ge=2, description="Even steps of the curves, beside the points at 1, 5, 10, 20 and 50 % of the pixels."
    )
    substitutes: Distinct[Substitute] = Field(
        ["mean", "blur", "noise", "road"],
        min_length=1,
        description="What removed pixels become: the training mean, a blur, the view's median, that with the view's own noise, or noisy linear interpolation (road).",
    )
    blur: float = Field(
        0.06, gt=0, le=1, description="Standard deviation of the blur substitute, share of the view's height."
    )
    control_blur: float = Field(
        0.03, gt=0, le=1,
        description="Standard deviation of the blur of a method's own map, a control that it must beat, share of the view's height.",
    )  # fmt: skip
    sets: int = Field(
        20, ge=2, description="Random sets of cells of each of six sizes, removed for sensitivity-n and infidelity."
    )
    batch_size: int = Field(32, ge=1, description="Images a forward pass.")
    intervention_views: int = Field(
        200, ge=2, description="At most so many explained views a classifier take part in the exchanges."
    )
    partners: int = Field(
        2, ge=1, description="Views of another call with which each explained view exchanges a region."
    )
    frame: float = Field(
        0.08, gt=0, lt=0.25,
        description="Depth of the view's frame, and half the side of its corners, share of its shorter side: regions by geometry that are exchanged too.",
    )  # fmt: skip
    map_top: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="The highest pixels of the first method's map that are exchanged, share of the view.",
    )


class ReportSettings(Settings):
    """The page."""

    title: str = Field("What the classifiers look at", max_length=120, description="Title of the report.")
    panels: int = Field(4, ge=1, le=40, description="Example views shown a classifier.")
    doubtful: int = Field(4, ge=0, le=40, description="Views in doubt shown a classifier, those most in doubt first.")
    plates_on_page: int = Field(
        4, ge=0, description="A campaign of more plates gets a page a plate; the first page then lists them."
    )
    listed_views: int = Field(
        20_000,
        ge=1,
        description="Most explained views listed a plate and classifier, those most in doubt first.",
    )
    draws: int = Field(10_000, ge=100, description="Bootstrap draws of the intervals (resampled by well).")
    reading: ReadingSettings = Field(ReadingSettings(), description="Where a number becomes a word.")
    doubt: DoubtSettings = Field(DoubtSettings(), description="Which images are named as doubtful.")


class Config(Settings):
    """A whole campaign."""

    campaign: PlainName = Field(description="Name of the campaign: results go to results/{campaign}.")
    plates: Path = Field(description="Table of the plates: columns plate, path, platemap (tab separated).")
    minutes_per_chunk: float = Field(
        30.0,
        gt=0,
        description="A plate is cut into chunks of whole wells, so that the slowest method's job on one lasts about so long: decided when the plate is first planned.",
    )
    jobs_per_plate: int = Field(
        49,
        ge=1,
        description="Most jobs of a plate, all classifiers, methods and stages together: chunks are larger where there would be more. One chunk is the least.",
    )
    wells_per_chunk: int | None = Field(
        None, ge=1, description="Whole wells a chunk, whatever the two above say (none: by them)."
    )
    max_failed: float = Field(0.2, ge=0, le=1, description="A job fails when more than this share of its views failed.")
    classifiers: dict[Name, ClassifierSettings] = Field(
        min_length=1, description="The classifiers to explain, by name."
    )
    people: list[Person] = Field([], description="Who answers for the campaign: name, orcid, affiliation each.")
    licence: str = Field(
        "", max_length=256, description="Licence of the results, a URL or SPDX's name (none: not stated)."
    )
    ingest: IngestSettings = IngestSettings()
    classify: ClassifySettings = ClassifySettings()
    attribute: AttributeSettings = AttributeSettings()
    aggregate: AggregateSettings = AggregateSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
    budget: BudgetSettings = BudgetSettings()


def regions_of(values: Mapping[str, Any]) -> dict[str, Region]:
    """Return the named regions of a classifier from their plain form."""
    return {name: Region.model_validate(value) for name, value in values.items()}
