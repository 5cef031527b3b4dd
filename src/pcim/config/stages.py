"""Settings of the stages `ingest`, `classify`, `attribute`, `aggregate` and `evaluate`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pcim.config.base import CALL, Digest, Distinct, Name, Settings
from pcim.config.classifier import Select
from pcim.config.methods import PEER_CHOICES, Background, Method, PcimSettings, PeerSettings


class ClassifySettings(Settings):
    """The frozen classifier over every view."""

    batch_size: int = Field(32, ge=1, description="Views a forward pass; the last batch is padded to it.")
    trusted_packages: list[Name] = Field(
        ["pcim"], description="Python packages that a model.yaml may name as `architecture`: their code is run."
    )
    trusted_programs: list[Digest] = Field(
        [],
        description="SHA-256 of the TorchScript and torch.export files that a model.yaml may name as `weights`: loading them runs code "
        "that they hold.",
    )

    @property
    def trusted_code(self) -> list[str]:
        """What code of classifiers may be run: packages by name, files by digest."""
        return [*self.trusted_packages, *self.trusted_programs]


Substitute = Literal["mean", "blur", "median", "noise", "road"]
QualityVerdict = Literal["empty", "saturated", "clipped", "constant", "out_of_focus", "suspect", "missing", "truncated", "nan"]


class IngestSettings(Settings):
    """Quality verdicts: which fields are not worth a classifier's time."""

    saturated_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="'saturated': more than this share of a channel sits at 255, 1023, 4095, 16383 or 65535, its highest value.",
    )
    clipped_share: float = Field(0.9, gt=0, le=1, description="'clipped': more than this share of a channel sits at 0, its lowest value.")
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
    levels: int = Field(3, ge=1, le=8, description="Resolution levels of the OME-Zarr plate that a vendor's export is converted into.")
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
        description="What is explained, a layer of the maps each: 'call' (what the classifier says) or a class's name. The first is scored "
        "and reported.",
    )
    select: Select = Field(Select(), description="Which views are explained.")
    background: Background = Field(
        "auto",
        description="What a pixel becomes where a method takes it away: the training mean, a blur, or auto: PCIM keeps over a blur and "
        "drops into the mean, a peer takes the mean for tiles and a blur for fields.",
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
    top_percent: float = Field(5.0, gt=0, lt=100, description="The stored label marks this share of each view, the map's highest pixels.")

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
        description="Groups whose mean maps are stored: `call` of every method, the others of the method that is read (PCIM, or the first "
        "without it). `dose` is a treatment at a dose.",
    )
    mean_map_px: int = Field(
        256, ge=8, le=4096, description="Longest side of a mean map of whole views, px; larger views are resized to it."
    )
    object_window_px: int = Field(
        64,
        ge=3,
        le=256,
        description="Side of the window around each object's centroid in the object-centred mean maps, px of level 0; an even one has a "
        "pixel more before the centroid than behind.",
    )
    objects_per_view: int = Field(500, ge=1, description="At most so many objects a view are averaged, drawn by a key of the view.")


class EvaluateSettings(Settings):
    """Fidelity and localization of every map and its controls, and the interventions."""

    steps: int = Field(10, ge=2, description="Even steps of the curves, beside the points at 1, 5, 10, 20 and 50 % of the pixels.")
    substitutes: Distinct[Substitute] = Field(
        ["mean", "blur", "noise", "road"],
        min_length=1,
        description="What removed pixels become: the training mean, a blur, the view's median, that with the view's own noise, or noisy "
        "linear interpolation (road).",
    )
    blur: float = Field(0.06, gt=0, le=1, description="Standard deviation of the blur substitute, share of the view's height.")
    control_blur: float = Field(
        0.03, gt=0, le=1,
        description="Standard deviation of the blur of a method's own map, a control that it must beat, share of the view's height.",
    )  # fmt: skip
    sets: int = Field(20, ge=2, description="Random sets of cells of each of six sizes, removed for sensitivity-n and infidelity.")
    batch_size: int = Field(32, ge=1, description="Images a forward pass.")
    intervention_views: int = Field(200, ge=2, description="At most so many explained views a classifier take part in the exchanges.")
    partners: int = Field(2, ge=1, description="Views of another call with which each explained view exchanges a region.")
    frame: float = Field(
        0.08, gt=0, lt=0.25,
        description="Depth of the view's frame, and half the side of its corners, share of its shorter side: regions by geometry that are "
                    "exchanged too.",
    )  # fmt: skip
    map_top: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="The highest pixels of the first method's map that are exchanged, share of the view.",
    )
