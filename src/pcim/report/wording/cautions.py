"""Sentences that a reader must know of one classifier before believing the rest of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcim.report.number_format import join, percent
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pcim.config.report import ReadingSettings

Row = dict[str, Any]


def cautions_of(
    rows: Sequence[Row],
    accuracy: pd.DataFrame,
    backgrounds: pd.DataFrame,
    confounding: pd.DataFrame | None,
    settings: ReadingSettings,
) -> tuple[str, ...]:
    """Return sentences from the exchanges that judge (`rows`), the accuracy, the backgrounds alone, and what gives the class away."""
    return (
        *_warn_of_accuracy(accuracy, settings),
        *_warn_of_few_wells(rows, settings),
        *_warn_of_fragile_maps(backgrounds, settings),
        *_warn_of_confounding(confounding, settings),
    )


def _warn_of_accuracy(accuracy: pd.DataFrame, settings: ReadingSettings) -> list[str]:
    """Say how many held-out wells it was right on, where that is not enough to show anything."""
    words = []
    held_out = rows_of(accuracy[(accuracy["wells"] == "held out") & (accuracy["unit"] == "well")])
    if not held_out:
        words.append("Accuracy on held-out wells is not known.")
    for row in held_out:
        right = f"It was right on {row['correct']} of {row['n']} held-out wells"
        if row["low"] <= row["majority"]:
            few = ", and with so few wells that" if row["n"] < settings.few_wells else "; that"
            words.append(f"{right}{few} is not shown to be better than always naming the commonest class ({percent(row['majority'])}).")
        elif row["n"] < settings.few_wells:
            words.append(f"{right}: a small number.")
    return words


def _warn_of_few_wells(rows: Sequence[Row], settings: ReadingSettings) -> list[str]:
    wells = min((row["wells"] for row in rows), default=settings.few_wells)
    few = wells < settings.few_wells
    return [f"Few wells in the exchanges (n = {wells}): read the intervals, not the means."] if few else []


def without_control(rows: Sequence[Row], objects: str | None, settings: ReadingSettings) -> list[str]:
    """Warn if calls follow the objects without a control: an exchange of so large an area may turn a call whatever it holds."""
    return [
        f"The exchange of the {row['region']} changes {percent(row['area'])} of a view, so no control patch of the same area stands beside "
        f"it: "
        "a smaller halo_px may leave room for one."
        for row in rows
        if row["region"] == objects and not row["control_n"] and row["follows_low"] > settings.decides_alone
    ]


def _warn_of_fragile_maps(backgrounds: pd.DataFrame, settings: ReadingSettings) -> list[str]:
    """Name the classes that the background alone is given."""
    return [
        f"With no pixel kept, a view is called {row['target']} with a median probability of {row['p']:.2f}: "
        "the map of this class is fragile."
        for row in rows_of(backgrounds)
        if row["p"] >= settings.fragile
    ]


def _warn_of_confounding(confounding: pd.DataFrame | None, settings: ReadingSettings) -> list[str]:
    """Say where the place of a well gives its class away, so that accuracy alone proves nothing."""
    rows = [] if confounding is None else rows_of(confounding)
    given_away = [row for row in rows if row["low"] > max(settings.given_away, row["majority"])]
    if not given_away:
        return []
    worst = max(given_away, key=lambda row: row["share"])
    of = " that it was trained on" if worst["of"] == "seen in training" else ""
    words = (
        f"The {worst['factor']} alone tells the class of {worst['k']} of {worst['n']} wells{of}: "
        "accuracy cannot show that it looks at the biology"
    )
    others = [f"the {factor}" for factor in dict.fromkeys(row["factor"] for row in given_away) if factor != worst["factor"]]
    return [f"{words}{f'; {join(others)} would do too' if others else ''}."]
