"""Numbers for how much of a map lies in a mask, each with its chance level.

Ties are never broken by raster order, which would favour whatever lies at the top of the view. Every metric returns the expectation over
all ways to break them. A mask is True where the biology is, and higher is better everywhere. An empty mask has no score, NaN, and never a
hit. Every function raises ValueError where a map is not finite or the shapes differ.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.metrics.pixel_ranks import finite


def chance(masks: Bool[Tensor, "b h w"], metric: str = "relevance_mass_accuracy") -> Float[Tensor, " b"]:
    """Return what a random map scores in a metric of this module: for most, the share of the view inside the mask.

    `auroc`: one half. `iou`: a / (2 - a) for a share of a. That of `auprc` and `iou` lies a little higher where the mask has few pixels.
    """
    area = masks.flatten(1).double().mean(1).float()
    if metric == "auroc":
        return torch.full_like(area, 0.5)
    return area / (2 - area) if metric == "iou" else area


def lift(values: Float[Tensor, " b"], chances: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return value / chance: 1 = a random map; NaN where the value is NaN or chance is 0."""
    return torch.where(chances > 0, values / chances, torch.nan)


def relevance_mass_accuracy(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the share of the map's positive part inside the mask, in [0, 1], higher = better.

    Also called energy-based pointing game (Wang et al. 2020, Score-CAM, arXiv 1910.01279; Arras et al. 2022, CLEVR-XAI,
    arXiv 2003.07258). A full mask gives 1. NaN where the mask is empty or nothing of the map is positive.
    """
    values, inside = _pairs(maps, masks)
    positive = values.double().clamp(min=0)
    return _nan_where_empty((positive * inside).sum(1) / positive.sum(1), inside)


def relevance_rank_accuracy(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the share of the mask's n pixels that are among the map's n highest, in [0, 1], higher = better.

    Arras et al. 2022 (CLEVR-XAI, arXiv 2003.07258). A flat map scores exactly chance. A full mask gives 1, an empty one NaN.
    """
    values, inside = _pairs(maps, masks)
    size = inside.sum(1)
    return _nan_where_empty(_hits(values, inside, size) / size, inside)


def top_k_intersection(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"], k: int) -> Float[Tensor, " b"]:
    """Return the share of the map's k highest pixels that lie in the mask, in [0, 1], higher = better.

    Theiner et al. 2022 (arXiv 2104.14995). A mask of fewer than k pixels cannot reach 1.

    Raises
    ------
    ValueError
        When k is not from 1 to the number of pixels.
    """
    values, inside = _pairs(maps, masks)
    if not 1 <= k <= values.shape[1]:
        raise ValueError(f"k is {k}; allowed: 1 to the number of pixels, {values.shape[1]}")
    size = torch.full_like(inside.sum(1), k)
    return _nan_where_empty(_hits(values, inside, size) / k, inside)


def iou(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return intersection over union of the mask's n pixels and the map's n highest, in [0, 1], higher = better.

    Of tied pixels at the n-th place the expected number inside counts.
    """
    values, inside = _pairs(maps, masks)
    size = inside.sum(1)
    hits = _hits(values, inside, size)
    return _nan_where_empty(hits / (2 * size - hits), inside)


def auroc(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the probability that a pixel inside ranks above one outside, ties half, in [0, 1], higher = better; chance is 1/2.

    The area under the receiver operating characteristic (Mann & Whitney 1947). NaN where the mask is empty or full.
    """
    values, inside = _pairs(maps, masks)
    ranked, order = values.sort(dim=1)
    found = inside.gather(1, order)
    first, last = tied_places(ranked)
    n = inside.sum(1).double()
    ranks = ((first + last).double() / 2 * found).sum(1)  # of the pixels inside, from 1, tied ones sharing the mean
    area = (ranks - n * (n + 1) / 2) / (n * (values.shape[1] - n))
    return _nan_where_empty(area, inside)


def pointing_game(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the probability that the map's highest pixel lies in the mask, in [0, 1], higher = better.

    Zhang et al. 2018 (arXiv 1608.00507), without a tolerance. The highest pixel is drawn at random among equals, and
    this is the expected hit: the share of the maxima inside. Counting any maximum inside as a hit would let a flat map
    win everywhere, one drawn by a key would add noise. A flat map scores exactly chance; an empty mask gives NaN.
    """
    values, inside = _pairs(maps, masks)
    highest = values == values.amax(1, keepdim=True)
    return _nan_where_empty((highest & inside).sum(1).double() / highest.sum(1), inside)


def auprc(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the average precision of the map as a detector of the mask's pixels, in [0, 1], higher = better.

    The sum over thresholds of precision x gain in recall; tied pixels share one threshold (scikit-learn's
    ``average_precision_score``). A flat map scores exactly chance. A full mask gives 1, an empty one NaN.
    """
    values, inside = _pairs(maps, masks)
    ranked, order = values.sort(dim=1, descending=True)
    found = inside.gather(1, order)
    _, ends = tied_places(ranked)
    precision = found.cumsum(1).gather(1, ends - 1).double() / ends
    return _nan_where_empty((precision * found).sum(1) / inside.sum(1), inside)


def _hits(values: Tensor, inside: Tensor, size: Tensor) -> Tensor:
    """Return how many of each view's `size` highest pixels lie inside; of those tied at the last place, as many as are expected."""
    highest = values.sort(dim=1, descending=True).values
    threshold = highest.gather(1, (size[:, None] - 1).clamp(min=0))
    above, tied = values > threshold, values == threshold
    left = size - above.sum(1)
    return (above & inside).sum(1) + left * (tied & inside).sum(1).double() / tied.sum(1)


def tied_places(ranked: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each place in sorted values (b, n), the first and the last place, from 1, with the same value."""
    place = torch.arange(1, ranked.shape[1] + 1, device=ranked.device).expand_as(ranked)
    differs = ranked[:, :-1] != ranked[:, 1:]
    edge = torch.ones_like(differs[:, :1])
    first = torch.where(torch.cat([edge, differs], 1), place, 1).cummax(1).values
    last = torch.where(torch.cat([differs, edge], 1), place, ranked.shape[1]).flip(1).cummin(1).values.flip(1)
    return first, last


def _pairs(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps and masks as (b, h * w), checked."""
    if maps.shape != masks.shape or masks.dtype != torch.bool:
        given = f"{tuple(masks.shape)} {masks.dtype}"
        raise ValueError(f"masks are {given}; allowed: bool of the maps' shape {tuple(maps.shape)}")
    return finite(maps).flatten(1), masks.flatten(1)


def _nan_where_empty(values: Tensor, inside: Tensor) -> Tensor:
    """Return the values as float32, NaN where the mask is empty: there is nothing to find."""
    return torch.where(inside.any(1), values, torch.nan).float()
