"""Names in the tables: metrics and their direction, controls, and regions that no label gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BLURRED = "_blurred"
"""A method's name with this is the control of its own maps, blurred."""

OBJECTS_MASK, OTHER_VIEW = "objects_mask", "other_view"
"""Controls that are made where maps are scored: the mask of the objects itself, and the map of a view of another well."""

HOW = ("seconds", "device", "device_name", "batch_size")
"""How a view was computed: seconds a view, the device's type and name, and the shape of the batch. No report depends on it."""

PAIR_COLUMNS = ("classifier", "other", "method", "call", "other_call", "same_call", "agreement", "top_overlap")
"""What is measured of a view that two classifiers explained."""

SURROUNDINGS, FRAME, CORNERS, MAP_TOP = "surroundings", "frame", "corners", "map_top"
"""Regions that need no label: all but the objects (where it is more than the background), by geometry, the map's highest pixels."""

BACKGROUND, WHOLE = "background", "whole_view"
"""What no named region holds; and all of a view where none is named: it holds every map and its exchange turns every call, so nothing is
read from either.
"""

OWN_REGIONS = frozenset({BACKGROUND, WHOLE, SURROUNDINGS, FRAME, CORNERS, MAP_TOP})
"""Regions that every classifier may have, whose names no other may bear."""


@dataclass(frozen=True)
class Metric:
    """A metric: its name for readers, what it tells, and its direction (0: neither is better)."""

    name: str
    family: Literal["fidelity", "localization", "complexity"]
    better: Literal[-1, 0, 1]


METRICS = {
    "morf_lerf": Metric("symmetric relevance gain", "fidelity", 1),
    "deletion_auc": Metric("deletion AUC", "fidelity", -1),
    "insertion_auc": Metric("insertion AUC", "fidelity", 1),
    "road": Metric("ROAD", "fidelity", 1),
    "comprehensiveness": Metric("comprehensiveness", "fidelity", 1),
    "sufficiency": Metric("sufficiency", "fidelity", -1),
    "sensitivity_n": Metric("sensitivity-n", "fidelity", 1),
    "faithfulness_correlation": Metric("faithfulness correlation", "fidelity", 1),
    "infidelity": Metric("infidelity", "fidelity", -1),
    "relevance_mass_accuracy": Metric("relevance mass", "localization", 1),
    "relevance_rank_accuracy": Metric("rank accuracy", "localization", 1),
    "pointing_game": Metric("pointing game", "localization", 1),
    "top_k_intersection": Metric("top-k intersection", "localization", 1),
    "iou": Metric("IoU", "localization", 1),
    "auroc": Metric("AUROC", "localization", 1),
    "auprc": Metric("AUPRC", "localization", 1),
    "gini": Metric("Gini", "complexity", 0),
    "entropy": Metric("entropy", "complexity", 0),
    "effective_area": Metric("effective area", "complexity", 0),
    "agreement": Metric("agreement with the method read", "complexity", 0),
}

SHOWN = (
    "morf_lerf", "road", "sensitivity_n", "relevance_mass_accuracy", "relevance_rank_accuracy", "pointing_game", "auprc",
    "effective_area", "agreement",
)  # fmt: skip
"""The metrics that the page shows; the tables beside it hold all."""
