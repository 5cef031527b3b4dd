"""Responses: how what the classifier looks at differs between regions, doses and places on the plate.

Every function is pure: tables in, a table out, one row a number or a group. Intervals resample wells. Permutations are drawn
from the names of what is tested, so a p-value does not depend on what else is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from pcim.confounding import factors
from pcim.plate import KEY_COLUMNS, keyed_number
from pcim.statistics import bootstrap_means, holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MEASURES = ("confidence", "share", "lift")
"""What may depend on a well's place: the probability of the call, the objects' share of the map, and its lift."""

_WELL = ["plate", "well"]
_FEWEST_DOSES = 3
_AT_ONCE = 500
"""Permutations made at once."""

_ENOUGH = 200
"""Permutations that reach the statistic, after which no more are drawn (Besag and Clifford 1991): p is known to about 7 % of itself."""

_ROUNDING = 1e-9
"""Statistics that differ by less, relative, are equal: the order of sums must not make a p-value."""


def organelle_table(shares: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return share of the map, area and lift (1 = chance) by method, region and channel, a row each, in the order of `shares`.

    `channel` is `all` or a label. Shares are of the view's whole attribution, so they tell how a map is shared out over organelles
    and channels; the lift of a channel is within that channel. `views` and `wells` are those that have a row.
    """
    by = ["method", "region", "channel"]
    keys: list[tuple[str, str, str]] = list(dict.fromkeys(shares[by].itertuples(index=False, name=None)))
    table = pd.DataFrame(keys, columns=by)
    wide = pd.DataFrame(shares.set_index([*KEY_COLUMNS, *by])[["share", "lift"]].unstack(by))
    for measure in ("share", "lift"):
        values = wide.reindex(columns=pd.MultiIndex.from_tuples([(measure, *key) for key in keys], names=[None, *by]))
        means = bootstrap_means(values, _wells_of(wide.index.to_frame()), draws=draws)
        table[[measure, f"{measure}_low", f"{measure}_high"]] = np.stack([means.mean, means.low, means.high], axis=1)
    groups = shares.assign(at=_wells_of(shares)).groupby(by, sort=False)
    known = groups.agg(area=("area", "mean"), views=("area", "size"), wells=("at", "nunique")).reset_index()
    columns = [*by, "share", "share_low", "share_high", "area", "lift", "lift_low", "lift_high", "views", "wells"]
    return table.merge(known, on=by, how="left")[columns]


def measured_views(views: pd.DataFrame, shares: pd.DataFrame, *, method: str, region: str | None) -> pd.DataFrame:
    """Return the called views with what is measured of each: float columns `confidence`, `p_last`, `share`, `lift`.

    `views` are those of `findings.called_views`. `confidence` is the probability of the call, `p_last` that of the last class, both
    in [0, 1]; `share` and `lift` are of `region`, the objects, in the whole map by `method`: NaN for views without one, and for all
    where there is no region.
    """
    of_objects = shares[(shares["method"] == method) & (shares["region"] == region) & (shares["channel"] == "all")]
    last = [float(np.asarray(each, dtype=float)[-1]) for each in views["probabilities"]]
    known = views.assign(confidence=views["p"].astype(float), p_last=np.array(last, dtype=float))
    keys = list(KEY_COLUMNS)
    return known.merge(of_objects[[*keys, "share", "lift"]], on=keys, how="left", validate="one_to_one")


def measured_wells(views: pd.DataFrame) -> pd.DataFrame:
    """Return a row a well, the means of `measured_views`, with its place, treatment, control_type, dose, `views` and `explained`."""
    means = {name: (name, "mean") for name in ("confidence", "p_last", "share", "lift")}
    known = {name: (name, "first") for name in ("row", "column", "treatment", "control_type", "dose")}
    counts = {"views": ("confidence", "size"), "explained": ("share", "count")}
    return views.groupby(_WELL, sort=True).agg(**known, **means, **counts).reset_index()


def dose_table(views: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return by treatment and dose the means of `p_last`, `share` and `lift` of `measured_views`, with 95 % intervals.

    `views` and `wells` are those called, `explained` the views with a share. Views without a dose are in no row.
    """
    return _means_by(views[views["dose"].notna()], ["treatment", "dose"], draws)


def treatment_table(views: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return the same by treatment, all doses together."""
    return _means_by(views, ["treatment"], draws)


def _means_by(views: pd.DataFrame, by: list[str], draws: int) -> pd.DataFrame:
    measures = ["p_last", "share", "lift"]
    rows = []
    for names, group in views.groupby(by, sort=True):
        means = bootstrap_means(group[measures], _wells_of(group), draws=draws)
        row: dict[str, Any] = dict(zip(by, names, strict=True))
        for name, *ends in zip(measures, means.mean, means.low, means.high, strict=True):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        counts = {"views": len(group), "wells": _wells_of(group).nunique(), "explained": group["share"].count()}
        rows.append(row | counts)
    intervals = [f"{name}{end}" for name in measures for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*by, *intervals, "views", "wells", "explained"])


def trend_table(wells: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return for each treatment Spearman's correlation `rho` of dose with `p_last`, `share` and `lift` of its wells.

    `p` is two-sided, from at most `draws` permutations of the wells' values within their plates; `p_holm` is corrected over all rows.
    `wells` and `doses` are those with a value; rho and p are NaN for fewer than three doses, or where all values are equal.
    """
    rows = []
    for treatment, group in wells[wells["dose"].notna()].groupby("treatment", sort=True):
        for measure in ("p_last", "share", "lift"):
            known = group[group[measure].notna()].sort_values(_WELL)
            row = {"treatment": treatment, "measure": measure, "rho": np.nan, "p": np.nan}
            doses = known["dose"].nunique()
            if doses >= _FEWEST_DOSES and known[measure].nunique() > 1:
                seed = keyed_number("trend", str(treatment), measure)
                row |= _trend(
                    known["dose"].to_numpy(), known[measure].to_numpy(), known["plate"].to_numpy(), draws, seed
                )
            rows.append(row | {"wells": len(known), "doses": doses})
    table = pd.DataFrame(rows, columns=["treatment", "measure", "rho", "p", "wells", "doses"])
    table.insert(4, "p_holm", holm(table["p"]))
    return table


def _trend(doses: Floats, values: Floats, strata: NDArray[Any], draws: int, seed: int) -> dict[str, float]:
    """Return Spearman's correlation and its p by permutation."""
    ranks = [rankdata(each) for each in (doses, values)]
    first, second = ((each - each.mean()) / each.std() / np.sqrt(len(each)) for each in ranks)
    rho = float(first @ second)
    drawn = (np.abs(permuted @ first) for permuted in _permutations(second, strata, draws, seed))
    return {"rho": rho, "p": _p_of(drawn, abs(rho) - _ROUNDING)}


def position_table(wells: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return how much of the variance between wells goes with their place: a row a factor of `confounding.factors` and measure.

    `omega2` is the share of the variance that the factor explains, corrected for its number of levels (Hays 1963: 0 on average
    at chance, so it may be negative); `p` is by at most `draws` permutations of all wells. **Treatments have places too**: `omega2_within` and
    `p_within` are the same among wells of one treatment at one dose (on one plate, but for the factor plate), of which `n_within` have a
    companion. `p_holm` and `p_within_holm` are corrected over all rows. `lowest` and `highest` are the levels with the extreme
    means, of `n` wells in `levels` levels. NaN: the place does not vary, no wells are left to compare, or all values are equal.
    """
    rows = []
    wells = wells.reset_index(drop=True)
    pairs = zip(wells["treatment"], wells["dose"], strict=True)
    at_dose = pd.Series([f"{treatment}\x1f{dose:.10g}" for treatment, dose in pairs], index=wells.index, dtype=str)
    for factor, places in (factors(wells) if len(wells) else {}).items():
        strata = at_dose if factor == "plate" else wells["plate"] + "\x1f" + at_dose
        for measure in MEASURES:
            known = pd.DataFrame({"value": wells[measure].astype(float), "level": places, "at": strata, "all": ""})
            known = known.assign(order=_wells_of(wells)).dropna(subset=["value", "level"]).sort_values("order")
            means = known.groupby("level")["value"].mean()
            row: dict[str, Any] = {"factor": factor, "measure": measure, "n": len(known), "levels": len(means)}
            for column, name in (("all", ""), ("at", "_within")):
                seed = keyed_number("position", factor, measure, name)
                effect, p = _effect(known["value"].to_numpy(), known["level"], known[column], draws, seed)
                row |= {f"omega2{name}": effect, f"p{name}": p}
            row["n_within"] = int((known.groupby("at")["value"].transform("size") > 1).sum())
            row |= {"lowest": means.idxmin() if len(means) else "", "lowest_mean": means.min()}
            rows.append(row | {"highest": means.idxmax() if len(means) else "", "highest_mean": means.max()})
    columns = ["factor", "measure", "omega2", "p", "p_holm", "omega2_within", "p_within", "p_within_holm", "n", "n_within", "levels",
               "lowest", "lowest_mean", "highest", "highest_mean"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"].astype(float)), p_within_holm=holm(table["p_within"].astype(float)))


def _effect(
    values: Floats, levels: pd.Series[str], strata: pd.Series[str], draws: int, seed: int
) -> tuple[float, float]:
    """Return omega squared of `levels` among values of one stratum, and its p by permutation within strata."""
    if not len(values):
        return np.nan, np.nan
    homes = pd.get_dummies(strata, dtype=float)
    known = np.column_stack([values, pd.get_dummies(levels, dtype=float)])
    known -= homes.to_numpy() @ (homes.to_numpy().T @ known / homes.to_numpy().sum(0)[:, np.newaxis])
    own, members = known[:, 0], known[:, 1:]
    basis, lengths, _ = np.linalg.svd(members, full_matrices=False)
    basis = basis[:, lengths > _ROUNDING * np.sqrt(len(values))]  # what the factor tells beyond the strata
    total, told = float(own @ own), basis.shape[1]
    free = len(values) - homes.shape[1] - told
    if told < 1 or free < 1 or total <= _ROUNDING**2 * float(values @ values):
        return np.nan, np.nan
    between = float(((own @ basis) ** 2).sum())
    drawn = (((each @ basis) ** 2).sum(1) for each in _permutations(own, strata.to_numpy(), draws, seed))
    error = (total - between) / free
    return (between - told * error) / (total + error), _p_of(drawn, between - _ROUNDING * total)


def _p_of(drawn: Iterable[Floats], reached: float) -> float:
    """Return the share of drawn statistics that are at least `reached`, the observed one counted among them."""
    above = total = 0
    for some in drawn:
        above, total = above + int((some >= reached).sum()), total + len(some)
        if above >= _ENOUGH:
            break
    return (1 + above) / (1 + total)


def _permutations(values: Floats, strata: NDArray[Any], draws: int, seed: int) -> Iterator[Floats]:
    """Yield `values` (n,) permuted within their strata, (some draws, n), until there are `draws`."""
    generator = np.random.default_rng(seed)
    codes = np.unique(strata, return_inverse=True)[1].astype(np.float64)
    homes = np.argsort(codes, kind="stable")
    for start in range(0, draws, _AT_ONCE):
        lots = generator.random((min(_AT_ONCE, draws - start), len(values)))
        permuted = np.empty_like(lots)
        permuted[:, homes] = values[np.argsort(codes + lots, axis=1)]  # lots lie below 1: no value leaves its stratum
        yield permuted


def _wells_of(table: pd.DataFrame) -> pd.Series[str]:
    return pd.Series((table["plate"] + "/" + table["well"]).to_numpy(), index=table.index)
