"""Findings: from the campaign's tables to the numbers of the report, each with its n and its 95 % interval.

Every function is pure: tables in, a table out, one row a number. Intervals resample wells, because views of one well
are not independent. Where every resampled value is the same, the bootstrap would claim certainty; there the interval is
as wide as Wilson's for as many trials as there are wells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.plate import FIELD_COLUMNS, KEY_COLUMNS
from pcim.statistics import cluster_bootstrap_mean, proportion_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcim.config import ClassifierSettings

WELL = ["plate", "well"]
_SPLITS = {"test": "held out", "train": "seen in training"}
LOWER_IS_BETTER = ("deletion", "deletion_auc")


def called_views(calls: pd.DataFrame, fields: pd.DataFrame, settings: ClassifierSettings) -> pd.DataFrame:
    """Return the classified views with treatment, control_type, dose, `truth` and `wells` (held out, seen, other)."""
    columns = [name for name in (settings.truth, settings.split) if name]
    known = ["path", "treatment", "control_type", "dose", *dict.fromkeys(columns)]
    ok = calls[calls["status"] == "ok"]
    table = ok.merge(fields[[*FIELD_COLUMNS, *known]], on=list(FIELD_COLUMNS), how="left", validate="many_to_one")
    blank = pd.Series("", index=table.index)
    truth = table[settings.truth].fillna("").astype(str) if settings.truth else blank
    split = table[settings.split].fillna("").astype(str) if settings.split else blank
    return table.assign(truth=truth, wells=split.map(_SPLITS).fillna("other"))


def called_wells(views: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return a row a well: its views' mean probabilities, `p_last` of the last class, the call, and what is known of it."""
    rows = []
    for (plate, well), group in views.groupby(WELL, sort=True):
        mean = np.stack([np.asarray(value, dtype=float) for value in group["probabilities"]]).mean(0)
        first = group.iloc[0]
        known = {name: first[name] for name in ("row", "column", "treatment", "control_type", "dose", "truth", "wells")}
        call = classes[int(mean.argmax())]
        rows.append({"plate": plate, "well": well, **known, "call": call, "p_last": mean[-1], "views": len(group)})
    columns = [*WELL, "row", "column", "treatment", "control_type", "dose", "truth", "wells", "call", "p_last", "views"]
    return pd.DataFrame(rows, columns=columns)


def accuracy_table(views: pd.DataFrame, wells: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy on held-out, seen and other wells, by well and by view, with Wilson's interval.

    `majority` is what naming the commonest true class of the same set would reach.
    """
    rows = []
    for kind in ("held out", "seen in training", "other"):
        for unit, table in (("well", wells), ("view", views)):
            known = table[(table["wells"] == kind) & (table["truth"] != "")]
            if known.empty:
                continue
            correct, n = int((known["call"] == known["truth"]).sum()), len(known)
            interval = proportion_interval(correct, n)
            majority = known["truth"].value_counts(normalize=True).iloc[0]
            rows.append([kind, unit, correct, n, correct / n, interval.low, interval.high, majority])
    return pd.DataFrame(rows, columns=["wells", "unit", "correct", "n", "accuracy", "low", "high", "majority"])


def confusion_table(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return counts, true class (index) by call (columns), of rows whose truth is known."""
    known = table[table["truth"] != ""]
    counts = pd.crosstab(known["truth"], known["call"])
    return counts.reindex(index=list(classes), columns=list(classes), fill_value=0)


def region_table(shares: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return each region's share of the map and its lift (share / area, 1 = chance), a row a method and region."""
    overall = shares[shares["channel"] == "all"]
    rows = []
    for (method, region), group in overall.groupby(["method", "region"], sort=False):
        row: dict[str, Any] = {"method": method, "region": region, "area": group["area"].mean()}
        row |= _flat("share", _mean(group, "share", draws)) | _flat("lift", _mean(group, "lift", draws))
        rows.append(row | {"views": len(group), "wells": _wells(group)})
    columns = [
        "method",
        "region",
        "share",
        "share_low",
        "share_high",
        "area",
        "lift",
        "lift_low",
        "lift_high",
        "views",
        "wells",
    ]
    return pd.DataFrame(rows, columns=columns)


def channel_table(shares: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return each channel's part of the map over all regions, for the methods that have a map a channel."""
    own = shares[shares["channel"] != "all"]
    keys = [*KEY_COLUMNS, "method", "channel"]
    summed = pd.DataFrame(own.groupby(keys, sort=False)["share"].sum(min_count=1).reset_index())
    rows = [
        {"method": method, "channel": channel, **_flat("share", _mean(group, "share", draws)), "views": len(group)}
        for (method, channel), group in summed.groupby(["method", "channel"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["method", "channel", "share", "share_low", "share_high", "views"])


def exchange_table(interventions: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return, a row a region, how many calls follow an exchange of it, and of the control patch of the same area.

    `effect` is the difference between both, exchange by exchange; NaN where the region leaves no room for a control.
    """
    columns = [
        "region", "k", "n", "follows", "follows_low", "follows_high", "control_k", "control_n", "control", "control_low",
        "control_high", "effect", "effect_low", "effect_high", "area", "views", "wells",
    ]  # fmt: skip
    rows = []
    for region, group in interventions.groupby("region", sort=False):
        done, control = (group[group["kind"] == kind] for kind in ("exchange", "control"))
        keys = [*KEY_COLUMNS, "partner"]
        pairs = done[[*keys, "follows"]].merge(control[[*keys, "follows"]], on=keys, suffixes=("", "_control"))
        pairs = pairs.assign(effect=pairs["follows"].astype(float) - pairs["follows_control"].astype(float))
        row: dict[str, Any] = {"region": region, "k": int(done["follows"].sum()), "n": len(done)}
        row |= {"control_k": int(control["follows"].sum()), "control_n": len(control)}
        row |= _flat("follows", _mean(done, "follows", draws, bounds=(0, 1)))
        row |= _flat("control", _mean(control, "follows", draws, bounds=(0, 1)))
        row |= _flat("effect", _mean(pairs, "effect", draws, bounds=(-1, 1)))
        row |= {
            "area": done["area"].mean(),
            "views": len(done.drop_duplicates(list(KEY_COLUMNS))),
            "wells": _wells(done),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def exchange_by_call(interventions: pd.DataFrame) -> pd.DataFrame:
    """Return the exchanges of each region by the call before and the partner's call: k of n that follow."""
    done = interventions[interventions["kind"] == "exchange"]
    by = ["region", "call_before", "partner_call"]
    table = done.groupby(by, sort=False)["follows"].agg(k="sum", n="size").reset_index()
    return table.astype({"k": int, "n": int})


def method_table(scores: pd.DataFrame, *, reference: str, controls: Sequence[str], draws: int) -> pd.DataFrame:
    """Return each method's mean score in each metric, and its paired difference to `reference` and to the best control.

    Columns: method, metric, substitute, seen, mean, low, high, chance, n, wells, difference(_low, _high) to the reference
    in the metric's own direction, and above_control: the interval of the difference to the better of the model-free
    `controls` lies on the good side of 0 (None for a control itself and where there is none).
    """
    rows = []
    for (metric, substitute), table in scores.groupby(["metric", "substitute"], sort=False, dropna=False):
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        wide = table.pivot_table(index=list(KEY_COLUMNS), columns="method", values="value", dropna=False)
        means = wide.mean() * sign
        rivals = [name for name in controls if name in wide and means.notna()[name]]
        best = max(rivals, key=lambda name: means[name]) if rivals else None
        for method, group in table.groupby("method", sort=False):
            difference = _difference(wide, str(method), reference, draws)
            above = None
            if best is not None and method not in controls:
                margin = _difference(wide, str(method), best, draws)
                above = bool(margin[1] > 0 if sign > 0 else margin[2] < 0)
            row = {
                "method": method,
                "metric": metric,
                "substitute": substitute or "",
                "seen": bool(group["seen"].any()),
            }
            row |= _flat("mean", _mean(group, "value", draws)) | _flat("difference", difference)
            row |= {"chance": group["chance"].mean(), "n": int(group["value"].notna().sum()), "wells": _wells(group)}
            rows.append(row | {"above_control": above, "control": best or ""})
    columns = ["method", "metric", "substitute", "seen", "mean", "mean_low", "mean_high", "chance", "n", "wells",
               "difference", "difference_low", "difference_high", "control", "above_control"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def background_table(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return the median probability of each explained class on the background alone, p_y(f(background)): target, n, p."""
    known = ledger[(ledger["status"] == "ok") & ledger["p_background"].notna()]
    table = known.groupby("target", sort=True)["p_background"].agg(n="size", p="median").reset_index()
    return table[["target", "n", "p"]]


def doubts_table(fields: pd.DataFrame, views: pd.DataFrame) -> pd.DataFrame:
    """Return the fields whose quality verdict is not ok, then the `views` that a stage failed on for another reason."""
    columns = ["plate", "well", "field", "view", "stage", "status", "reason"]
    bad = fields[fields["qc"] != "ok"].assign(view="", stage="ingest", status=lambda t: t["qc"])
    failed = views[views["status"] != "ok"]
    known = (
        failed.merge(bad[list(FIELD_COLUMNS)], on=list(FIELD_COLUMNS), how="left", indicator=True)["_merge"] == "both"
    )
    rest = failed[~known.to_numpy()]
    parts = [part.reindex(columns=columns) for part in (bad, rest) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _difference(wide: pd.DataFrame, method: str, reference: str, draws: int) -> tuple[float, float, float]:
    """Return mean and interval of method minus reference, view by view; NaN for the reference itself."""
    if reference not in wide or method == reference:
        return (np.nan, np.nan, np.nan)
    pairs = (wide[method] - wide[reference]).rename("difference").reset_index()
    return _mean(pairs, "difference", draws)


def _mean(
    table: pd.DataFrame, value: str, draws: int, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float, float]:
    """Return the mean of a column and its interval, resampled by well; with one well, or none, the ends are NaN."""
    known = table[table[value].notna()]
    if known.empty:
        return (np.nan, np.nan, np.nan)
    values, clusters = known[value].to_numpy(dtype=float), (known["plate"] + "/" + known["well"]).to_numpy(dtype=str)
    wells = len(np.unique(clusters))
    if wells > 1 and np.isfinite(bounds[0]) and np.ptp(values) == 0:
        spread = proportion_interval(0, wells).high
        return float(values[0]), max(bounds[0], values[0] - spread), min(bounds[1], values[0] + spread)
    interval = cluster_bootstrap_mean(values, clusters, draws=draws)
    return interval.mean, interval.low, interval.high


def _flat(name: str, interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def _wells(table: pd.DataFrame) -> int:
    return len(table.drop_duplicates(WELL))
