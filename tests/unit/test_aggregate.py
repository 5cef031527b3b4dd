"""Shares of attribution by region and channel, and mean maps of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import ZipStore

from pcim.aggregate import group_shares, region_shares
from pcim.meanmaps import MeanMaps, write_dataset

if TYPE_CHECKING:
    from pathlib import Path

MAPS = np.array([[[1, 0], [2, 1]], [[3, 1], [0, 0]]], np.float32)  # (channel, y, x)
REGIONS = {"left": np.array([[True, False], [True, False]]), "right": np.array([[False, True], [False, True]])}


def test_shares_and_lifts_are_those_computed_by_hand() -> None:
    shares = {(s.region, s.channel): s for s in region_shares(MAPS, ["DNA", "GFP"], REGIONS)}
    assert shares["left", "all"].share == 6 / 8
    assert shares["left", "all"].area == 0.5
    assert shares["left", "all"].lift == 1.5
    assert shares["left", "DNA"].share == 3 / 8
    assert shares["left", "DNA"].lift == 3 / 4 / 0.5
    assert shares["right", "GFP"].share == 1 / 8


def test_a_method_with_one_map_has_no_channels_and_a_map_of_zeros_no_share() -> None:
    assert {share.channel for share in region_shares(MAPS[:1], ["DNA", "GFP"], REGIONS)} == {"all"}
    nothing = region_shares(0 * MAPS, ["DNA", "GFP"], REGIONS)
    assert np.isnan([share.share for share in nothing]).all()


@given(seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 4))
def test_the_shares_of_all_regions_and_channels_add_up_to_one(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    regions = rng.integers(0, 3, (5, 6))
    names = [str(number) for number in range(channels)]
    shares = region_shares(rng.random((channels, 5, 6)), names, {str(n): regions == n for n in range(3)})
    for wanted in {share.channel == "all" for share in shares}:
        assert sum(s.share for s in shares if (s.channel == "all") == wanted) == pytest.approx(1)


def test_groups_average_their_views() -> None:
    table = pd.DataFrame(
        {
            "well": ["A01", "A01", "A02"],
            "call": ["x", "y", "y"],
            "method": "pcim",
            "region": "nuclei",
            "channel": "all",
            "share": [0.2, 0.4, 0.6],
            "area": 0.1,
            "lift": [2.0, 4.0, np.nan],
        }
    )
    groups = group_shares(table, ["well", "call"]).set_index(["grouping", "group"])
    assert groups.loc[("well", "A01"), "share"] == pytest.approx(0.3)
    assert groups.loc[("well", "A01"), "views"] == 2
    assert groups.loc[("call", "y"), "share"] == pytest.approx(0.5)
    assert groups.loc[("call", "y"), "lift"] == 4.0


def test_mean_maps_come_back_and_equal_maps_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        means = MeanMaps()
        for value in (1.0, 3.0):
            means.add("pcim", {"call": "dead", "treatment": "DMSO"}, np.full((2, 3), value))
        write_dataset(means.dataset(), tmp_path / f"{name}.zarr.zip")
    assert (tmp_path / "one.zarr.zip").read_bytes() == (tmp_path / "two.zarr.zip").read_bytes()
    with ZipStore(tmp_path / "one.zarr.zip", mode="r") as store, xr.open_zarr(store, consolidated=False) as dataset:
        assert dataset["mean_map"].dims == ("entry", "y", "x")
        assert dataset["grouping"].values.tolist() == ["call", "treatment"]
        assert (dataset["mean_map"].values == 2).all()
        assert dataset["views"].values.tolist() == [2, 2]
