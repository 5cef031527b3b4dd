"""Confounding: whether the class of a well can be told from where it lies, and what the classifier does where that misleads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pcim.statistics import proportion_interval


def confounding_table(wells: pd.DataFrame) -> pd.DataFrame:
    """Return how well the place of a well alone tells its true class, and the classifier's accuracy where the place misleads.

    A row a factor (plate, row, column, half of the plate, distance to its edge): of `n` wells whose truth is known, `k` have the class
    that is commonest among the *other* wells of the same level (ties count for none), with Wilson's interval; `majority` is what the
    commonest class of all would reach. `against_k` of `against_n` wells where the factor names another class are called rightly.
    """
    known = wells[wells["truth"] != ""].reset_index(drop=True)
    rows = []
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
        rows.append(row | {"against_k": right_calls, "against_n": len(against)})
    columns = ["factor", "k", "n", "share", "low", "high", "majority", "against_k", "against_n"]
    return pd.DataFrame(rows, columns=columns)


def _number_of_row(name: str) -> int:
    """Return the number of a plate's row from its letters: A = 1, Z = 26, AA = 27."""
    number = 0
    for letter in name:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def factors(wells: pd.DataFrame) -> dict[str, pd.Series[str]]:
    """Return what may stand for the class by accident: factor -> a level for each well."""
    row, column = wells["row"].map(_number_of_row).astype(int), wells["column"].astype(int)
    own = wells["plate"] + "/"
    ends = [(place.groupby(wells["plate"]).transform(end)) for place in (row, column) for end in ("min", "max")]
    depth = np.minimum.reduce([row - ends[0], ends[1] - row, column - ends[2], ends[3] - column])
    left = np.where(2 * column < ends[2] + ends[3], "left", "right")
    return {
        "plate": wells["plate"],
        "row": own + wells["row"],
        "column": own + wells["column"].astype(str),
        "half of the plate": own + pd.Series(left, index=wells.index, dtype=str),
        "distance to the edge": pd.Series(np.minimum(depth, 2), index=wells.index).astype(str),
    }


def _commonest_of_the_others(levels: pd.Series[str], truth: pd.Series[str]) -> pd.Series[str]:
    """Return for each well the commonest class of the other wells of its level, empty where there is none or several."""
    counts = pd.crosstab(levels, truth)
    others = counts.reindex(levels.to_numpy()).to_numpy() - (truth.to_numpy()[:, None] == counts.columns.to_numpy())
    most = others.max(axis=1)
    is_one = (others == most[:, None]).sum(axis=1) == 1
    named = np.where(is_one & (most > 0), counts.columns.to_numpy()[others.argmax(axis=1)], "")
    return pd.Series([str(name) for name in named], index=truth.index, dtype=object)
