"""Panels: which views are shown is a rule, not a choice; what is shown is what was measured."""

from __future__ import annotations

import io

import finished_campaign as reported
import numpy as np
import pandas as pd
from PIL import Image

from pcim.plates.rendering import composite, map_png, outlines_png, overlay_png, scale_of
from pcim.report.page.examples import choose_views


def candidates(wrong: str = "") -> pd.DataFrame:
    rows = [reported.key_of(row, column) | {"call": reported.called(column)} for row, column in reported.WELLS]
    table = pd.DataFrame(rows)
    return table.assign(truth=table["call"].where(table["well"] != wrong, "other"))


def test_calls_take_turns() -> None:
    assert list(choose_views(candidates(), 4)["call"]) == ["plain", "spot", "plain", "spot"]


def test_the_choice_does_not_depend_on_the_order_of_the_table() -> None:
    chosen = choose_views(candidates(), 4)
    shuffled = choose_views(candidates().sample(frac=1, random_state=3), 4)
    assert list(chosen["well"]) == list(shuffled["well"])


def test_a_wrong_call_is_always_shown() -> None:
    for well in ("A01", "A04", "B06"):
        chosen = choose_views(candidates(wrong=well), 4)
        assert well in set(chosen["well"])
        assert len(chosen) == 4


def test_one_class_and_no_views_are_no_fault() -> None:
    assert len(choose_views(candidates().assign(call="plain", truth=""), 4)) == 4
    assert choose_views(candidates().iloc[:0], 4).empty


def test_a_composite_adds_its_channels_in_their_colours() -> None:
    pixels = np.array([[[0, 100]], [[0, 0]]])
    picture = composite(pixels, [(0, 100), (0, 100)], ["FF8000", "0000FF"])
    assert np.allclose(picture[0, 0], 0)
    assert np.allclose(picture[0, 1], [1, 128 / 255, 0])


def test_a_map_runs_from_black_to_white_without_loss() -> None:
    picture = np.asarray(Image.open(io.BytesIO(map_png(np.array([[0.0, 9.0]]), 3.0))).convert("RGB"))
    assert picture[0, 0].sum() < 10
    assert picture[0, -1].sum() > 600


def test_an_outline_lies_on_the_regions_own_edge() -> None:
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    drawn = Image.open(io.BytesIO(outlines_png({"#ffff00": mask}, (20, 20)))).convert("RGBA")
    colours = {tuple(colour) for colour in np.asarray(drawn).reshape(-1, 4).tolist()}
    assert colours == {(0, 0, 0, 0), (255, 255, 0, 255)}, "nothing but the line covers what lies below"
    picture = np.asarray(drawn)[..., 3] > 0
    scale = scale_of((20, 20))
    assert picture[5 * scale, 5 * scale : 15 * scale].all()
    assert not picture[: 5 * scale].any()
    assert not picture[10 * scale, 10 * scale]


def test_the_map_glows_where_it_is_high_and_the_image_shows_where_it_is_zero() -> None:
    attribution = np.zeros((20, 20))
    attribution[0, 0] = 5.0
    drawn = np.asarray(Image.open(io.BytesIO(overlay_png(np.full((20, 20, 3), 0.5), attribution, 5.0))).convert("RGB"))
    assert np.ptp(drawn[-1, -1]) == 0, "grey"
    assert drawn[0, 0, 0] > drawn[0, 0, 1] + 50 > drawn[0, 0, 2] + 50, "orange"
