"""Permutation tests of what a factor tells within strata.

A projection on a factor's levels beside the strata is one of sums by level, so a campaign of many plates needs no table of dummies:
levels that share no stratum, as those of two plates, are solved apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import block_diag, csr_array, diags_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.intp]

_AT_ONCE = 500
"""Permutations made at once, at most."""

_MOST_VALUES = 2_000_000
"""Permutations x values held at once: 16 MB, and a few copies of it."""

_ENOUGH = 200
"""Permutations that reach the statistic, after which no more are drawn (Besag and Clifford 1991): p is known to about 7 % of itself."""

ROUNDING = 1e-9
"""Statistics that differ by less, relative, are equal: the order of sums must not make a p-value."""


@dataclass
class PermutationTest:
    """A statistic that is compared with permutations: `reached` is the observed one; `above` of `total` were at least that."""

    reached: float
    above: int = 0
    total: int = 0

    @property
    def is_open(self) -> bool:
        """Whether more permutations are needed."""
        return self.above < _ENOUGH

    @property
    def p(self) -> float:
        """The share of statistics that are at least the observed one, itself counted among them; in (0, 1]."""
        return (1 + self.above) / (1 + self.total)

    def meet(self, drawn: Floats) -> None:
        """Count permutations' statistics, (some,)."""
        self.above, self.total = self.above + int((drawn >= self.reached).sum()), self.total + len(drawn)


@dataclass(frozen=True)
class Projection:
    """The least squares of a factor among values that are centred within strata.

    `levels` are the level of each value, (n,); `root` (levels, .) turns sums by level into parts whose squares add up to what is explained;
    `told` is the rank, the numbers that the factor tells beyond the strata.
    """

    levels: Codes
    root: csr_array
    told: int

    @classmethod
    def from_codes(cls, levels: Codes, strata: Codes) -> Projection:
        """Prepare it from codes of levels and strata, (n,), from 0 on and none left out.

        Centred dummies D of the levels have G = D'D = diag(n_l) - N' diag(1 / n_s) N, for N the numbers of values by stratum and level: the
        Laplacian of the graph of levels that share strata. A connected part of m levels has rank m - 1; it is inverted after a constant
        is added, which sums that are 0 over each part do not see.
        """
        size = np.bincount(levels).astype(np.float64)
        if strata.max() == 0:  # G but for a constant is diagonal, and its levels may be thousands
            return cls(levels, csr_array(diags_array(1 / np.sqrt(size))), len(size) - 1)
        numbers = csr_array((np.ones(len(levels)), (strata, levels)))
        gram = csr_array(diags_array(size) - numbers.T @ diags_array(1 / np.bincount(strata)) @ numbers)
        count, parts = connected_components(numbers.T @ numbers, directed=False)
        order = np.argsort(parts, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(parts))[:-1])
        root = csr_array(block_diag([_root(gram[part][:, part].toarray()) for part in members]))
        return cls(np.argsort(order)[levels], root, len(size) - int(count))

    def between(self, values: Floats) -> Floats:
        """Return the sum of squares that the factor explains of each row of `values`, (some, n) -> (some,)."""
        count = self.root.shape[0]
        places = self.levels + count * np.arange(len(values))[:, np.newaxis]
        sums = np.bincount(places.ravel(), values.ravel(), count * len(values)).reshape(len(values), count)
        explained: Floats = ((self.root.T @ sums.T) ** 2).sum(0)
        return explained


def _root(gram: Floats) -> Floats:
    """Return R with s'RR's = s'G+s for every s that sums to 0, G the Laplacian of a connected graph, (m, m)."""
    if len(gram) == 1:
        return np.zeros((1, 1))
    whole = gram + np.trace(gram) / len(gram) ** 2
    root: Floats = solve_triangular(cholesky(whole, lower=True), np.eye(len(gram)), lower=True).T
    return root


def effects(values: Floats, factors: Mapping[str, ArrayLike], strata: ArrayLike, draws: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return each factor's omega squared among values of one stratum, and its p by at most `draws` permutations within strata.

    `values` (n,) are finite, `factors` hold the level of each, `strata` its stratum. All factors see the same permutations, and each
    its own part of them, so that a result does not depend on the other factors. NaN: nothing varies, or nothing is left to compare.
    """
    found = dict.fromkeys(factors, (np.nan, np.nan))
    homes = np.unique(np.asarray(strata), return_inverse=True)[1]
    kept = np.flatnonzero(np.bincount(homes)[homes] > 1) if len(homes) else homes  # a value that is alone is centred to 0
    kept = kept[np.argsort(homes[kept], kind="stable")]
    if not len(kept):
        return found
    homes = np.unique(homes[kept], return_inverse=True)[1]
    own = values[kept] - (np.bincount(homes, values[kept]) / np.bincount(homes))[homes]
    total, within = float(own @ own), len(own) - int(homes[-1]) - 1
    if total <= ROUNDING**2 * float(values @ values):
        return found
    asked: dict[str, tuple[Projection, PermutationTest]] = {}
    for name, levels in factors.items():
        projection = Projection.from_codes(np.unique(np.asarray(levels)[kept], return_inverse=True)[1], homes)
        if 1 <= projection.told < within:
            between = float(projection.between(own[np.newaxis])[0])
            error = (total - between) / (within - projection.told)
            found[name] = ((between - projection.told * error) / (total + error), np.nan)
            asked[name] = projection, PermutationTest(between - ROUNDING * total)
    for permuted in permutations(own, homes, draws, seed):
        still = [(projection, tested) for projection, tested in asked.values() if tested.is_open]
        if not still:
            break
        for projection, tested in still:
            tested.meet(projection.between(permuted))
    return found | {name: (found[name][0], tested.p) for name, (_, tested) in asked.items()}


def permutations(values: Floats, strata: Codes, draws: int, seed: int) -> Iterator[Floats]:
    """Yield `values` (n,) permuted within their strata, (some draws, n), until there are `draws`.

    `strata` are codes from 0 on in ascending order. Values change places by sorting 64-bit numbers: stratum, lot, place; the bits of the
    lots are what the others leave, more than 20 for a million values, and equal ones are too rare to matter.
    """
    generator, count = np.random.default_rng(seed), len(values)
    high, low = int(strata[-1]).bit_length(), count.bit_length()
    fixed = (strata.astype(np.uint64) << np.uint64(min(64 - high, 63))) | np.arange(count, dtype=np.uint64)
    lots_alone, place_alone = np.uint64((2 ** (64 - high) - 1) ^ (2**low - 1)), np.uint64(2**low - 1)
    at_once = max(1, min(_AT_ONCE, _MOST_VALUES // count))
    for start in range(0, draws, at_once):
        shape = (min(at_once, draws - start), count)
        lots = generator.integers(2**64 - 1, size=shape, dtype=np.uint64, endpoint=True)
        lots &= lots_alone
        lots |= fixed
        lots.sort(axis=1)
        lots &= place_alone
        yield values[lots.view(np.int64)]
