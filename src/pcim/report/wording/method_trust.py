"""Sentences on which method's maps a reader may believe, from the table of methods alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcim.report.analysis.method_scores import GAINS, is_control
from pcim.report.number_format import interval, join, method_name, number

if TYPE_CHECKING:
    import pandas as pd


def trusted_methods(table: pd.DataFrame, worth: float = 0.05) -> list[dict[str, Any]]:
    """Return the methods, best first, by the lowest of their gains with substitutes that no method has seen.

    `table` is `method_scores.method_table`'s. A gain is what a map's order is worth, in probability of the class, 0 by chance. A method is
    `believed` where all its gains are at least `worth` and shown to be above chance, and with one substitute at least it is shown to beat
    both its own blurred map and the contrast control (`beats` of `substitutes`; None where these were not scored): a map may exploit one
    kind of substitute, hardly all. Where some method has seen every substitute, each is judged by those that it has not seen itself.
    """
    gains = _fair(table)
    rows = []
    for method, group in gains.groupby("method", sort=False):
        if group["mean"].notna().all():
            worst = group.sort_values("mean").iloc[0]
            answers = [bool(value) for value in group["beats_controls"] if value is not None]
            is_sure = bool(((group["mean_low"] > 0) & (group["mean"] >= worth)).all())
            known = {name: worst[name] for name in ("substitute", "mean", "mean_low", "mean_high")}
            beats = sum(answers) if answers else None
            rows.append({"method": str(method), "believed": is_sure and bool(beats), "beats": beats, "substitutes": len(group)} | known)
    return sorted(rows, key=lambda row: -row["mean"])


def _of_methods(table: pd.DataFrame) -> pd.DataFrame:
    """Return the gains of what is no control."""
    is_own = table["method"].map(lambda method: not is_control(str(method))).astype(bool)
    return table[table["metric"].isin(GAINS) & is_own]


def _fair(table: pd.DataFrame) -> pd.DataFrame:
    """Return the gains with substitutes that no method has seen or, where there is none, that the method itself has not."""
    gains = _of_methods(table)
    is_seen = gains["seen"].astype(bool)
    by_one = is_seen.groupby([gains["metric"], gains["substitute"]]).transform("any")
    return gains[~by_one] if (~by_one).any() else gains[~is_seen]


def method_sentence(table: pd.DataFrame, worth: float = 0.05) -> str:
    """Say which method's maps to believe first, which ones not, and what that means for reading them."""
    ranked, scored = trusted_methods(table, worth), list(dict.fromkeys(_of_methods(table)["method"]))
    if not scored:
        return "No method's map was scored, so none is to be believed."
    unjudged = [method_name(method) for method in scored if method not in {row["method"] for row in ranked}]
    rest = f" Not judged, for it was given every substitute: {join(unjudged)}." if unjudged else ""
    if all(row["beats"] is None for row in ranked):
        return f"Which map to believe is not said: the contrast control and the methods' blurred maps were not scored.{rest}"
    believed = [row for row in ranked if row["believed"]]
    if not believed:
        return (
            "No method is shown to order pixels better than chance, its own blurred map and the contrast control: read no detail into any "
            f"map here; the exchanges decide.{rest}"
        )
    others = [method_name(row["method"]) for row in ranked if not row["believed"]]
    is_close = believed[0]["mean_low"] < worth
    close = " The lower end of that interval is close to chance: elsewhere it may be worth next to nothing." if is_close else ""
    return f"{_praise(believed, unjudged)}{f'. Not shown to pass it: {join(others)}' if others else ''}.{close}{rest}"


def _praise(believed: list[dict[str, Any]], unjudged: list[str]) -> str:
    """Say what the first of the believed methods is worth, and which others are believed too."""
    first, too = believed[0], [method_name(row["method"]) for row in believed[1:]]
    gain = f"{number(first['mean'])} {interval(first['mean_low'], first['mean_high'], digits=2)}"
    whose = "it was not given itself" if unjudged else "no method has seen"
    words = (
        f"Of the maps, believe {method_name(first['method'])} first: with substitutes that {whose} its order of the pixels is worth {gain} "
        f"of the "
        f"class's probability or more, and with {first['beats']} of {first['substitutes']} of them it beats its own blurred map and the "
        f"contrast control"
    )
    return words + (f"; {join(too)} {'pass' if len(too) > 1 else 'passes'} that test too" if too else "")
