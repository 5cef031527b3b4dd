"""Intervals of means and shares. Wells are resampled, not views: views of one well are not independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import binomtest

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_MOST_COUNTS = 2_000_000
"""Draws x clusters held at once: 16 MB."""

_MOST_COLUMNS = 250
"""Columns worked on at once: at 10 000 draws 20 MB, and a few copies of it."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, `low` to `high`, of `n` values from `clusters` clusters; NaN where undefined."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Means:
    """The means of k columns, each with its interval, the two-sided p-value of a mean of 0, and what it rests on; (k,) each."""

    mean: Floats
    low: Floats
    high: Floats
    p: Floats
    n: NDArray[np.int64]
    clusters: NDArray[np.int64]


@dataclass(frozen=True)
class Proportion:
    """A share of `n` trials, in [0, 1], with its interval, `low` to `high`; NaN where there was no trial."""

    share: float
    low: float
    high: float
    n: int


def bootstrap_means(values: ArrayLike, clusters: Iterable[Hashable], *, draws: int = 10_000, seed: int = 0, level: float = 0.95) -> Means:
    """Return the means over all rows of `values` (n, k), with bootstrap intervals, whole clusters (wells) being resampled.

    Each of `draws` samples takes as many clusters as there are, with replacement, the same for every column, and averages all their
    values: a cluster counts as often as it has values. NaN values are dropped. Intervals are BCa (Efron 1987): corrected for bias
    and for skewness, by the jackknife over clusters; their quantiles are Student's, stretched by sqrt(m / (m - 1)) for m clusters
    (Hesterberg 2015, arXiv 1411.5279), without which few wells promise too much. p is twice the smaller share of draws on one side of 0.
    With fewer than two clusters interval and p are NaN. The order of the rows plays no role, nor does any other call.

    Raises
    ------
    ValueError
        When lengths differ, a value is infinite, a row with a value has no cluster, `draws` is below 1 or `level` not in (0, 1).
    """
    _check(draws, level)
    return bootstrap_sums(*_cluster_sums(np.asarray(values), list(clusters)), draws=draws, seed=seed, level=level)


def bootstrap_sums(sums: Floats, counts: Floats, *, draws: int = 10_000, seed: int = 0, level: float = 0.95) -> Means:
    """Return the same from sums and numbers of values, (clusters, k), a row per cluster; a cluster without values does not count.

    Raises
    ------
    ValueError
        When `draws` is below 1 or `level` not in (0, 1).
    """
    _check(draws, level)
    is_held = (counts > 0).any(axis=1)
    sums, counts = sums[is_held], counts[is_held]
    different, alike = _different(counts)
    drawn = np.empty((draws, sums.shape[1]))
    done = 0
    for w in _resamples(len(sums), draws, seed):
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn[done : done + len(w)] = (w @ sums) / (w @ different)[:, alike]
        done += len(w)
    starts = range(0, max(sums.shape[1], 1), _MOST_COLUMNS)
    blocks = [slice(first, first + _MOST_COLUMNS) for first in starts]
    parts = [_intervals(drawn[:, block], sums[:, block], counts[:, block], level) for block in blocks]
    return Means(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def long_means(values: ArrayLike, clusters: Iterable[Hashable], groups: NDArray[np.integer], *, draws: int) -> Means:
    """Return the means of a long table: `groups` (n,), 0 to k - 1, says which column of a wide table a value belongs to."""
    column = np.asarray(values, dtype=np.float64)
    homes, names = pd.factorize(pd.Series(clusters), sort=True)
    is_given, width = ~np.isnan(column), int(groups.max(initial=-1)) + 1
    places, shape = (homes * width + groups)[is_given], (len(names), width)
    weights: list[Floats] = [column[is_given], np.ones(len(places))]
    sums, counts = (np.bincount(places, of, len(names) * width).astype(np.float64).reshape(shape) for of in weights)
    return bootstrap_sums(sums, counts, draws=draws)


def _check(draws: int, level: float) -> None:
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws is {draws}, level {level}; allowed: 1 or more draws, a level between 0 and 1")


def _intervals(drawn: Floats, sums: Floats, counts: Floats, level: float) -> tuple[NDArray[Any], ...]:
    """Return what `Means` holds, of a block of columns and its drawn means (draws, k)."""
    n, held = counts.sum(0), (counts > 0).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums.sum(0) / n
        known = np.isfinite(drawn).sum(0)
        p = 2 * (1 + np.minimum((drawn <= 0).sum(0), (drawn >= 0).sum(0))) / (1 + known)
    low, high = _bca(drawn, mean, sums, counts, level)
    few = held < 2  # noqa: PLR2004 - one cluster says nothing about how clusters differ
    low, high, p = (np.where(few, np.nan, part) for part in (low, high, np.minimum(p, 1)))
    return mean, low, high, p, n.astype(np.int64), held


def cluster_bootstrap_mean(
    values: ArrayLike, clusters: Iterable[Hashable], *, draws: int = 10_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return the mean of one column of values (n,) with its interval; see `bootstrap_means`."""
    column = np.asarray(values, dtype=np.float64)
    one = bootstrap_means(column.reshape(-1, 1), clusters, draws=draws, seed=seed, level=level)
    return Interval(float(one.mean[0]), float(one.low[0]), float(one.high[0]), int(one.n[0]), int(one.clusters[0]))


def _cluster_sums(values: NDArray[Any], clusters: list[Hashable]) -> tuple[Floats, Floats]:
    """Return the sum and the number of each cluster's values (NaN dropped), (clusters, k), in the order of their names.

    Only a block of columns is ever held as float64. Rows are summed in one order, whatever the table's: by cluster, then by a number
    made of all their bits, which whole numbers give without rounding.
    """
    if len(values) != len(clusters):
        raise ValueError(f"values have {len(values)} rows; allowed: {len(clusters)}, one a cluster entry")
    blocks = [slice(first, first + _MOST_COLUMNS) for first in range(0, max(values.shape[1], 1), _MOST_COLUMNS)]
    infinite, is_used, digest = 0, np.zeros(len(values), bool), np.zeros(len(values), np.uint64)
    odd = np.random.default_rng(0).integers(2**63, size=values.shape[1:], dtype=np.uint64) | np.uint64(1)
    for block in blocks:
        part = values[:, block].astype(np.float64)
        infinite += int(np.isinf(part).sum())
        is_used |= (~np.isnan(part)).any(axis=1)
        digest += np.nan_to_num(part).view(np.uint64) @ odd[block]
    if infinite:
        raise ValueError(f"{infinite} values are infinite; allowed: finite values, or NaN for none")
    codes, names = pd.factorize(pd.Series(clusters, dtype=object).to_numpy()[is_used], sort=True)
    if (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} rows have no cluster; allowed: one each")
    if not len(names):
        return np.zeros((0, values.shape[1])), np.zeros((0, values.shape[1]))
    order = np.lexsort((digest[is_used], codes))
    rows, starts = np.flatnonzero(is_used)[order], np.searchsorted(codes[order], np.arange(len(names)))
    kept = (values[rows, block].astype(np.float64) for block in blocks)
    parts = [(np.add.reduceat(np.nan_to_num(of), starts), np.add.reduceat((~np.isnan(of)) * 1.0, starts)) for of in kept]
    sums, counts = (np.concatenate(of, axis=1) for of in zip(*parts, strict=True))
    return sums, counts


def _different(counts: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return the columns that differ, and which of them each column is: most tables have as many values in all columns."""
    seen: dict[bytes, int] = {}
    alike = [seen.setdefault(column.tobytes(), len(seen)) for column in counts.T]
    first = [alike.index(number) for number in range(len(seen))]
    return counts[:, first], np.array(alike, dtype=np.intp)


def _resamples(size: int, draws: int, seed: int) -> Iterator[Floats]:
    """Yield how often each of `size` clusters is drawn, (some draws, size), until there are `draws`."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _MOST_COUNTS // max(size, 1))
    for start in range(0, draws, at_once):
        wanted = min(at_once, draws - start)
        drawn = generator.integers(size, size=(wanted, size)) if size else np.zeros((wanted, 0), np.int64)
        places = (drawn + size * np.arange(wanted)[:, np.newaxis]).ravel()
        yield np.bincount(places, minlength=wanted * size).reshape(wanted, size).astype(np.float64)


def _bca(drawn: Floats, mean: Floats, sums: Floats, counts: Floats, level: float) -> tuple[Floats, Floats]:
    """Return both ends of the BCa interval of each column from its drawn means (draws, k), NaN where a draw held no value."""
    ordered, known = np.sort(drawn, axis=0), np.isfinite(drawn).sum(0)
    columns = np.arange(drawn.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        below = ((drawn < mean).sum(0) + (drawn == mean).sum(0) / 2) / known
        bias = np.nan_to_num(ndtri(np.clip(below, 1 / (2 * len(drawn)), 1 - 1 / (2 * len(drawn)))))
        is_held = counts > 0
        without = np.where(is_held, (sums.sum(0) - sums) / (counts.sum(0) - counts), 0.0)  # each cluster left out once
        pull = np.where(is_held, without.sum(0) / is_held.sum(0) - without, 0.0)
        acceleration = np.nan_to_num((pull**3).sum(0) / (6 * (pull**2).sum(0) ** 1.5))
        clusters = is_held.sum(0)
        stretched = np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, (1 + level) / 2)
        ends = []
        for side in (-1, 1):
            moved = bias + side * stretched
            place = ndtr(bias + moved / (1 - acceleration * moved)) * (known - 1)
            under = np.clip(np.nan_to_num(np.floor(place)), 0, np.maximum(known - 1, 0)).astype(int)
            over = np.minimum(under + 1, np.maximum(known - 1, 0))
            part = place - under
            ends.append(ordered[under, columns] * (1 - part) + ordered[over, columns] * part)
    return ends[0], ends[1]


def holm(p: ArrayLike) -> Floats:
    """Return p-values corrected for their number (Holm 1979); NaN stays NaN and counts for none."""
    values = np.asarray(p, dtype=np.float64)
    corrected = np.full_like(values, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    stepped = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped)) if len(order) else stepped
    return corrected


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Proportion:
    """Return the share successes / n with Wilson's interval (1927), which stays in [0, 1] and has a width at both ends.

    It takes the trials as independent. Where they share wells, use `cluster_bootstrap_mean` of zeros and ones, except
    where all trials agree, for which a bootstrap gives an interval of no width.

    Raises
    ------
    ValueError
        When `successes` is not from 0 to `n`, or `level` not in (0, 1).
    """
    if not 0 <= successes <= n or not 0 < level < 1:
        raise ValueError(f"{successes} of {n} at level {level}; allowed: 0 to n, a level between 0 and 1")
    if n == 0:
        return Proportion(np.nan, np.nan, np.nan, 0)
    ends = binomtest(successes, n).proportion_ci(level, method="wilson")
    return Proportion(successes / n, float(ends.low), float(ends.high), n)
