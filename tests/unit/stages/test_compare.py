"""Two classifiers on the same views: maps compared by hand, and the tables of a plate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import finished_campaign as reported
import numpy as np
import pandas as pd
import pytest

from pcim.core.identity import ViewKey
from pcim.report.analysis import findings
from pcim.stages.compare import COLUMNS, compare_classifiers, compare_maps, shared_views

if TYPE_CHECKING:
    from pathlib import Path

KEY = ViewKey("p", "A", "1", "0", "0_0")
RAMP = np.arange(400, dtype=np.float32).reshape(1, 20, 20)


def test_a_map_agrees_with_itself_and_not_with_its_reverse() -> None:
    assert compare_maps(RAMP, RAMP**2, KEY) == {"agreement": pytest.approx(1), "top_overlap": 1}
    assert compare_maps(RAMP, 400 - RAMP, KEY) == {"agreement": pytest.approx(-1), "top_overlap": 0}


def test_channels_are_summed_and_what_was_not_explained_is_nothing() -> None:
    parts = np.concatenate([RAMP / 4, 3 * RAMP / 4])
    assert compare_maps(parts, RAMP, KEY)["agreement"] == pytest.approx(1)
    holed = RAMP.copy()
    holed[0, 0] = np.nan
    assert compare_maps(holed, RAMP, KEY)["top_overlap"] == 1


def test_half_of_the_highest_pixels_in_common_is_a_half() -> None:
    one, other = RAMP.copy(), RAMP.copy()
    one[0, 0, :10] += 1000  # of 20 pixels each, ten are its own
    one[0, 19, :10] = 0
    assert compare_maps(one, other, KEY)["top_overlap"] == 0.5


def test_flat_maps_do_not_agree_and_ties_are_broken_in_each_anew() -> None:
    assert all(np.isnan(value) for value in compare_maps(np.ones_like(RAMP), RAMP, KEY).values())
    nearly = np.zeros((1, 100, 100), np.float32)
    nearly[0, 50, 50] = 1
    assert compare_maps(nearly, nearly, KEY)["top_overlap"] == pytest.approx(0.05, abs=0.03)


def test_a_map_of_another_size_is_brought_to_the_first_ones() -> None:
    coarse = RAMP.reshape(1, 10, 2, 10, 2).mean((2, 4))
    assert compare_maps(RAMP, coarse, KEY)["agreement"] > 0.99


def test_views_at_another_place_are_not_the_same_views() -> None:
    one = reported.ledger_of("pcim").assign(path="x", call="spot")
    other = one.assign(call="plain")
    other.loc[0, "left"] = 7
    found = shared_views(one, other.iloc[:4])
    assert list(found["well"]) == list(one["well"][1:4])
    assert set(found["call_other"]) == {"plain"}


def test_a_plates_table_has_a_row_a_view_that_both_explained(tmp_path: Path) -> None:
    told = reported.make_campaign(tmp_path).arguments
    table = tmp_path / "against.parquet"
    changed = reported.calls_table()
    changed.loc[changed["well"] == "A01", "call"] = "plain"
    changed.to_parquet(tmp_path / "calls.parquet")
    plates = [path.removesuffix("/zarr.json") for path in told["maps"]]
    compare_classifiers(
        classifiers=("one", "two"), method="pcim", fields=told["fields"][0], calls=told["calls"],
        other_calls=[str(tmp_path / "calls.parquet")], ledgers=told["ledgers"][:1], other_ledgers=told["ledgers"][:1],
        maps=(plates[0], plates[1]), table=str(table), revision=3,
    )  # fmt: skip
    found = pd.read_parquet(table)
    assert list(found.columns) == [*COLUMNS, "revision"]
    assert len(found) == 10
    assert found.set_index("well").loc["A01", ["call", "other_call", "same_call"]].tolist() == ["spot", "plain", False]
    assert found["same_call"].sum() == 9
    assert found["agreement"].abs().max() < 0.1, "two maps of noise"
    summed = findings.pair_table(found, draws=200).iloc[0]
    assert summed[["classifier", "other", "same_k", "views", "wells"]].tolist() == ["one", "two", 9, 10, 10]
    assert summed["agreement"] == pytest.approx(found["agreement"].mean())
    assert summed["agreement_low"] < summed["agreement"] < summed["agreement_high"]
    assert summed["same_call_low"] < 0.9 < summed["same_call_high"] <= 1


def test_no_pair_is_an_empty_table() -> None:
    assert findings.pair_table(pd.DataFrame(columns=COLUMNS), draws=10).empty
