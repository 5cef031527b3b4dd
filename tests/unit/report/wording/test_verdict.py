"""The words follow the measured numbers, whatever anybody expects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pcim.config.report import ReadingSettings
from pcim.core.identity import KEY_COLUMNS
from pcim.report.analysis import findings
from pcim.report.number_format import interval, join, number, percent, the
from pcim.report.wording.verdict import read_classifier

EMPTY_ACCURACY = findings.accuracy_table(pd.DataFrame(columns=["wells", "truth", "call"]), pd.DataFrame(columns=["wells", "truth", "call"]))
NO_BACKGROUND = pd.DataFrame(columns=["target", "n", "p"])


def region(
    name: str, effect: float, spread: float = 0.08, *, wells: int = 24, control: bool = True, family: str = "label"
) -> dict[str, Any]:
    """One exchanged region: that share of 48 calls follows, with an interval of `spread` around it, control 0."""
    row = {"region": name, "family": family, "k": round(48 * effect), "n": 48, "area": 0.2, "views": 24, "wells": wells}
    low, high = effect - spread, effect + spread
    row |= {"follows": effect, "follows_low": low, "follows_high": high}
    row |= {"control_k": 0, "control_n": 48 if control else 0, "control": 0.0, "control_low": 0.0, "control_high": 0.1}
    known = (effect, low, high) if control else (np.nan,) * 3
    return row | dict(zip(("effect", "effect_low", "effect_high"), known, strict=True))


def lift(name: str, pcim: float, edge: float) -> list[dict[str, Any]]:
    return [
        {"method": method, "region": name, "share": value * 0.1, "area": 0.1, "lift": value, "lift_low": value - 0.3,
         "lift_high": value + 0.3, "share_low": 0.0, "share_high": 1.0, "views": 24, "wells": 24}
        for method, value in (("pcim", pcim), ("edge", edge))
    ]  # fmt: skip


def read(*rows: dict[str, Any], maps: list[dict[str, Any]] | None = None, **changes: Any) -> Any:
    told = {
        "regions": pd.DataFrame(maps if maps is not None else lift("cells", 6, 2) + lift("rim", 1, 2)),
        "exchanges": pd.DataFrame(rows, columns=list(region("x", 0.5))),
        "accuracy": EMPTY_ACCURACY,
        "backgrounds": NO_BACKGROUND,
        "calls": 2,
        "objects": "cells",
    }
    return read_classifier(**told | changes)


def test_calls_that_follow_the_objects_alone_look_at_the_biology() -> None:
    reading = read(region("cells", 0.9), region("rim", 0.02))
    assert reading.verdict == "looks at the biology"
    assert "43 of 48 calls follow" in reading.headline
    assert "agree on the cells" in reading.agreement


def test_calls_that_follow_the_rim_look_elsewhere() -> None:
    reading = read(region("cells", 0.02), region("rim", 0.9), maps=lift("cells", 1, 2) + lift("rim", 6, 2))
    assert reading.verdict == "looks elsewhere"
    assert "not the cells" in reading.headline
    assert "agree on the rim" in reading.agreement


def test_where_map_and_intervention_disagree_the_intervention_decides() -> None:
    reading = read(region("cells", 0.02), region("rim", 0.9), maps=lift("cells", 6, 2) + lift("rim", 1, 2))
    assert reading.verdict == "looks elsewhere"
    assert "points at the cells" in reading.map_sentence
    assert "disagree" in reading.agreement
    assert "The intervention decides." in reading.agreement


def test_calls_that_follow_objects_and_rim_look_at_both() -> None:
    reading = read(region("cells", 0.6), region("rim", 0.6))
    assert reading.verdict == "looks at both"
    assert "does not point at the rim" in reading.agreement


def test_an_interval_across_the_threshold_settles_nothing() -> None:
    reading = read(region("cells", 0.2), region("rim", 0.02))
    assert reading.verdict == "cannot tell"
    assert "do not settle" in reading.headline
    assert "does not settle" in reading.exchanges["cells"]


def test_no_region_deciding_is_said() -> None:
    reading = read(region("cells", 0.03), region("rim", 0.02))
    assert reading.verdict == "cannot tell"
    assert reading.headline.startswith("No single region decides")


def test_too_few_wells_decide_nothing() -> None:
    assert read(region("cells", 0.9, wells=3)).verdict == "cannot tell"


def test_a_region_too_large_for_a_control_must_carry_most_calls() -> None:
    settings = ReadingSettings()
    background = region("background", settings.decides_alone + 0.05, control=False)
    assert read(region("cells", 0.02), background).verdict == "cannot tell"
    background = region("background", settings.decides_alone + 0.1, control=False)
    assert read(region("cells", 0.02), background).verdict == "looks elsewhere"


def test_a_large_background_is_no_shortcut_while_the_objects_are_unsettled() -> None:
    reading = read(region("cells", 0.2), region("background", 0.75, control=False))
    assert reading.verdict == "cannot tell"
    assert "everything outside the cells" in reading.headline
    assert "name a smaller one" in reading.headline


def test_a_large_region_that_most_calls_follow_overrules_objects_that_are_shown_to_hold_none() -> None:
    """0 of 24 calls on twelve wells: the interval is wider than the threshold, and that is all that is open."""
    surroundings = region("surroundings", 1.0, 0.24, control=False, family="geometry")
    reading = read(region("cells", 0.0, 0.24), surroundings)
    assert reading.verdict == "looks elsewhere"
    assert "that any follow the cells (0 of 48 calls follow" in reading.headline
    assert read(region("cells", 0.26, 0.25), surroundings).verdict == "cannot tell", "some calls do follow the cells"
    assert read(region("cells", 0.1, 0.45), surroundings).verdict == "cannot tell", "half of the calls may"
    assert read(region("cells", 0.0, 0.24, wells=3), surroundings).verdict == "cannot tell", "too few wells"
    untested = region("cells", 0.45, 0.04, control=False)
    assert read(untested | {"follows_high": 0.5}, surroundings).verdict == "cannot tell", "no control, no effect"


def test_objects_too_large_for_a_control_prove_nothing_while_the_rest_is_unsettled() -> None:
    cells = region("cells", 0.9, control=False)
    assert read(cells, region("background", 0.5, control=False)).verdict == "cannot tell"
    reading = read(cells, region("background", 0.1, control=False), halo_px=8)
    assert reading.verdict == "looks at the biology"
    assert "the cells with 8 px around them" in reading.headline
    assert "px" not in read(region("cells", 0.9), halo_px=8).headline
    assert "too large for a control patch" in reading.headline


def test_a_region_by_geometry_is_a_shortcut_like_any_other() -> None:
    told = read(region("cells", 0.02), region("background", 0.1), region("corners", 0.9, family="geometry"))
    assert told.verdict == "looks elsewhere"
    assert "the corners" in told.headline
    assert "Calls follow the corners of a view." in told.exchanges["corners"]
    assert "everything outside the cells" in told.exchanges["background"], "a corner is part of the background"
    assert told.agreement.endswith("calls follow the corners of a view, where the map was not measured.")


def test_the_maps_highest_pixels_and_the_channels_are_told_and_judge_nothing() -> None:
    top = region("map_top", 0.9, family="map")
    channel = region("channel GFP", 0.95, control=False, family="channel")
    told = read(region("cells", 0.9), region("background", 0.0), top, channel)
    assert told.verdict == "looks at the biology"
    assert "Calls follow the map's highest pixels." in told.exchanges["map_top"]
    assert "Exchange of the channel GFP" in told.exchanges["channel GFP"]
    assert "A whole channel leaves no control patch." in told.exchanges["channel GFP"]
    assert read(region("cells", 0.0), region("background", 0.0), top, channel).verdict == "cannot tell"


def test_a_class_that_the_place_gives_away_is_a_caution() -> None:
    rows = [("column", 23, 23, 1.0, 0.86), ("half of the plate", 22, 23, 0.96, 0.79), ("row", 9, 23, 0.39, 0.22)]
    table = pd.DataFrame(
        [{"of": "all", "factor": f, "k": k, "n": n, "share": share, "low": low, "majority": 0.57} for f, k, n, share, low in rows]
    )
    told = read(region("cells", 0.9), region("rim", 0.0), confounding=table).cautions[-1]
    assert told.startswith("The column alone tells the class of 23 of 23 wells: accuracy cannot show")
    assert told.endswith("; the half of the plate would do too.")
    assert not any("alone tells" in words for words in read(region("cells", 0.9), confounding=table[2:]).cautions)
    trained = pd.concat([table[2:], table[:1].assign(of="seen in training", n=24, k=24), table[1:2]])
    words = read(region("cells", 0.9), confounding=trained).cautions[-1]
    assert words.startswith("The column alone tells the class of 24 of 24 wells that it was trained on: accuracy")


def top(effect: float) -> dict[str, Any]:
    return region("map_top", effect, family="map")


def test_a_map_whose_highest_pixels_carry_the_calls_does_not_disagree_whatever_they_are_called() -> None:
    """A bright edge lies in no region that has a name of its own: the background is too large to be pointed at."""
    edge = [region("cells", 0.0), region("background", 0.9, control=False), region("frame", 1.0, family="geometry")]
    maps = lift("cells", 0.2, 2) + lift("background", 1.1, 1.1)
    carried = read(*edge, top(1.0), maps=maps)
    assert carried.agreement == (
        "Calls follow the map's highest pixels (48 of 48; control patch 0\u202f%), so it shows where they look, though the map points "
        "at no region more than edges would. Of the regions, calls follow the background and the frame."
    )
    for lost in (read(*edge, top(0.1), maps=maps), read(*edge, maps=maps)):
        assert lost.agreement.startswith("Map and interventions disagree.")
    frame = read(region("cells", 0.0), region("frame", 1.0, family="geometry"), top(1.0), maps=maps)
    assert "where the map was not measured; but calls follow the map's highest pixels" in frame.agreement
    unnamed = read(region("frame", 1.0, family="geometry"), top(1.0), objects=None, named=False, maps=maps)
    assert unnamed.agreement.startswith("The map was measured in no region; calls follow the map's highest pixels")


def test_a_map_that_the_shuffled_network_gives_too_is_said_to_say_little() -> None:
    maps = lift("cells", 6, 2)
    for other, is_told in ((5.0, False), (5.8, True), (9.0, True)):
        shuffled = [lift("cells", other, 2)[0] | {"method": "randomised_model"}]
        words = read(region("cells", 0.9), maps=maps + shuffled).map_sentence
        assert ("shuffled weights lies no less in the cells" in words) == is_told
    assert "shuffled" not in read(region("cells", 0.9), maps=maps).map_sentence


def test_objects_that_leave_no_room_for_a_control_are_a_caution() -> None:
    told = read(region("cells", 0.9, control=False), region("rim", 0.0))
    assert any("changes 20\u202f% of a view, so no control patch" in words for words in told.cautions)
    assert not any("control patch" in words for words in read(region("cells", 0.9), region("rim", 0.0)).cautions)
    assert not any("control patch" in words for words in read(region("cells", 0.2, control=False)).cautions)


def test_an_exchange_that_works_in_one_direction_only_is_said() -> None:
    by_call = pd.DataFrame(
        [["cells", "dead", "live", 20, 24], ["cells", "live", "dead", 2, 24], ["rim", "dead", "live", 1, 48]],
        columns=["region", "call_before", "partner_call", "k", "n"],
    )
    reading = read(region("cells", 0.46), region("rim", 0.02), by_call=by_call)
    assert "from dead to live 20 of 24, from live to dead 2 of 24" in reading.exchanges["cells"]
    assert "directions" not in reading.exchanges["rim"]


def test_one_class_only_leaves_nothing_to_exchange() -> None:
    reading = read(calls=1)
    assert reading.verdict == "cannot tell"
    assert "same call" in reading.headline


def test_without_a_named_object_the_biology_is_not_judged() -> None:
    reading = read(region("rim", 0.9), objects=None)
    assert reading.verdict == "cannot tell"
    assert "follow the rim" in reading.headline


def test_nan_effects_decide_nothing() -> None:
    row = region("cells", 0.9) | dict.fromkeys(("effect", "effect_low", "effect_high"), np.nan)
    assert read(row).verdict == "cannot tell"


def test_maps_that_are_not_there_are_not_read() -> None:
    reading = read(region("cells", 0.9), maps=[], regions=findings.region_table(pd.DataFrame(columns=[
        *KEY_COLUMNS, "method", "region", "channel", "share", "area", "lift"]), draws=100))  # fmt: skip
    assert reading.map_sentence == "There are no maps to read."
    assert reading.agreement == "The map was measured in no region, so it is not compared with the exchanges."


def test_a_map_that_lights_up_edges_points_at_nothing() -> None:
    reading = read(region("cells", 0.9), maps=lift("cells", 5.0, 6.4))
    assert "points at no region" in reading.map_sentence


def test_the_paired_difference_to_edges_decides_where_it_is_known() -> None:
    """The lifts' own intervals overlap; view by view the map is above the edges, or it is not."""
    for low, points in ((0.2, True), (-0.2, False)):
        paired = {"over_edge": 0.1, "over_edge_low": low, "over_edge_high": 0.3}
        maps = [row | (paired if row["method"] == "pcim" else {}) for row in lift("cells", 6.1, 6.0)]
        assert "a difference of 0.1 [" in read(region("cells", 0.9), maps=maps).map_sentence
        assert ("points at the cells" in read(region("cells", 0.9), maps=maps).map_sentence) is points


def channel(name: str, effect: float, **changes: Any) -> dict[str, Any]:
    return region(f"channel {name}", effect, control=False, family="channel", **changes)


CHANNEL_SHARES = pd.DataFrame({
    "method": ["pcim", "pcim", "edge"], "channel": ["DNA", "GFP", "GFP"], "share": [0.2, 0.8, 0.5],
})  # fmt: skip


def test_without_named_regions_the_frame_and_the_channels_are_told_and_nothing_is_claimed() -> None:
    """A whole view is no region: that its exchange turns every call, and that the map lies in it, says nothing."""
    told = read(
        region("frame", 0.0, family="geometry"), channel("DNA", 0.0), channel("GFP", 1.0), maps=[], objects=None, named=False,
        channels=CHANNEL_SHARES,
        regions=findings.region_table(pd.DataFrame(columns=[*KEY_COLUMNS, "method", "region", "channel", "share", "area", "lift"]),
        draws=100),
    )  # fmt: skip
    assert told.verdict == "cannot tell"
    assert told.headline == "No regions are named, so whether it looks at the biology is not said."
    assert told.map_sentence == "No regions are named, so where in a view the maps lie is not measured."
    assert told.agreement == "The map was measured in no region, so it is not compared with the exchanges."
    assert told.channels == (
        "Of the channels its calls follow GFP (48 of 48), not DNA (0 of 48). The map lies 20\u202f% in DNA and 80\u202f% in GFP."
    )


def test_channels_that_are_not_settled_are_not_said_to_be_followed() -> None:
    told = read(region("cells", 0.9), channel("DNA", 0.9), channel("GFP", 0.5, spread=0.4), channel("ER", 0.1))
    assert told.channels == ("Of the channels its calls follow DNA (43 of 48), not ER (5 of 48), and for GFP (24 of 48) it is not settled.")
    few = read(region("cells", 0.9), channel("DNA", 1.0, wells=3), channel("GFP", 0.0, wells=3))
    assert few.channels.startswith("The exchange of whole channels does not settle which of them its calls follow: DNA (48 of 48)")
    none = read(region("cells", 0.9), channel("DNA", 0.1), channel("GFP", 0.1))
    assert none.channels == "No single channel decides its calls: DNA (5 of 48) and GFP (5 of 48)."
    assert not read(region("cells", 0.9)).channels, "one channel cannot be told apart"


def test_small_numbers_and_fragile_classes_are_said() -> None:
    accuracy = pd.DataFrame(
        [["held out", "well", 6, 6, 1.0, 0.61, 1.0, 0.67]],
        columns=["wells", "unit", "correct", "n", "accuracy", "low", "high", "majority"],
    )
    backgrounds = pd.DataFrame({"target": ["dead", "live"], "n": [9, 9], "p": [0.99, 0.01]})
    cautions = " ".join(read(region("cells", 0.9, wells=6), accuracy=accuracy, backgrounds=backgrounds).cautions)
    assert "6 of 6 held-out wells, and with so few wells that is not shown to be better" in cautions
    assert "Few wells in the exchanges (n = 6)" in cautions
    assert "called dead with a median probability of 0.99" in cautions
    assert "live" not in cautions


def test_accuracy_that_is_not_known_is_said() -> None:
    assert "Accuracy on held-out wells is not known." in read(region("cells", 0.9)).cautions


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.714), "71\u202f%"),
        (percent(np.nan), "not known"),
        (number(-0.5), "\N{MINUS SIGN}0.50"),
        (number(-0.001), "0.00"),
        (number(np.nan), "\N{EN DASH}"),
        (interval(0.6, 0.84), "[60, 84]"),
        (interval(-0.02, 0.11, digits=2), "[\N{MINUS SIGN}0.02, 0.11]"),
        (interval(np.nan, 1), "[no interval]"),
        (join(["a"]), "a"),
        (the(["a", "b", "c"]), "the a, the b and the c"),
    ],
)
def test_numbers_are_printed_for_readers(shown: str, expected: str) -> None:
    assert shown == expected
