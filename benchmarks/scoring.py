"""Scores of maps, and what can be said about their differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pcim import metrics
from pcim.attribute.backgrounds import make_background
from pcim.attribute.blending import gaussian_blur

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
    """Return what deleted pixels become: a background of `pcim.attribute`, or the median with the image's own fine noise."""
    if kind != "noise":
        return make_background(images, kind, BLUR)  # type: ignore[arg-type]
    fine = images - gaussian_blur(images, 1.0)
    spread = 1.4826 * fine.flatten(2).abs().median(2).values[..., None, None]
    lots = [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(n)) for n in range(len(images))]
    return make_background(images, "median", BLUR) + spread * torch.stack(lots)


def fidelity(classifier: Any, material: Material, maps: Tensor, kinds: Sequence[str]) -> Tensor:
    """Return insertion AUC - deletion AUC (n,), in [-1, 1], higher = better, mean over the substitutes."""
    keys, found = torch.arange(len(maps)), []
    for kind in kinds:
        deletion, insertion = metrics.perturbation_curves(
            classifier, material.images, maps, material.targets, substitute(material.images, kind),
            steps=STEPS, keys=keys, batch_size=BATCH,
        )  # fmt: skip
        pixels = maps[0].numel()
        found.append(metrics.area_under(insertion, pixels) - metrics.area_under(deletion, pixels))
    return torch.stack(found).mean(0)


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
    """Return the mean difference by a percentile bootstrap over units (images, or wells), NaN left out."""
    known = ~np.isnan(differences)
    _, codes = np.unique(np.asarray(units)[known], return_inverse=True)
    sums, counts = np.bincount(codes, weights=differences[known]), np.bincount(codes)
    lot = np.random.default_rng(0)
    drawn = lot.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    p = min(1.0, 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (draws + 1))
    return Difference(float(sums.sum() / counts.sum()), float(low), float(high), int(known.sum()), float(p))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979)."""
    order = np.argsort(p)
    stepped = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(stepped))
    return [float(value) for value in corrected[np.argsort(order)]]
