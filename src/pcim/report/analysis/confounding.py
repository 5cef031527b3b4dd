"""Tables of what gives a well's class away: the place of the well on the plate, or the light on it.

They also say what the classifier does where the place misleads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.core.identity import row_number
from pcim.report.analysis.intervals import proportion_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

LEANING = 0.02
"""Light comes from a side where the halves of a field differ by more than this share of its median."""


def confounding_table(wells: pd.DataFrame) -> pd.DataFrame:
    """Return how well the place or the light of a well alone tells its true class, and the classifier's accuracy where that misleads.

    A row a set of wells and factor (see `factors`): of `n` wells whose truth is known, `k` have the class that is commonest among the
    *other* wells of the same level (ties count for none), with Wilson's interval; `majority` is what the commonest class of the set
    would reach. `against_k` of `against_n` wells where the factor names another class are called rightly. `of` is ``all``, and beside it
    ``seen in training``, what the classifier could learn a place from: plates with another layout would hide it.
    """
    known = wells[wells["truth"] != ""].reset_index(drop=True)
    seen = known["wells"] == "seen in training" if "wells" in known else pd.Series(False, index=known.index)
    sets = {"all": known} | ({"seen in training": known[seen].reset_index(drop=True)} if 0 < seen.sum() < len(known) else {})
    rows = [row | {"of": name} for name, of in sets.items() for row in _rows_by_factor(of)]
    columns = ["of", "factor", "k", "n", "share", "low", "high", "majority", "against_k", "against_n"]
    return pd.DataFrame(rows, columns=columns)


def _rows_by_factor(known: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield a row a factor: what the factor tells of these wells."""
    for factor, levels in factors(known).items():
        if levels.nunique() < 2:  # noqa: PLR2004 - one level tells nothing apart
            continue
        guess = _commonest_of_the_others(levels, known["truth"])
        right, against = guess == known["truth"], known[(guess != known["truth"]) & (guess != "")]
        interval = proportion_interval(int(right.sum()), len(known))
        row = {"factor": factor, "k": int(right.sum()), "n": len(known), "share": interval.share}
        row |= {"low": interval.low, "high": interval.high}
        row |= {"majority": float(known["truth"].value_counts(normalize=True).iloc[0])}
        right_calls = int((against["call"] == against["truth"]).sum())
        yield row | {"against_k": right_calls, "against_n": len(against)}


def accuracy_by_level(wells: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy within each level of each factor: a classifier that reads the factor cannot tell the wells of one level apart.

    A row a factor and level: of the `wells` with a known truth there, `right` are called rightly, with Wilson's interval; `classes` is
    how many true classes they have. Where that is one (`separable` False), the level says nothing: naming its class is always right.
    `majority` is what naming the level's commonest class would reach. Held-out wells alone count where there are any (`of` says which).
    Levels are those of all wells with a known truth; a level without a counted well has no row.
    """
    known = wells[wells["truth"] != ""].reset_index(drop=True)
    held_out = known["wells"] == "held out" if "wells" in known else pd.Series(False, index=known.index)
    of, counted = ("held out", held_out) if held_out.any() else ("all", ~held_out)
    rows = []
    for factor, levels in factors(known).items():
        for level, group in known[counted].groupby(levels[counted], sort=False):
            right, classes = int((group["call"] == group["truth"]).sum()), group["truth"].nunique()
            interval = proportion_interval(right, len(group))
            row = {"factor": factor, "level": level, "of": of, "wells": len(group), "right": right}
            row |= {"accuracy": interval.share, "low": interval.low, "high": interval.high}
            most = float(group["truth"].value_counts(normalize=True).iloc[0])
            rows.append(row | {"classes": classes, "majority": most, "separable": classes > 1})
    columns = ["factor", "level", "of", "wells", "right", "accuracy", "low", "high", "classes", "majority", "separable"]
    return pd.DataFrame(rows, columns=columns)


def factors(wells: pd.DataFrame) -> dict[str, pd.Series[str]]:
    """Return what may stand for the class by accident: factor -> a level for each well, the index being that of `wells`.

    By place: plate, row, column, half of the plate, distance to its edge (0, 1, 2 = two or more, of the wells given). By light, where
    ingest measured it (`illumination`, `tilt_right`, `tilt_down`, of the first channel): the third of its plate that a well's median
    belongs to, and the side from which the light comes (``even`` within 2 % of the median).
    """
    row, column = wells["row"].map(row_number).astype(int), wells["column"].astype(int)
    own = wells["plate"] + "/"
    ends = [(place.groupby(wells["plate"]).transform(end)) for place in (row, column) for end in ("min", "max")]
    depth = np.minimum.reduce([row - ends[0], ends[1] - row, column - ends[2], ends[3] - column])
    left = np.where(2 * column < ends[2] + ends[3], "left", "right")
    places = {
        "plate": wells["plate"],
        "row": own + wells["row"],
        "column": own + wells["column"].astype(str),
        "half of the plate": own + pd.Series(left, index=wells.index, dtype=str),
        "distance to the edge": pd.Series(np.minimum(depth, 2), index=wells.index).astype(str),
    }
    return places | _light(wells)


def _light(wells: pd.DataFrame) -> dict[str, pd.Series[str]]:
    """Return the levels of illumination; none where it is not known of every well."""
    measured = ["illumination", "tilt_right", "tilt_down"]
    if not set(measured) <= set(wells) or wells[measured].isna().any(axis=None):
        return {}
    rank = wells.groupby("plate")["illumination"].rank(pct=True)
    thirds = pd.cut(rank, [0, 1 / 3, 2 / 3, 1], labels=["dark", "middle", "bright"]).astype(str)
    right, down = wells["tilt_right"].to_numpy(float), wells["tilt_down"].to_numpy(float)
    sides = [
        np.maximum(np.abs(right), np.abs(down)) <= LEANING * wells["illumination"].abs().to_numpy(float),
        (np.abs(right) >= np.abs(down)) & (right > 0),
        np.abs(right) >= np.abs(down),
        down > 0,
    ]
    side = np.select(sides, ["even", "right", "left", "bottom"], "top")
    return {
        "illumination": wells["plate"] + "/" + thirds,
        "direction of the light": pd.Series(side, index=wells.index, dtype=str),
    }


def _commonest_of_the_others(levels: pd.Series[str], truth: pd.Series[str]) -> pd.Series[str]:
    """Return for each well the commonest class of the other wells of its level, empty where there is none or several."""
    counts = pd.crosstab(levels, truth)
    others = counts.reindex(levels.to_numpy()).to_numpy() - (truth.to_numpy()[:, None] == counts.columns.to_numpy())
    most = others.max(axis=1)
    is_one = (others == most[:, None]).sum(axis=1) == 1
    named = np.where(is_one & (most > 0), counts.columns.to_numpy()[others.argmax(axis=1)], "")
    return pd.Series([str(name) for name in named], index=truth.index, dtype=object)
