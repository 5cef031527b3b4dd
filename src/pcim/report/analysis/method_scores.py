"""Every view's scores as one wide table, and what is read from it: the table of methods, curves, one view's fidelity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from pcim.config.methods import CONTROLS
from pcim.core.identity import KEY_COLUMNS
from pcim.core.vocabulary import BLURRED, METRICS, OBJECTS_MASK, OTHER_VIEW
from pcim.report.analysis.intervals import Means, bootstrap_means, bootstrap_sums, holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

BY = ["method", "metric", "substitute"]
READ = [*KEY_COLUMNS, *BY, "seen", "value", "chance"]
"""What is read of the tables of scores."""
Column = tuple[str, str, str]
"""Method, metric and substitute ("" where nothing is removed)."""

GAINS = ("morf_lerf", "road")
"""The metrics of one view's fidelity: what the map's order is worth, 0 for an order by chance."""


@dataclass(frozen=True)
class MethodScores:
    """`wide`: a row a view (index: the key), a column a method, metric and substitute, NaN where not defined; `known`: a row a column
    of it, with `seen` (the method was given a background of this kind) and `chance` (NaN where there is none).
    """  # noqa: D205 - both parts at once

    wide: pd.DataFrame
    known: pd.DataFrame

    @classmethod
    def from_tables(cls, parts: Iterable[pd.DataFrame]) -> MethodScores:
        """Put together tables of the evaluate stage, one after another: of a campaign only the wide form is ever held whole."""
        wides, levels = [], []
        for part in parts:
            table = part.assign(substitute=part["substitute"].fillna(""))
            wides.append(_widen(table))
            levels.append(table.groupby(BY, sort=False, observed=True).agg(
                seen=("seen", "any"), chance=("chance", "sum"), n=("chance", "count")))  # fmt: skip
        if not wides:
            raise ValueError("no tables of scores; allowed: one or more")
        wide = pd.concat([one for one in wides if len(one)] or wides[:1])
        summed = pd.concat(levels).groupby(BY, sort=False).agg({"seen": "any", "chance": "sum", "n": "sum"})
        with np.errstate(invalid="ignore"):
            known = summed.assign(chance=summed["chance"] / summed["n"].replace(0, np.nan)).drop(columns="n")
        return cls(wide, known)

    @property
    def columns(self) -> list[Column]:
        """The columns of `wide`, in the order of the tables."""
        return cast("list[Column]", list(self.wide.columns))

    @property
    def wells(self) -> pd.Index[str]:
        """The well of each view, the unit of resampling."""
        return self.wide.index.get_level_values("plate") + "/" + self.wide.index.get_level_values("well")

    def in_order(self, methods: Sequence[str]) -> MethodScores:
        """Return the same, the methods in this order, and after each of them what was made of its maps."""
        rank = {method: number for number, method in enumerate(methods)}
        columns = sorted(self.columns, key=lambda column: rank.get(column[0], len(rank)))
        return MethodScores(self.wide[columns], self.known.loc[columns])

    def fidelity(self, method: str) -> pd.Series[float]:
        """Return what the order of one method's map is worth on each view, in [-1, 1]: mean gain with substitutes it has not seen."""
        gains = [column for column in self.columns if column[0] == method and column[1] in GAINS]
        unseen = [column for column in gains if not self.known.loc[column, "seen"]]
        return self.wide[unseen or gains].mean(axis=1)

    def agreement(self, methods: Sequence[str]) -> pd.Series[float]:
        """Return how far the maps of `methods` agree with the first method's on each view: mean rank correlation, in [-1, 1]."""
        return self.wide[[c for c in self.columns if c[1] == "agreement" and c[0] in methods]].mean(axis=1)


def _widen(table: pd.DataFrame) -> pd.DataFrame:
    """Return a long table wide, float32; the order of views and columns is that in which they come."""
    keys = list(KEY_COLUMNS)
    rows, columns = (table.groupby(by, sort=False, observed=True).ngroup().to_numpy() for by in (keys, BY))
    first_rows, first_columns = table.drop_duplicates(keys)[keys], table.drop_duplicates(BY)[BY]
    values = np.full((len(first_rows), len(first_columns)), np.nan, np.float32)
    values[rows, columns] = table["value"].to_numpy(np.float32)
    index = pd.MultiIndex.from_frame(first_rows.astype(str))
    return pd.DataFrame(values, index=index, columns=pd.MultiIndex.from_frame(first_columns.astype(str)))


def method_table(scores: MethodScores, *, reference: str, draws: int) -> pd.DataFrame:
    """Return each method's mean score in each metric, and its paired differences to `reference` and to the controls.

    A difference is method - other on the same views, in the metric's own direction. `above_blurred` and `above_contrast`: its interval
    to the method's own blurred map, and to the contrast control, lies on the good side of 0; `beats_controls`: both do (None for
    controls, for metrics without a good side, and where a control was not scored). `p_holm`: of the differences to the reference,
    corrected for the number of methods and metrics (Holm 1979).
    """
    wide, columns, wells = scores.wide, scores.columns, scores.wells
    against = {
        name: pd.DataFrame({column: wide[column] - _rival(wide, column, name, reference) for column in columns})
        for name in ("reference", "blurred", "contrast")
    }
    means = bootstrap_means(wide, wells, draws=draws)
    differences = {name: bootstrap_means(table, wells, draws=draws) for name, table in against.items()}
    table = scores.known.loc[columns].reset_index()
    table = table.assign(mean=means.mean, mean_low=means.low, mean_high=means.high, n=means.n, wells=means.clusters)
    other = differences["reference"]
    table = table.assign(difference=other.mean, difference_low=other.low, difference_high=other.high, p_holm=holm(other.p))
    better = table["metric"].map(lambda name: METRICS[name].better if name in METRICS else 0).to_numpy()
    for name in ("blurred", "contrast"):
        table[f"above_{name}"] = _is_above(differences[name], better)
    pairs = zip(table["above_blurred"], table["above_contrast"], strict=True)
    table["beats_controls"] = [None if None in pair else all(pair) for pair in pairs]
    return table


def is_control(method: str) -> bool:
    """Tell whether a row of the tables of methods is a control: a map that asks nothing of this classifier, or a blurred one."""
    return method in {*CONTROLS, OBJECTS_MASK, OTHER_VIEW} or method.endswith(BLURRED)


def _rival(wide: pd.DataFrame, column: Column, name: str, reference: str) -> pd.Series[float] | float:
    """Return the scores that a column is compared with; NaN where there are none, or it would be compared with itself."""
    method, metric, substitute = column
    rival = {"reference": reference, "blurred": method + BLURRED, "contrast": "contrast"}[name]
    other = (rival, metric, substitute)
    is_compared = rival != method and (name == "reference" or not is_control(method)) and other in wide
    return wide[other] if is_compared else np.nan


def _is_above(differences: Means, better: NDArray[Any]) -> list[bool | None]:
    """Tell of each difference whether its interval lies on the good side of 0; None where there is none."""
    ends = np.where(better > 0, differences.low, -differences.high)
    return [None if side == 0 or np.isnan(end) else bool(end > 0) for end, side in zip(ends, better, strict=True)]


def curve_table(parts: Iterable[pd.DataFrame], *, draws: int) -> pd.DataFrame:
    """Return the mean curves of the methods with 95 % intervals by well, a row a method, substitute, `order` and point.

    `order` is ``deletion`` or ``insertion``; `share` of the pixels moved and `mean` probability of the target are in [0, 1].
    Of each part, read one after another, only the sums by well are kept.
    """
    columns = ["method", "substitute", "order", "share", "mean", "low", "high", "n", "wells"]
    shares: dict[str, NDArray[np.float64]] = {}
    held: dict[str, list[tuple[pd.DataFrame, pd.DataFrame]]] = {}
    methods: dict[str, None] = {}
    for part in parts:
        methods |= dict.fromkeys(part["method"])
        for substitute, group in part.groupby("substitute", sort=False):
            shares.setdefault(str(substitute), np.asarray(group["shares"].iloc[0], dtype=float))
            held.setdefault(str(substitute), []).append(_curve_sums(group))
    rows = []
    for substitute, points in shares.items():
        sums, counts = (_by_well(of, list(methods)) for of in zip(*held.pop(substitute), strict=True))
        means = bootstrap_sums(sums, counts, draws=draws)
        places = [(m, substitute, order, share) for m in methods for order in ("deletion", "insertion") for share in points]
        found = zip(means.mean, means.low, means.high, means.n, means.clusters, strict=True)
        rows += [(*place, *one) for place, one in zip(places, found, strict=True)]
    return pd.DataFrame(rows, columns=columns)


def _curve_sums(group: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the sum and the number of each well's and method's values at the points of both curves, deletion first."""
    drawn = np.concatenate([np.array(list(group[order]), np.float32) for order in ("deletion", "insertion")], axis=1)
    by = [(group["plate"] + "/" + group["well"]).to_numpy(), group["method"].to_numpy()]
    grouped = pd.DataFrame(drawn.astype(np.float64)).groupby(by, sort=False)
    return grouped.sum(), grouped.count().astype(np.int32)


def _by_well(parts: Sequence[pd.DataFrame], methods: list[str]) -> NDArray[np.float64]:
    """Return sums of parts as (wells, methods x points), wells in the order of their names, zeros where a method has none."""
    table = pd.concat(parts)
    homes, wells = pd.factorize(table.index.get_level_values(0), sort=True)
    columns = pd.Index(methods).get_indexer(table.index.get_level_values(1))
    summed = np.zeros((len(wells), len(methods), table.shape[1]))
    np.add.at(summed, (homes, columns), table.to_numpy())
    return summed.reshape(len(wells), -1)
