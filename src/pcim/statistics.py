"""Statistics: intervals of means and shares. Wells are resampled, not views: views of one well are not independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtri

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

_MOST_COUNTS = 2_000_000
"""Draws x clusters held at once: 16 MB."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, `low` to `high`, of `n` values from `clusters` clusters; NaN where undefined."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Proportion:
    """A share of `n` trials, in [0, 1], with its interval, `low` to `high`; NaN where there was no trial."""

    share: float
    low: float
    high: float
    n: int


def cluster_bootstrap_mean(
    values: ArrayLike, clusters: Iterable[Hashable], *, draws: int = 10_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return the mean over all values with its percentile interval, whole clusters (wells) being resampled.

    Each of `draws` samples takes as many clusters as there are, with replacement, and averages all their values: a
    cluster counts as often as it has values. NaN values are dropped. With fewer than two clusters the interval is NaN,
    with fewer than about 15 it is somewhat too narrow. The order of the values plays no role, nor does any other call:
    `seed` starts a generator of its own.

    Raises
    ------
    ValueError
        When lengths differ, a value is infinite, a value has no cluster, `draws` is below 1 or `level` not in (0, 1).
    """
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws is {draws}, level {level}; allowed: 1 or more draws, a level between 0 and 1")
    sums, counts = _cluster_sums(np.asarray(values, dtype=np.float64), pd.Series(list(clusters), dtype=object))
    n, size = int(counts.sum()), len(counts)
    mean = float(sums.sum() / n) if n else np.nan
    if size < 2:  # noqa: PLR2004 - one cluster says nothing about how clusters differ
        return Interval(mean, np.nan, np.nan, n, size)
    means = np.concatenate([(w @ sums) / (w @ counts) for w in _resamples(size, draws, seed)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), n, size)


def _cluster_sums(values: NDArray[np.float64], clusters: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum and the number of each cluster's values (NaN dropped), in the order of the clusters' names."""
    if values.shape != (len(clusters),):
        raise ValueError(f"values have shape {values.shape}; allowed: ({len(clusters)},), one a cluster entry")
    if np.isinf(values).any():
        raise ValueError(f"{np.isinf(values).sum()} values are infinite; allowed: finite values, or NaN for none")
    given = ~np.isnan(values)
    codes, names = pd.factorize(clusters[given], sort=True)
    if (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} values have no cluster; allowed: one each")
    kept = values[given]
    order = np.lexsort((kept, codes))  # summed in one order, whatever the table's
    sums = np.bincount(codes[order], weights=kept[order], minlength=len(names))
    counts = np.bincount(codes, minlength=len(names))
    return sums.astype(np.float64), counts.astype(np.float64)


def _resamples(size: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each of `size` clusters is drawn, (some draws, size), until there are `draws`."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _MOST_COUNTS // size)
    for start in range(0, draws, at_once):
        counts = generator.multinomial(size, np.full(size, 1 / size), size=min(at_once, draws - start))
        yield counts.astype(np.float64)


def paired_difference(  # noqa: PLR0913 - the columns of the table
    table: pd.DataFrame,
    *,
    value: str,
    method: str,
    reference: str,
    unit: Sequence[str],
    cluster: Sequence[str],
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Return each method's mean difference to the `reference` method, view by view, with its bootstrap interval.

    `value` and `method` name columns, `unit` the columns that name a view, `cluster` those that name its well. A
    difference is method - reference on the same view; views where either is absent or NaN are left out, and the
    interval's `n` says how many stayed. Each interval holds for its own comparison: their number is not corrected for.

    Raises
    ------
    ValueError
        When columns are absent, the reference is none of the methods, or a view has a method twice.
    """
    columns = list(dict.fromkeys([*unit, *cluster]))
    if absent := sorted({value, method, *columns} - set(table.columns)):
        raise ValueError(f"columns {absent} are absent; the table has {list(table.columns)}")
    methods = sorted(set(table[method]))
    if reference not in methods:
        raise ValueError(f"reference {reference!r} is not in column {method!r}; allowed: {methods}")
    if (twice := table.duplicated([*unit, method])).any():
        first = table.loc[twice, [*unit, method]].iloc[0].to_dict()
        raise ValueError(f"{twice.sum()} rows repeat a view and a method, the first is {first}; allowed: one row each")
    wide = table.set_index([*columns, method])[value].unstack(method)  # a row a view, a column a method
    wells = pd.Series(wide.index.to_frame(index=False)[list(cluster)].itertuples(index=False, name=None), dtype=object)
    return {
        name: cluster_bootstrap_mean(wide[name] - wide[reference], wells, draws=draws, seed=seed, level=level)
        for name in methods
        if name != reference
    }


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
    z = float(ndtri((1 + level) / 2))
    share, shrink = successes / n, 1 / (1 + z**2 / n)
    centre = (share + z**2 / (2 * n)) * shrink
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) * shrink
    return Proportion(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)), n)
