"""Trust: which method's maps a reader may believe, in words that come from the table of methods alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.scores import GAINS, is_control
from pcim.words import interval, join, method_name, number

if TYPE_CHECKING:
    import pandas as pd


def trusted_methods(table: pd.DataFrame, worth: float = 0.05) -> list[dict[str, Any]]:
    """Return the methods, best first, by the lowest of their gains with the substitutes that no method has seen.

    `table` is `scores.method_table`'s. A gain is what a map's order is worth, in probability of the class, 0 by chance. A method is
    `believed` where all its gains are at least `worth` and shown to be above chance, and one of them is shown to beat both its own
    blurred map and the contrast control: a map may exploit one kind of substitute, hardly all.
    """
    gains = table[table["metric"].isin(GAINS)]
    known_to_one = gains.groupby(["metric", "substitute"])["seen"].transform("any")
    fair = gains[~known_to_one] if (~known_to_one).any() else gains[~gains["seen"].astype(bool)]
    rows = []
    for method, group in fair.groupby("method", sort=False):
        if not is_control(str(method)) and group["mean"].notna().all():
            worst = group.sort_values("mean").iloc[0]
            beats = [value is True or value is np.True_ for value in group["beats_controls"]]
            believed = any(beats) and bool(((group["mean_low"] > 0) & (group["mean"] >= worth)).all())
            known = {name: worst[name] for name in ("substitute", "mean", "mean_low", "mean_high")}
            rows.append({"method": str(method), "believed": believed, "substitutes": len(group)} | known)
    return sorted(rows, key=lambda row: -row["mean"])


def method_sentence(table: pd.DataFrame, worth: float = 0.05) -> str:
    """Say which method's maps to believe first, which ones not, and what that means for reading them."""
    ranked = trusted_methods(table, worth)
    if not ranked:
        return "No map was scored, so none is to be believed."
    believed = [row for row in ranked if row["believed"]]
    others = [method_name(row["method"]) for row in ranked if not row["believed"]]
    if not believed:
        return (
            "No method is shown to order pixels better than chance, its own blurred map and the contrast control: read no detail into any map here; "
            "the exchanges decide."
        )
    first = believed[0]
    worth = f"{number(first['mean'])} {interval(first['mean_low'], first['mean_high'], digits=2)}"
    words = (
        f"Of the maps, believe {method_name(first['method'])} first: with substitutes that no method has seen its order of the pixels is worth "
        f"{worth} of the class's probability or more, and more than its own blurred map and the contrast control"
    )
    rest = [method_name(row["method"]) for row in believed[1:]]
    words += f"; {join(rest)} {'pass' if len(rest) > 1 else 'passes'} that test too" if rest else ""
    words += f". Not shown to pass it: {join(others)}" if others else ""
    return words + "."
