"""The verdict on one classifier, from the findings to words. The exchanges decide what a classifier looks at, never a map.

Maps propose, interventions decide, and the words say so when the two disagree. No sentence is written because somebody expects it: the
same sentences come out with any names of regions, and "cannot tell" is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pcim.config.report import ReadingSettings
from pcim.core.vocabulary import BACKGROUND, CORNERS, FRAME, MAP_TOP, SURROUNDINGS
from pcim.report.number_format import interval, join, percent, the
from pcim.report.wording.cautions import Row, cautions_of, without_control
from pcim.report.wording.map_location import map_sentence, pointed_regions
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    import pandas as pd

VerdictWord = Literal["looks at the biology", "looks elsewhere", "looks at both", "cannot tell"]

JUDGED = ("label", "geometry")
"""Families of regions that say where a classifier looks; the map's highest pixels and channels are only told."""

_NAMES = {
    FRAME: "the frame, the band along the edges of a view",
    CORNERS: "the corners of a view",
    MAP_TOP: "the map's highest pixels",
}


@dataclass(frozen=True)
class ClassifierVerdict:
    """What the numbers say of one classifier: a verdict, a headline, and sentences for each part of the page."""

    verdict: VerdictWord
    headline: str
    map_sentence: str
    channels: str
    agreement: str
    exchanges: dict[str, str]
    cautions: tuple[str, ...]


def decides(row: Row, settings: ReadingSettings) -> bool | None:
    """Tell whether calls follow a region: True, False, or None where the numbers do not settle it."""
    alone = not row["control_n"]
    low, high = (row["follows_low"], row["follows_high"]) if alone else (row["effect_low"], row["effect_high"])
    bar = settings.decides_alone if alone else settings.decides
    if row["wells"] < settings.least_wells or np.isnan(low) or np.isnan(high):
        return None
    if low > bar:
        return True
    return False if high < bar else None


def exchange_sentence(row: Row, directions: list[Row], settings: ReadingSettings) -> str:
    """Say what followed the exchange of one region; `directions` are its exchanges by the call before."""
    counted = f"{row['k']} of {row['n']} calls ({percent(row['follows'])} {interval(row['follows_low'], row['follows_high'])})"
    words = f"Exchange of {row['name']}: {counted} become the other view's call"
    if row["control_n"]:
        words += f"; for a control patch of the same area it is {row['control_k']} of {row['control_n']} ({percent(row['control'])})."
    elif row["family"] == "channel":
        words += ". A whole channel leaves no control patch."
    else:
        words += f". That is {percent(row['area'])} of the area in both views together, so no control patch of the same area is left."
    meaning = {
        True: f"Calls follow {row['name']}.",
        False: f"Calls do not depend on {row['short']} alone.",
        None: f"That does not settle whether calls follow {row['short']}.",
    }
    return f"{words} {meaning[decides(row, settings)]}{_tell_directions_apart(directions, settings)}"


def _tell_directions_apart(directions: list[Row], settings: ReadingSettings) -> str:
    """Say so where calls follow much more in one direction than in another."""
    ranked = sorted(directions, key=lambda row: -row["k"] / row["n"])
    if not ranked or ranked[0]["k"] / ranked[0]["n"] - ranked[-1]["k"] / ranked[-1]["n"] < settings.one_sided:
        return ""
    most, least = (f"from {row['call_before']} to {row['partner_call']} {row['k']} of {row['n']}" for row in (ranked[0], ranked[-1]))
    return f" Not alike in both directions: {most}, {least}."


def channel_sentence(rows: list[Row], shares: pd.DataFrame | None, method: str, settings: ReadingSettings) -> str:
    """Say which channels' exchange the calls follow, and how the map is shared out over them; "" for a classifier of one channel."""
    if not rows:
        return ""
    counts = {row["region"]: f"{row['region'].removeprefix('channel ')} ({row['k']} of {row['n']})" for row in rows}
    by: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for row in rows:
        by[decides(row, settings)].append(counts[row["region"]])
    own = [] if shares is None else rows_of(shares[shares["method"] == method])
    lies = [f"{percent(row['share'])} in {row['channel']}" for row in own if not np.isnan(row["share"])]
    of_map = f" The map lies {join(lies)}." if lies else ""
    if by[True]:
        parts = [f"its calls follow {join(by[True])}"]
        parts += [f"not {join(by[False])}"] if by[False] else []
        parts += [f"and for {join(by[None])} it is not settled"] if by[None] else []
        return f"Of the channels {', '.join(parts)}.{of_map}"
    if by[None]:
        return f"The exchange of whole channels does not settle which of them its calls follow: {join(list(counts.values()))}.{of_map}"
    return f"No single channel decides its calls: {join(list(counts.values()))}.{of_map}"


def read_classifier(  # noqa: PLR0913 - the findings and how to read them
    *,
    regions: pd.DataFrame,
    exchanges: pd.DataFrame,
    accuracy: pd.DataFrame,
    backgrounds: pd.DataFrame,
    calls: int,
    objects: str | None,
    confounding: pd.DataFrame | None = None,
    settings: ReadingSettings | None = None,
    method: str = "pcim",
    by_call: pd.DataFrame | None = None,
    halo_px: float = 0.0,
    named: bool = True,
    channels: pd.DataFrame | None = None,
) -> ClassifierVerdict:
    """Read one classifier from its findings (see `pcim.report.analysis.findings`).

    `calls` = how many classes it ever called; `halo_px` = how much around them the objects are exchanged with; `named` = has it
    regions of its own; `channels` = `findings.channel_table`'s.
    """
    settings = settings or ReadingSettings()
    told = _add_names(rows_of(exchanges), objects, halo_px)
    rows = [row for row in told if row["family"] in JUDGED]
    directions = rows_of(by_call) if by_call is not None else []
    deciding = [row for row in rows if decides(row, settings)]
    verdict, headline = _verdict(rows, objects, calls, settings)
    return ClassifierVerdict(
        verdict=verdict,
        headline=headline,
        map_sentence=map_sentence(regions, objects, method, named=named),
        channels=channel_sentence([row for row in told if row["family"] == "channel"], channels, method, settings),
        agreement=_agreement(
            [] if verdict == "cannot tell" else deciding,
            [row["region"] for row in pointed_regions(regions, method)],
            next((row for row in told if row["region"] == MAP_TOP and decides(row, settings)), None),
            exchanged=bool(rows),
            measured=named and len(regions) > 0,
        ),
        exchanges={
            row["region"]: exchange_sentence(row, [one for one in directions if one["region"] == row["region"]], settings) for row in told
        },
        cautions=(
            *without_control(rows, objects, settings),
            *cautions_of(rows, accuracy, backgrounds, confounding, settings),
        ),
    )


def _verdict(  # noqa: PLR0911 - one return a case, in the order of the argument
    rows: list[Row], objects: str | None, calls: int, settings: ReadingSettings
) -> tuple[VerdictWord, str]:
    if not rows:
        one = calls <= 1
        why = "every view got the same call, so there was nothing to exchange" if one else "no region was exchanged"
        return "cannot tell", f"What its calls follow is not known: {why}."
    answers = {row["region"]: decides(row, settings) for row in rows}
    followed = [row for row in rows if answers[row["region"]]]
    others = [row for row in followed if row["region"] != objects]
    if objects is None or objects not in answers:
        found = f"Its calls follow {_say_rates(followed)}. " if followed else ""
        are_named = any(row["family"] == "label" for row in rows)
        why = "No exchanged region is named as the biology" if are_named else "No regions are named"
        return "cannot tell", f"{found}{why}, so whether it looks at the biology is not said."
    mine = next(row for row in rows if row["region"] == objects)
    of_objects = _say_rates([mine])
    if answers[objects] and not mine["control_n"] and None in answers.values():
        return "cannot tell", f"Its calls follow {of_objects}, but what the rest of the view does is not settled."
    if answers[objects]:
        where: VerdictWord = "looks at both" if others else "looks at the biology"
        return where, f"Its calls follow {_say_rates(followed)}."
    if others and answers[objects] is False:
        return "looks elsewhere", f"Its calls follow {_say_rates(others)}, not {of_objects}."
    if any(row["control_n"] for row in others):
        return "looks elsewhere", f"Its calls follow {_say_rates(others)}; for {of_objects} it is not settled."
    if others and _is_overruled(mine, settings):
        return "looks elsewhere", f"Its calls follow {_say_rates(others)}; that any follow {of_objects} is not shown."
    if others:
        return "cannot tell", (
            f"Its calls follow {_say_rates(others)}; for {of_objects} it is not settled. So large a region holds too much to "
            "say what in it counts: name a smaller one."
        )
    if None in answers.values():
        open_ones = [row for row in rows if answers[row["region"]] is None]
        return "cannot tell", f"The exchanges do not settle what its calls follow: {_say_rates(open_ones)}."
    return "cannot tell", f"No single region decides its calls: {_say_rates(rows)}."


def _is_overruled(objects: Row, settings: ReadingSettings) -> bool:
    """Tell whether the objects, with enough wells, are neither shown to hold any call nor able to hold most of them.

    A large region that most calls follow left the objects where they were, so those calls went against them; with few wells an
    interval of 0 of 24 is still wider than what `decides` asks for, and says no more than that.
    """
    enough, low = objects["wells"] >= settings.least_wells, objects["effect_low"]
    return bool(enough and low <= 0 and objects["follows_high"] < settings.decides_alone)


def _rate(row: Row) -> str:
    control = f"; control patch {percent(row['control'])}" if row["control_n"] else ""
    return f"{row['k']} of {row['n']}{control}"


def _say_rates(rows: list[Row]) -> str:
    """Name regions with the share of calls that follow, in the exchange and in the control."""
    parts = []
    for row in rows:
        size = f"{percent(row['area'])} of the area, too large for a control patch"
        control = f"control patch {percent(row['control'])}" if row["control_n"] else size
        name = f"the {row['region']}" if row["control_n"] else row["name"]
        parts.append(f"{name} ({row['k']} of {row['n']} calls follow, {percent(row['follows'])}; {control})")
    return join(parts)


def _add_names(rows: list[Row], objects: str | None, halo_px: float) -> list[Row]:
    """Give each row the region's `name` in words: the background is what the others leave, objects have their halo."""
    named = []
    for row in rows:
        rest = [r["region"] for r in rows if r["region"] != row["region"] and r["family"] == "label"]
        name = short = _NAMES.get(row["region"], f"the {row['region']}")
        if row["region"] == SURROUNDINGS:
            name = f"the surroundings, everything outside the {objects}"
        if row["region"] == BACKGROUND and rest:
            name = f"the background, everything outside {the(rest)}"
        elif row["region"] == objects and halo_px:
            name = f"the {row['region']} with {halo_px:g} px around them"
        named.append(row | {"name": name, "short": short})
    return named


def _agreement(followed: list[Row], pointed: list[str], top: Row | None, *, exchanged: bool, measured: bool) -> str:
    """Say whether the map and the interventions agree; the interventions decide.

    `top` is the exchange of the map's highest pixels where calls follow it: then the map shows where they look, whatever that is called.
    """
    carried = "" if top is None else f"calls follow the map's highest pixels ({_rate(top)}), so it shows where they look"
    if not measured:
        own = carried or "so it is not compared with the exchanges"
        return f"The map was measured in no region{'; ' if carried else ', '}{own}."
    proposal = f"The map points at {the(pointed)}" if pointed else "The map points at no region more than edges would"
    if not followed:
        return f"{proposal}; {'the interventions do not settle it' if exchanged else 'no intervention has decided'}."
    deciding = [row["region"] for row in followed if row["family"] == "label"]  # the share of the map is known in these
    if not deciding:
        words = f"{proposal}; calls follow {join([row['short'] for row in followed])}, where the map was not measured"
        return f"{words}{'; but ' if carried else ''}{carried}."
    common = [name for name in deciding if name in pointed]
    if not common and carried:
        names = the([row["region"] for row in followed])
        return f"{carried[0].upper()}{carried[1:]}, though t{proposal[1:]}. Of the regions, calls follow {names}."
    if not common:
        return f"Map and interventions disagree. {proposal}; calls follow {the(deciding)}. The intervention decides."
    missed = [name for name in deciding if name not in pointed]
    extra = [name for name in pointed if name not in deciding]
    rest = [f"the map also points at {the(extra)}, where calls are not shown to follow"] if extra else []
    rest += [f"it does not point at {the(missed)}, where calls do follow"] if missed else []
    return f"Map and interventions agree on {the(common)}{'; ' if rest else ''}{' and '.join(rest)}."
