"""Numbers for whether the classifier's answer follows the pixels that a map ranks first.

All of them are read from curves, which are made once. A curve replaces a view's pixels in the order of a map, most relevant first
(deletion, MoRF), or puts them back into the substitute in that order (insertion). Read backwards, insertion is LeRF, the least relevant
removed first. A map that was optimised against the same substitute is scored in-sample; score with others too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - tests check types at run time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.metrics.batched_queries import Probe, Question
from pcim.metrics.imputation import Fill  # noqa: TC001
from pcim.metrics.pixel_ranks import places

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of the pixels at which comprehensiveness and sufficiency are read (DeYoung et al. 2020)."""


@dataclass(frozen=True)
class Curves:
    """The target's probability, of m maps, where the first `counts` pixels of each have been moved.

    `deletion` (m, points): taken out of the view; `insertion` (m, points): put into the substitute. The points run from 0 to all
    `pixels`; `even` are the positions of those that are evenly spaced.
    """

    counts: tuple[int, ...]
    even: tuple[int, ...]
    pixels: int
    deletion: Float[Tensor, "m points"]
    insertion: Float[Tensor, "m points"]

    @property
    def shares(self) -> list[float]:
        """The share of the pixels moved at each point, 0 to 1."""
        return [count / self.pixels for count in self.counts]


class MorfLerf(NamedTuple):
    """AOPC with the most and with the least relevant pixels removed first, and the symmetric relevance gain, (m,) each."""

    aopc_morf: Tensor
    aopc_lerf: Tensor
    gain: Tensor


def curves(  # noqa: PLR0913 - what the curves depend on
    probe: Probe,
    maps: Float[Tensor, "m h w"],
    views: Int64[Tensor, " m"],
    fills: Mapping[str, Fill],
    *,
    keys: Int64[Tensor, " m"],
    steps: int = 10,
    shares: Sequence[float] = SHARES,
) -> dict[str, Curves]:
    """Return both curves of every map with every substitute; map i is of view ``views[i]``, `keys` break ties.

    The points are ``h * w * k // steps`` pixels for k from 0 to `steps`, and the `shares`. A view as it is is asked once, and once with
    each substitute alone, however many maps it has: a map costs two forward passes a substitute and inner point.

    Raises
    ------
    ValueError
        When `steps` is not from 1 to h * w, a share not in (0, 1], shapes differ, or a map is not finite.
    """
    pixels = probe.images[0, 0].numel()
    if maps.shape[1:] != probe.images.shape[2:] or views.shape != maps.shape[:1]:
        given, size = (tuple(maps.shape), tuple(views.shape)), tuple(probe.images.shape[2:])
        raise ValueError(f"maps and views are {given}; allowed: a view's number a map, and maps of {size}")
    if not 1 <= steps <= pixels:
        raise ValueError(f"steps is {steps}; allowed: 1 to the number of pixels, {pixels}")
    if wrong := [share for share in shares if not 0 < share <= 1]:
        raise ValueError(f"shares {wrong}; allowed: above 0, to 1")
    grid = [pixels * step // steps for step in range(steps + 1)]
    counts = sorted({*grid, *(_pixels_of(share, pixels) for share in shares)})
    ranked = places(maps, keys)
    questions: list[Question] = []
    for fill in fills.values():
        inner = torch.tensor(counts[1:-1], device=maps.device)
        questions += [_move_pixels(ranked, views, inner, fill, inserts=inserts) for inserts in (False, True)]
        questions.append(_nothing_left(probe, fill))
    answers = [answer.sigmoid() for answer in probe.ask(questions)]
    whole = probe.plain.sigmoid()[views, None]
    found = {}
    for number, name in enumerate(fills):
        without, only, nothing = answers[3 * number : 3 * number + 3]
        blank = nothing[views, None]
        deletion = torch.cat([whole, without.view(len(maps), -1), blank], 1)
        insertion = torch.cat([blank, only.view(len(maps), -1), whole], 1)
        found[name] = Curves(tuple(counts), tuple(counts.index(n) for n in grid), pixels, deletion, insertion)
    return found


def _move_pixels(ranked: Tensor, views: Tensor, counts: Tensor, fill: Fill, *, inserts: bool) -> Question:
    """Ask about every map's view at every count: its first pixels removed or, where it `inserts`, all others."""

    def make(rows: Tensor) -> Tensor:
        of_map, point = rows // len(counts), rows % len(counts)
        is_first = ranked[of_map] < counts[point, None, None]
        return fill(views[of_map], ~is_first if inserts else is_first)

    return Question(views.repeat_interleave(len(counts)), make)


def _nothing_left(probe: Probe, fill: Fill) -> Question:
    """Ask about every view with all its pixels removed."""
    size = probe.images.shape[-2:]
    return Question(
        probe.views,
        lambda rows: fill(rows, torch.ones(1, 1, 1, dtype=torch.bool, device=rows.device).expand(len(rows), *size)),
    )


def deletion_auc(found: Curves) -> Float[Tensor, " m"]:
    """Return the area under the deletion curve, in [0, 1], lower = better (Petsiuk et al. 2018, arXiv 1806.07421); trapezoids."""
    return _area(found.deletion, found)


def insertion_auc(found: Curves) -> Float[Tensor, " m"]:
    """Return the area under the insertion curve, in [0, 1], higher = better (Petsiuk et al. 2018, arXiv 1806.07421); trapezoids."""
    return _area(found.insertion, found)


def morf_lerf(found: Curves) -> MorfLerf:
    """Return the mean loss of probability over the evenly spaced points, both orders, and what lies between the orders.

    AOPC (Samek et al. 2017, arXiv 1509.06321) = mean of f(x) - f(x_k), with the most relevant pixels removed first (in [-1, 1], higher =
    better) and with the least relevant ones (lower = better). The symmetric relevance gain (Bluecher et al. 2024, arXiv 2401.06654) =
    area under LeRF - area under MoRF, in [-1, 1], higher = better, 0 = a map that orders nothing.
    """
    even = list(found.even)
    start = found.deletion[:, :1]
    most, least = ((start - curve[:, even]).mean(1) for curve in (found.deletion, found.insertion))
    return MorfLerf(most, least, insertion_auc(found) - deletion_auc(found))


def road(found: Curves) -> Float[Tensor, " m"]:
    """Return the mean over the inner evenly spaced points of LeRF - MoRF, in [-1, 1], higher = better.

    Rong et al. 2022 (arXiv 2202.00449), by the target's probability in place of the accuracy. It is meant for curves with
    `pcim.metrics.imputation.ImputedFill`.
    """
    inner = list(found.even[1:-1])
    return (found.insertion[:, inner] - found.deletion[:, inner]).mean(1)


def comprehensiveness(found: Curves, shares: Sequence[float] = SHARES) -> Float[Tensor, " m"]:
    """Return the mean loss of probability where the top `shares` are removed, in [-1, 1], higher = better (DeYoung et al. 2020, ACL)."""
    return (found.deletion[:, :1] - found.deletion[:, _positions(found, shares)]).mean(1)


def sufficiency(found: Curves, shares: Sequence[float] = SHARES) -> Float[Tensor, " m"]:
    """Return the mean loss of probability where only the top `shares` are left, in [-1, 1], lower = better (DeYoung et al. 2020, ACL)."""
    return (found.deletion[:, :1] - found.insertion[:, _positions(found, shares)]).mean(1)


def _pixels_of(share: float, pixels: int) -> int:
    """Return how many pixels a share is, rounded down as the even points are, so that a tenth is one of ten steps."""
    return max(1, int(share * pixels + 1e-6))


def _positions(found: Curves, shares: Sequence[float]) -> list[int]:
    """Return the points of the curves at the given shares; ValueError where there is none."""
    counts = [_pixels_of(share, found.pixels) for share in shares]
    if absent := [share for share, count in zip(shares, counts, strict=True) if count not in found.counts]:
        raise ValueError(f"shares {absent} are no points of these curves; there are {[f'{s:.3g}' for s in found.shares]}")
    return [found.counts.index(count) for count in counts]


def _area(curve: Tensor, found: Curves) -> Tensor:
    shares = torch.tensor(found.counts, device=curve.device).double() / found.pixels
    return torch.trapezoid(curve.double(), shares, dim=1).float()
