"""The numbers of the report from the campaign's tables, each with its n and its 95 % interval.

Every function is pure: tables in, a table out, one row a number. Intervals resample wells, because views of one well are not
independent. Where every resampled value is the same, the bootstrap would claim certainty; there the interval is as wide as Wilson's
for as many trials as there are wells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.core.identity import FIELD_COLUMNS, KEY_COLUMNS
from pcim.core.vocabulary import WHOLE
from pcim.report.analysis.dose_and_position import long_table, organelle_table
from pcim.report.analysis.intervals import cluster_bootstrap_mean, proportion_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pcim.config.classifier import ClassifierSettings

    Floats = NDArray[np.float64]

WELL = ["plate", "well"]
_SPLITS = {"test": "held out", "train": "seen in training"}


LIGHT = ("illumination", "tilt_right", "tilt_down")
"""How a field is lit (`quality.illumination`): a list a field in the field table, of its first channel where a well has a number."""


def called_views(calls: pd.DataFrame, fields: pd.DataFrame, settings: ClassifierSettings) -> pd.DataFrame:
    """Return the classified views with treatment, control_type, dose, `truth`, `wells` (held out, seen, other), and how they are lit.

    `illumination`, `tilt_right` and `tilt_down` are of the field's first channel; NaN where ingest did not measure them.
    """
    known = ["path", "treatment", "control_type", "dose", *LIGHT]
    told = {"_truth": settings.truth, "_split": settings.split}  # whatever they are called: treatment, call, p
    own = {name: fields[column].fillna("").astype(str) if column else "" for name, column in told.items()}
    measured = {name: fields.get(name, pd.Series([()] * len(fields), index=fields.index)) for name in LIGHT}
    fields = fields.assign(**own, **{name: [v[0] if len(v) else np.nan for v in of] for name, of in measured.items()})
    ok = calls[calls["status"] == "ok"]
    table = ok.merge(fields[[*FIELD_COLUMNS, *known, *own]], on=list(FIELD_COLUMNS), how="left", validate="many_to_one")
    return table.assign(truth=table.pop("_truth"), wells=table.pop("_split").map(_SPLITS).fillna("other"))


def called_wells(views: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return a row per well: the call of its views' mean probabilities, its `p` and `p_last`, the plate map, and its light."""
    rows = []
    for (plate, well), group in views.groupby(WELL, sort=True):
        mean = np.stack([np.asarray(value, dtype=float) for value in group["probabilities"]]).mean(0)
        first = group.iloc[0]
        known = {name: first[name] for name in ("row", "column", "treatment", "control_type", "dose", "truth", "wells")}
        call = classes[int(mean.argmax())]
        called = {"call": call, "p": mean.max(), "p_last": mean[-1], "views": len(group)}
        rows.append({"plate": plate, "well": well, **known, **called, **group[list(LIGHT)].mean()})
    known_of = ["row", "column", "treatment", "control_type", "dose", "truth", "wells"]
    return pd.DataFrame(rows, columns=[*WELL, *known_of, "call", "p", "p_last", "views", *LIGHT])


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
    """Return each region's share of the map and its lift (share / area, 1 = chance), a row a method and region; none where none is named.

    `over_edge` is the lift less that of the control `edge` on the same view and region; NaN for it itself, and where it was not run.
    """
    overall = shares[(shares["channel"] == "all") & (shares["region"] != WHOLE)]
    beside = long_table(overall.assign(over_edge=_over_edge(overall)), ["method", "region"], "over_edge", draws=draws)
    table = organelle_table(overall, draws=draws).drop(columns="channel")
    return table.merge(beside, on=["method", "region"], how="left", validate="one_to_one")


def _over_edge(shares: pd.DataFrame) -> Floats:
    """Return each row's lift less the edge control's, (rows,); NaN where there is nothing to compare it with."""
    view = shares.groupby([*KEY_COLUMNS, "region"], sort=False).ngroup().to_numpy()
    lift, is_edge = shares["lift"].to_numpy(float), (shares["method"] == "edge").to_numpy()
    edge = np.full(int(view.max(initial=-1)) + 1, np.nan)
    edge[view[is_edge]] = lift[is_edge]
    return np.where(is_edge, np.nan, lift - edge[view])


def channel_table(shares: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return each channel's part of the map over all regions, for the methods that have a map a channel."""
    own = shares[shares["channel"] != "all"]
    by = ["method", "channel"]
    summed = own.groupby([*KEY_COLUMNS, *by], sort=False)["share"].sum(min_count=1).reset_index()
    views = summed.groupby(by, sort=False).size().rename("views").reset_index()
    return long_table(summed, by, "share", draws=draws).merge(views, on=by, how="left", validate="one_to_one")


def exchange_table(interventions: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return, a row a region, how many calls follow an exchange of it, of the control patch of the same area, and its replacement.

    `effect` is the difference between exchange and control, one by one; NaN where the region leaves no room for a control. `mean` is the
    share that follow where the region becomes the mean of the partner's class.
    """
    columns = [
        "region", "family", "k", "n", "follows", "follows_low", "follows_high", "control_k", "control_n", "control", "control_low",
        "control_high", "effect", "effect_low", "effect_high", "mean_k", "mean_n", "mean", "mean_low", "mean_high", "area", "views",
        "wells",
    ]  # fmt: skip
    rows = []
    for (region, family), group in interventions.groupby(["region", "family"], sort=False):
        done, control, mean = (group[group["kind"] == kind] for kind in ("exchange", "control", "mean"))
        keys = [*KEY_COLUMNS, "partner"]
        pairs = done[[*keys, "follows"]].merge(control[[*keys, "follows"]], on=keys, suffixes=("", "_control"))
        pairs = pairs.assign(effect=pairs["follows"].astype(float) - pairs["follows_control"].astype(float))
        row: dict[str, Any] = {"region": region, "family": family, "k": int(done["follows"].sum()), "n": len(done)}
        for name, kind in (("control", control), ("mean", mean)):
            row |= {f"{name}_k": int(kind["follows"].sum()), f"{name}_n": len(kind)}
            row |= _flat(name, _mean(kind, "follows", draws, bounds=(0, 1)))
        row |= _flat("follows", _mean(done, "follows", draws, bounds=(0, 1)))
        row |= _flat("effect", _mean(pairs, "effect", draws, bounds=(-1, 1)))
        views = len(done.drop_duplicates(list(KEY_COLUMNS)))
        rows.append(row | {"area": done["area"].mean(), "views": views, "wells": _wells(done)})
    return pd.DataFrame(rows, columns=columns)


def exchange_by_call(interventions: pd.DataFrame) -> pd.DataFrame:
    """Return the exchanges of each region by the call before and the partner's call: k of n that follow."""
    done = interventions[interventions["kind"] == "exchange"]
    by = ["region", "call_before", "partner_call"]
    table = done.groupby(by, sort=False)["follows"].agg(k="sum", n="size").reset_index()
    return table.astype({"k": int, "n": int})


def pair_table(pairs: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Return how far two classifiers agree on the views that both explained (the tables of `compare`), a row a pair.

    `agreement` (rank correlation of their maps, chance 0), `top_overlap` (of their highest 5 %, chance 0.05) and `same_call` (the share
    of views that both call alike, `same_k` of `views`), with intervals by well.
    """
    columns = [
        "classifier",
        "other",
        "method",
        *_ends("agreement"),
        *_ends("top_overlap"),
        "same_k",
        *_ends("same_call"),
        "views",
        "wells",
    ]
    rows = []
    for (classifier, other, method), group in pairs.groupby(["classifier", "other", "method"], sort=False):
        row: dict[str, Any] = {"classifier": classifier, "other": other, "method": method}
        row |= _flat("agreement", _mean(group, "agreement", draws))
        row |= _flat("top_overlap", _mean(group, "top_overlap", draws, bounds=(0, 1)))
        row |= {"same_k": int(group["same_call"].sum())} | _flat("same_call", _mean(group, "same_call", draws, bounds=(0, 1)))
        rows.append(row | {"views": len(group), "wells": _wells(group)})
    return pd.DataFrame(rows, columns=columns)


def background_table(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return the median probability of each explained class on the background alone, p_y(f(background)): target, n, p."""
    known = ledger[(ledger["status"] == "ok") & ledger["p_background"].notna()]
    table = known.groupby("target", sort=True)["p_background"].agg(n="size", p="median").reset_index()
    return table[["target", "n", "p"]]


def well_status(fields: pd.DataFrame, failed: pd.DataFrame) -> pd.DataFrame:
    """Return a row a well of the plates: how many `fields`, how many views `failed`, and `status`: ok, or the commonest trouble.

    `failed` is `review.failures`'; the place of the well and what the plate map says of it are kept.
    """
    known = [*WELL, "row", "column", "treatment", "control_type", "dose"]
    wells = fields.groupby(WELL, sort=False)["field"].nunique().rename("fields").reset_index()
    wells = wells.merge(fields[known].drop_duplicates(WELL), on=WELL)
    trouble = failed.groupby(WELL)["status"].agg(failed="size", status=lambda of: of.value_counts().index[0]).reset_index()
    table = wells.merge(trouble, on=WELL, how="left")
    return table.assign(failed=table["failed"].fillna(0).astype(int), status=table["status"].fillna("ok"))


def _mean(table: pd.DataFrame, value: str, draws: int, bounds: tuple[float, float] = (-np.inf, np.inf)) -> tuple[float, float, float]:
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
    return dict(zip(_ends(name), interval, strict=True))


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _wells(table: pd.DataFrame) -> int:
    return len(table.drop_duplicates(WELL))
