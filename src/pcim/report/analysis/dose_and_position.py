"""Differences in what the classifier looks at between regions, doses and places on the plate.

Every function is pure: tables in, a table out, one row a number or a group. Intervals resample wells. Permutations are drawn from the
names of what is tested (those of a measure are the same for every place), so a p-value does not depend on what else is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from pcim.core.identity import KEY_COLUMNS, keyed_number
from pcim.report.analysis.confounding import factors
from pcim.report.analysis.intervals import bootstrap_means, holm, long_means
from pcim.report.analysis.permutation_tests import ROUNDING, PermutationTest, effects, permutations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MEASURES = ("confidence", "share", "lift")
"""What may depend on a well's place: the probability of the call, the objects' share of the map, and its lift."""

_WELL = ["plate", "well"]
_FEWEST_DOSES = 3


def organelle_table(shares: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return share of the map, area and lift (1 = chance) by method, region and channel, a row each, in the order of `shares`.

    `channel` is `all` or a label. Shares are of the view's whole attribution, so they tell how a map is shared out over organelles
    and channels; the lift of a channel is within that channel. `views` and `wells` are those that have a row.
    """
    by = ["method", "region", "channel"]
    table = long_table(shares, by, "share", draws=draws)
    table = table.merge(long_table(shares, by, "lift", draws=draws), on=by, validate="one_to_one")
    groups = shares.assign(at=_wells_of(shares)).groupby(by, sort=False)
    known = groups.agg(area=("area", "mean"), views=("area", "size"), wells=("at", "nunique")).reset_index()
    columns = [*by, "share", "share_low", "share_high", "area", "lift", "lift_low", "lift_high", "views", "wells"]
    return table.merge(known, on=by, how="left")[columns]


def long_table(table: pd.DataFrame, by: list[str], measure: str, *, draws: int) -> pd.DataFrame:
    """Return the mean of a measure in each group of rows, with its 95 % interval by well, in the order in which the groups come."""
    groups = table.groupby(by, sort=False).ngroup().to_numpy()
    means = long_means(table[measure], _wells_of(table), groups, draws=draws)
    names = table[by].drop_duplicates().reset_index(drop=True)
    return names.assign(**{measure: means.mean, f"{measure}_low": means.low, f"{measure}_high": means.high})


def measured_views(views: pd.DataFrame, shares: pd.DataFrame, *, method: str, region: str | None) -> pd.DataFrame:
    """Return the called views with what is measured of each.

    `explained`: it has a map by `method`. `confidence`, `p_last`, `share` and `lift` are floats.

    `views` are those of `findings.called_views`. `confidence` is the probability of the call, `p_last` that of the last class, both
    in [0, 1]; `share` and `lift` are of `region`, the objects, in the whole map by `method`: NaN for views without one, and for all
    where there is no region.
    """
    own = shares[(shares["method"] == method) & (shares["channel"] == "all")]
    of_objects, keys = own[own["region"] == region], list(KEY_COLUMNS)
    explained = pd.MultiIndex.from_frame(views[keys]).isin(pd.MultiIndex.from_frame(own[keys]))
    last = [float(np.asarray(each, dtype=float)[-1]) for each in views["probabilities"]]
    known = views.assign(explained=explained, confidence=views["p"].astype(float), p_last=np.array(last, dtype=float))
    return known.merge(of_objects[[*keys, "share", "lift"]], on=keys, how="left", validate="one_to_one")


def measured_wells(views: pd.DataFrame) -> pd.DataFrame:
    """Return a row a well, the means of `measured_views`, with its place, treatment, control_type, dose, `views` and `explained`."""
    means = {name: (name, "mean") for name in ("confidence", "p_last", "share", "lift")}
    known = {name: (name, "first") for name in ("row", "column", "treatment", "control_type", "dose")}
    counts = {"views": ("confidence", "size"), "explained": ("explained", "sum")}
    return views.groupby(_WELL, sort=True).agg(**known, **means, **counts).reset_index()


def dose_table(views: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return by treatment and dose the means of `p_last`, `share` and `lift` of `measured_views`, with 95 % intervals.

    `views` and `wells` are those called, `explained` the views with a map. Views without a dose are in no row.
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
        counts = {"views": len(group), "wells": _wells_of(group).nunique(), "explained": int(group["explained"].sum())}
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
                row |= _trend(known["dose"].to_numpy(), known[measure].to_numpy(), known["plate"].to_numpy(), draws, seed)
            rows.append(row | {"wells": len(known), "doses": doses})
    table = pd.DataFrame(rows, columns=["treatment", "measure", "rho", "p", "wells", "doses"])
    table.insert(4, "p_holm", holm(table["p"]))
    return table


def _trend(doses: Floats, values: Floats, strata: NDArray[Any], draws: int, seed: int) -> dict[str, float]:
    """Return Spearman's correlation and its p by permutation."""
    homes = np.unique(strata, return_inverse=True)[1]
    order = np.argsort(homes, kind="stable")
    ranks = [rankdata(each)[order] for each in (doses, values)]
    first, second = ((each - each.mean()) / each.std() / np.sqrt(len(each)) for each in ranks)
    rho = float(first @ second)
    tested = PermutationTest(abs(rho) - ROUNDING)
    for permuted in permutations(second, homes[order], draws, seed):
        tested.meet(np.abs(permuted @ first))
        if not tested.is_open:
            break
    return {"rho": rho, "p": tested.p}


def position_table(wells: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return how much of the variance between wells goes with their place: a row a factor of `confounding.factors` and measure.

    `omega2` is the share of the variance that the factor explains, corrected for its number of levels (Hays 1963: 0 on average
    at chance, so it may be negative); `p` is by at most `draws` permutations of all wells. **Treatments have places too**: `omega2_within`
    and
    `p_within` are the same among wells of one treatment at one dose (on one plate, but for the factor plate), of which `n_within` have a
    companion. `p_holm` and `p_within_holm` are corrected over all rows. `lowest` and `highest` are the levels with the extreme
    means, of `n` wells in `levels` levels. NaN: the place does not vary, no wells are left to compare, or all values are equal.
    """
    wells = wells.assign(order=_wells_of(wells)).sort_values("order").reset_index(drop=True)
    places = factors(wells) if len(wells) else {}
    found = {measure: _positions(wells, wells[measure].astype(float), places, draws) for measure in MEASURES}
    rows = [found[measure][factor] | {"factor": factor, "measure": measure} for factor in places for measure in MEASURES]
    columns = ["factor", "measure", "omega2", "p", "p_holm", "omega2_within", "p_within", "p_within_holm", "n", "n_within", "levels",
               "lowest", "lowest_mean", "highest", "highest_mean"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"].astype(float)), p_within_holm=holm(table["p_within"].astype(float)))


def _positions(wells: pd.DataFrame, values: pd.Series[float], places: dict[str, pd.Series[str]], draws: int) -> dict[str, dict[str, Any]]:
    """Return what `position_table` says of one measure: factor -> row."""
    known = values.notna()
    pairs = zip(wells["treatment"], wells["dose"], strict=True)
    at_dose = pd.Series([f"{treatment}\x1f{dose:.10g}" for treatment, dose in pairs], index=wells.index, dtype=str)
    on_plate = wells["plate"] + "\x1f" + at_dose
    own, levels = np.asarray(values[known], np.float64), {factor: of[known] for factor, of in places.items()}
    apart = {"plate": levels.pop("plate")} if "plate" in levels else {}
    asked = [("", levels | apart, on_plate.mask(known, "")), ("_within", levels, on_plate), ("_within", apart, at_dose)]
    rows: dict[str, dict[str, Any]] = {}
    for factor in places:
        of, strata = places[factor][known], (at_dose if factor == "plate" else on_plate)[known]
        means = values[known].groupby(of).mean()
        row: dict[str, Any] = {"n": len(of), "levels": len(means)}
        row["n_within"] = int((strata.map(strata.value_counts()) > 1).sum())
        row |= {"lowest": means.idxmin() if len(means) else "", "lowest_mean": means.min()}
        rows[factor] = row | {"highest": means.idxmax() if len(means) else "", "highest_mean": means.max()}
    for name, some, strata in asked:
        seed = keyed_number("position", str(values.name), name)
        for factor, (effect, p) in effects(own, some, strata[known], draws, seed).items():
            rows[factor] |= {f"omega2{name}": effect, f"p{name}": p}
    return rows


def _wells_of(table: pd.DataFrame) -> pd.Series[str]:
    return pd.Series((table["plate"] + "/" + table["well"]).to_numpy(), index=table.index)
