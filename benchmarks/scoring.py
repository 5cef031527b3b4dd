"""Scores of maps, and what can be said about their differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pcim import metrics
from pcim.composites.baselines import make_background
from pcim.composites.gaussian_blur import gaussian_blur
from pcim.report.analysis.intervals import bootstrap_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from materials import Material
    from torch import Tensor

STEPS, BATCH, BLUR = 16, 64, 0.06
GIVEN = ("mean", "blur")  # substitutes of the kind that some methods are given as background
UNSEEN = ("median", "noise")  # and those that no method has ever seen
LOCALIZATION = (
    metrics.relevance_mass_accuracy, metrics.relevance_rank_accuracy, metrics.pointing_game, metrics.auprc,
)  # fmt: skip


def substitute(images: Tensor, kind: str) -> Tensor:
    """Return what deleted pixels become: a background of `pcim.composites.baselines`, or the median with the image's own fine noise."""
    if kind != "noise":
        return make_background(images, kind, BLUR)  # type: ignore[arg-type]
    fine = images - gaussian_blur(images, 1.0, edges="reflect")
    spread = 1.4826 * fine.flatten(2).abs().median(2).values[..., None, None]
    lots = [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(n)) for n in range(len(images))]
    return make_background(images, "median", BLUR) + spread * torch.stack(lots)


def fidelity(classifier: Any, material: Material, maps: Tensor, kinds: Sequence[str]) -> Tensor:
    """Return insertion AUC - deletion AUC (n,), in [-1, 1], higher = better, mean over the substitutes."""
    views = torch.arange(len(maps))
    probe = metrics.Probe(classifier, material.images, material.targets, BATCH)
    fills: dict[str, metrics.Fill] = {kind: metrics.FixedFill(material.images, substitute(material.images, kind)) for kind in kinds}
    found = metrics.curves(probe, maps, views, fills, keys=views, steps=STEPS, shares=())
    return torch.stack([metrics.morf_lerf(curves).gain for curves in found.values()]).mean(0)


def localization(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the mean of relevance mass, relevance rank, pointing game and AUPRC (n,), in [0, 1]; NaN without a mask.

    A map of zeros points nowhere: its relevance mass counts as 0.
    """
    scores = torch.stack([metric(maps, masks) for metric in LOCALIZATION]).nan_to_num(0.0)
    return torch.where(masks.flatten(1).any(1), scores.mean(0), torch.nan)


@dataclass(frozen=True)
class Difference:
    """A mean paired difference of n values with its 95 % interval, and the two-sided p-value of none."""

    mean: float
    low: float
    high: float
    n: int
    p: float


def paired(differences: np.ndarray, units: Sequence[str], draws: int) -> Difference:
    """Return the mean difference by a BCa bootstrap over units (images, or wells), NaN left out."""
    found = bootstrap_means(differences[:, np.newaxis], units, draws=draws)
    return Difference(*(float(part[0]) for part in (found.mean, found.low, found.high)), int(found.n[0]), float(found.p[0]))
