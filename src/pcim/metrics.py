"""Metrics: how faithful a map is to the classifier, and how much of it lies in a mask. Arrays in, a number a view out.

Ties are never broken by raster order, which would favour whatever lies at the top of the view: the fidelity curves
break them by a key of the view, the localization metrics return the expectation over all ways to break them. No number
depends on the other views of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

Classify = Callable[[Tensor], Tensor]
"""Images (b, c, h, w) to logits (b, k)."""

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # splitmix64's constants as the signed integers that torch has
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def ranking(maps: Float[Tensor, "b h w"], keys: Int64[Tensor, " b"]) -> Int64[Tensor, "b hw"]:
    """Return every view's pixels (index into the flattened view), the most relevant first.

    Pixels of equal value come in an order drawn by the view's key and the pixel's index alone, so that it is the same
    in any batch and on any device.

    Raises
    ------
    ValueError
        When a map holds NaN or infinite values.
    """
    values = _finite(maps).flatten(1) + 0.0  # -0 + 0 = 0: the two zeros tie on every device
    lots = _mix(_mix(keys)[:, None] + _GOLDEN * torch.arange(1, values.shape[1] + 1, device=maps.device))
    drawn = lots.argsort(dim=1, stable=True)
    ranked = values.gather(1, drawn).argsort(dim=1, descending=True, stable=True)
    return drawn.gather(1, ranked)


def _mix(numbers: Tensor) -> Tensor:
    """Scatter 64-bit integers by the finaliser of splitmix64 (Steele et al. 2014): one to one, so no two pixels tie."""
    numbers = (numbers ^ _shift(numbers, 30)) * _MIX_1
    numbers = (numbers ^ _shift(numbers, 27)) * _MIX_2
    return numbers ^ _shift(numbers, 31)


def _shift(numbers: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, where torch fills with the sign."""
    shifted: Tensor = (numbers >> bits) & (2 ** (64 - bits) - 1)
    return shifted


def perturbation_curves(  # noqa: PLR0913 - what the curves depend on
    classify: Classify,
    images: Float[Tensor, "b c h w"],
    maps: Float[Tensor, "b h w"],
    targets: Int64[Tensor, " b"],
    substitutes: Float[Tensor, "b c h w"],
    *,
    steps: int,
    keys: Int64[Tensor, " b"],
    batch_size: int,
) -> tuple[Float[Tensor, "b points"], Float[Tensor, "b points"]]:
    """Return the deletion and the insertion curve: the target's probability at steps + 1 points, both ends included.

    At point k the ``k * h * w // steps`` most relevant pixels are the substitute's (deletion) or the image's
    (insertion), and the others the reverse. The curves share their ends, so that a view costs 2 * steps forward passes.
    `classify` is always called with exactly `batch_size` images, the last batch filled up with repeats.

    Raises
    ------
    ValueError
        When `steps` is not from 1 to h * w, `batch_size` below 1, the first axes differ, or a map is not finite.
    """
    deletion, insertion = _counts(images, steps), _counts(images, steps)[1:-1]
    inserts = torch.arange(2 * steps, device=images.device) > steps
    engine = _Engine(classify, images, targets, substitutes, _places(maps, keys), batch_size)
    p = engine.probabilities(torch.cat([deletion, insertion]), inserts)
    return p[:, : steps + 1], torch.cat([p[:, [steps]], p[:, steps + 1 :], p[:, [0]]], dim=1)


def deletion_auc(  # noqa: PLR0913 - what the curve depends on
    classify: Classify,
    images: Float[Tensor, "b c h w"],
    maps: Float[Tensor, "b h w"],
    targets: Int64[Tensor, " b"],
    substitutes: Float[Tensor, "b c h w"],
    *,
    steps: int,
    keys: Int64[Tensor, " b"],
    batch_size: int,
) -> Float[Tensor, " b"]:
    """Return the area under the deletion curve, in [0, 1], lower = better (Petsiuk et al. 2018, arXiv 1806.07421).

    Where both areas are wanted, `perturbation_curves` and `area_under` pay for the common ends once. Raises as they do.
    """
    counts = _counts(images, steps)
    engine = _Engine(classify, images, targets, substitutes, _places(maps, keys), batch_size)
    return area_under(engine.probabilities(counts, torch.zeros_like(counts, dtype=torch.bool)), maps[0].numel())


def insertion_auc(  # noqa: PLR0913 - what the curve depends on
    classify: Classify,
    images: Float[Tensor, "b c h w"],
    maps: Float[Tensor, "b h w"],
    targets: Int64[Tensor, " b"],
    substitutes: Float[Tensor, "b c h w"],
    *,
    steps: int,
    keys: Int64[Tensor, " b"],
    batch_size: int,
) -> Float[Tensor, " b"]:
    """Return the area under the insertion curve, in [0, 1], higher = better (Petsiuk et al. 2018, arXiv 1806.07421).

    Where both areas are wanted, `perturbation_curves` and `area_under` pay for the common ends once. Raises as they do.
    """
    counts = _counts(images, steps)
    engine = _Engine(classify, images, targets, substitutes, _places(maps, keys), batch_size)
    return area_under(engine.probabilities(counts, torch.ones_like(counts, dtype=torch.bool)), maps[0].numel())


def area_under(curves: Float[Tensor, "b points"], pixels: int) -> Float[Tensor, " b"]:
    """Return the area, in [0, 1], under curves of `perturbation_curves` on views of `pixels` = h * w (trapezoids)."""
    steps = curves.shape[1] - 1
    shares = (torch.arange(steps + 1, device=curves.device) * pixels // steps).double() / pixels
    return torch.trapezoid(curves.double(), shares, dim=1).float()


@dataclass(frozen=True)
class _Engine:
    """Mixes images with their substitutes in the order of `places` (b, h, w), and asks the classifier about them."""

    classify: Classify
    images: Tensor
    targets: Tensor
    substitutes: Tensor
    places: Tensor
    batch_size: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; allowed: 1 or more")
        shape = tuple(self.images.shape)
        given = [tuple(part.shape) for part in (self.substitutes, self.places, self.targets)]
        allowed = [shape, (shape[0], *shape[2:]), shape[:1]]
        if given != allowed:
            raise ValueError(f"substitutes, maps and targets are {given}; allowed beside images {shape}: {allowed}")

    def probabilities(self, counts: Int64[Tensor, " rows"], inserts: Bool[Tensor, " rows"]) -> Float[Tensor, "b rows"]:
        """Return the target's probability where the first `counts` pixels are moved, out of the image or into it."""
        found = [self._batch(index, counts, inserts) for index in self._batches(len(counts))]
        every = torch.cat(found) if found else self.images.new_zeros(0)
        return every[: len(self.images) * len(counts)].view(len(self.images), len(counts))

    def _batches(self, rows: int) -> Iterator[Tensor]:
        """Yield the (view, row) pairs by one running number, `batch_size` at a time; the last pair is repeated."""
        total = len(self.images) * rows
        for start in range(0, total, self.batch_size):
            yield torch.arange(start, start + self.batch_size, device=self.images.device).clamp(max=total - 1)

    @torch.no_grad()
    def _batch(self, index: Tensor, counts: Tensor, inserts: Tensor) -> Tensor:
        view, row = index // len(counts), index % len(counts)
        moved = self.places[view] < counts[row, None, None]  # (batch, h, w)
        substituted = (moved ^ inserts[row, None, None])[:, None]
        logits = self.classify(torch.where(substituted, self.substitutes[view], self.images[view]))
        return logits.float().softmax(-1).gather(1, self.targets[view, None])[:, 0]


def _counts(images: Tensor, steps: int) -> Tensor:
    """Return how many pixels have moved at each of the steps + 1 points of a curve: 0 to all of them."""
    pixels = images.shape[-2] * images.shape[-1]
    if not 1 <= steps <= pixels:
        raise ValueError(f"steps is {steps}; allowed: 1 to the number of pixels, {pixels}")
    return torch.arange(steps + 1, device=images.device) * pixels // steps


def _places(maps: Tensor, keys: Tensor) -> Tensor:
    """Return each pixel's place in its view's ranking, 0 = the most relevant, as an image (b, h, w)."""
    if len(keys) != len(maps):
        raise ValueError(f"{len(keys)} keys for {len(maps)} maps; allowed: one a map")
    return ranking(maps, keys).argsort(dim=1).view(maps.shape)


def chance(masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the share of the view inside each mask: what a random map scores in the four metrics of localization.

    Exact for three of them; `auprc` of a random map lies a little above where the mask has few pixels.
    """
    return masks.flatten(1).double().mean(1).float()


def lift(values: Float[Tensor, " b"], chances: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return value / chance: 1 = a random map; NaN where the value is NaN or chance is 0."""
    return torch.where(chances > 0, values / chances, torch.nan)


def relevance_mass_accuracy(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the share of the map's positive part inside the mask, in [0, 1], higher = better.

    Also called energy-based pointing game (Wang et al. 2020, Score-CAM, arXiv 1910.01279; Arras et al. 2022, CLEVR-XAI,
    arXiv 2003.07258). A full mask gives 1. NaN where the mask is empty or nothing of the map is positive. Raises
    ValueError where a map is not finite or the shapes differ, as all four metrics do.
    """
    values, inside = _pairs(maps, masks)
    positive = values.double().clamp(min=0)
    return _defined((positive * inside).sum(1) / positive.sum(1), inside)


def relevance_rank_accuracy(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the share of the mask's n pixels that are among the map's n highest, in [0, 1], higher = better.

    Arras et al. 2022 (CLEVR-XAI, arXiv 2003.07258). Where the n-th highest value is tied, the expectation over a random
    choice among the tied pixels: a flat map scores exactly chance. A full mask gives 1, an empty one NaN.
    """
    values, inside = _pairs(maps, masks)
    size = inside.sum(1, keepdim=True)  # (b, 1)
    highest = values.sort(dim=1, descending=True).values
    threshold = highest.gather(1, (size - 1).clamp(min=0))
    above, tied = values > threshold, values == threshold
    left = size[:, 0] - above.sum(1)
    hits = (above & inside).sum(1) + left * (tied & inside).sum(1).double() / tied.sum(1)
    return _defined(hits / size[:, 0], inside)


def pointing_game(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the probability that the map's highest pixel lies in the mask, in [0, 1], higher = better.

    Zhang et al. 2018 (arXiv 1608.00507), without a tolerance. The highest pixel is drawn at random among equals, and
    this is the expected hit: the share of the maxima inside. Counting any maximum inside as a hit would let a flat map
    win everywhere, one drawn by a key would add noise. A flat map scores exactly chance; an empty mask gives NaN.
    """
    values, inside = _pairs(maps, masks)
    highest = values == values.amax(1, keepdim=True)
    return _defined((highest & inside).sum(1).double() / highest.sum(1), inside)


def auprc(maps: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the average precision of the map as a detector of the mask's pixels, in [0, 1], higher = better.

    The sum over thresholds of precision x gain in recall; tied pixels share one threshold (scikit-learn's
    ``average_precision_score``). A flat map scores exactly chance. A full mask gives 1, an empty one NaN.
    """
    values, inside = _pairs(maps, masks)
    ranked, order = values.sort(dim=1, descending=True)
    found = inside.gather(1, order)
    rank = torch.arange(1, values.shape[1] + 1, device=maps.device)
    is_last = torch.ones_like(found)  # of the pixels that share a value
    is_last[:, :-1] = ranked[:, :-1] != ranked[:, 1:]
    ends = torch.where(is_last, rank, rank[-1])
    ends = ends.flip(1).cummin(1).values.flip(1)  # rank of the last pixel with the same value
    precision = found.cumsum(1).gather(1, ends - 1).double() / ends
    return _defined((precision * found).sum(1) / inside.sum(1), inside)


def _pairs(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps and masks as (b, h * w), checked."""
    if maps.shape != masks.shape or masks.dtype != torch.bool:
        given = f"{tuple(masks.shape)} {masks.dtype}"
        raise ValueError(f"masks are {given}; allowed: bool of the maps' shape {tuple(maps.shape)}")
    return _finite(maps).flatten(1), masks.flatten(1)


def _finite(maps: Tensor) -> Tensor:
    if not bool(maps.isfinite().all()):
        views = (~maps.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
        raise ValueError(f"maps at positions {views} hold NaN or infinite values; allowed: finite values")
    return maps


def _defined(values: Tensor, inside: Tensor) -> Tensor:
    """Return the values as float32, NaN where the mask is empty: there is nothing to find."""
    return torch.where(inside.any(1), values, torch.nan).float()
