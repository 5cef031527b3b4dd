"""Shares of attribution by region and channel, and mean maps of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from finished_campaign import CLASSES, METHODS, SIZE, make_campaign
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import ZipStore

from pcim.config.classifier import Region
from pcim.config.stages import AggregateSettings
from pcim.core.plate_source import Source
from pcim.plates.attribution_plate import AttributionPlate
from pcim.stages.aggregate.job import aggregate_plate
from pcim.stages.aggregate.mean_maps import MeanMaps, write_dataset
from pcim.stages.aggregate.shares import group_shares, region_shares

if TYPE_CHECKING:
    from pathlib import Path

    from finished_campaign import Made

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
            "treatment": ["DMSO", "drug", "drug"],
            "dose": [np.nan, 1.5, 2.0],
            "call": ["x", "y", "y"],
            "method": "pcim",
            "region": "nuclei",
            "channel": "all",
            "share": [0.2, 0.4, 0.6],
            "area": 0.1,
            "lift": [2.0, 4.0, np.nan],
        }
    )
    groups = group_shares(table, ["well", "call", "dose"]).set_index(["grouping", "group"])
    assert groups.loc[("well", "A01"), "share"] == pytest.approx(0.3)
    assert groups.loc[("well", "A01"), "views"] == 2
    assert groups.loc[("call", "y"), "share"] == pytest.approx(0.5)
    assert groups.loc[("call", "y"), "lift"] == 4.0
    assert groups.loc["dose", "share"].to_dict() == {"drug @ 1.5": 0.4, "drug @ 2": 0.6}, "no dose, no group"


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


def run_job(made: Made, folder: Path, **changes: object) -> dict[str, Path]:
    """Aggregate the hand-made campaign into `folder`; return the paths of what was written."""
    tables = {name: folder / f"{name}.parquet" for name in ("shares", "groups", "profiles")}
    maps = {name: folder / f"{name}.zarr.zip" for name in ("mean_maps", "object_maps")}
    told = {
        "store": Source.from_dict(made.arguments["stores"]["p1"]),
        "fields": made.arguments["fields"][0],
        **{name: made.arguments[name] for name in ("calls", "ledgers")},
        "plates": made.arguments["maps"],
        "methods": METHODS,
        "regions": {"spots": Region(label="spots")},
        "objects": "spots",
        "names": {"classes": CLASSES, "channels": ["Reporter"]},
        "settings": AggregateSettings(object_window_px=12),
        "revision": 2,
    }
    aggregate_plate(**(told | changes), **{name: str(path) for name, path in (tables | maps).items()})
    return tables | maps


def opened(path: Path) -> xr.Dataset:
    with ZipStore(path, mode="r") as store:
        return xr.open_zarr(store, consolidated=False).load()


def test_a_job_averages_maps_by_every_grouping_of_the_method_that_is_read(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    maps = opened(run_job(made, tmp_path / "out")["mean_maps"])
    by_method = {m: set(maps["grouping"].values[maps["method"].values == m]) for m in METHODS}
    assert by_method == {"pcim": {"call", "treatment", "dose", "well"}, "edge": {"call"}, "random": {"call"}}
    stored = AttributionPlate(tmp_path / "results/made/maps/spots/p1_pcim.zarr")
    where = {(m, g, n): i for i, (m, g, n) in enumerate(zip(*(maps[c].values for c in ("method", "grouping", "group")), strict=True))}
    a03, b03 = (stored.read(f"{row}/3/0")[0] for row in "AB")
    np.testing.assert_allclose(maps["mean_map"].values[where["pcim", "well", "A03"]], a03, rtol=1e-5)
    np.testing.assert_allclose(maps["mean_map"].values[where["pcim", "dose", "drug 0 @ 3"]], (a03 + b03) / 2, rtol=1e-5)
    assert maps["views"].values[where["pcim", "dose", "drug 0 @ 3"]] == 2


def test_a_job_averages_maps_and_images_around_the_objects(tmp_path: Path) -> None:
    """The label marks rows and columns 20 to 27: the centroid 23.5 lies on pixel 24, the window of 12 px on 18 to 29."""
    made = make_campaign(tmp_path)
    maps = opened(run_job(made, tmp_path / "out")["object_maps"])
    stored = AttributionPlate(tmp_path / "results/made/maps/spots/p1_pcim.zarr")
    entry = [*maps["group"].values].index("A03")
    part = slice(18, 30), slice(18, 30)
    np.testing.assert_allclose(maps["object_map"].values[entry], stored.read("A/3/0")[0][part], rtol=1e-5)
    assert maps["objects"].values[entry] == 1
    called = maps["objects"].values[(maps["method"].values == "edge") & (maps["group"].values == "spot")]
    assert called.tolist() == [6], "columns 1, 3 and 5 of both rows"
    assert maps["channel"].values.tolist() == ["Reporter"]
    assert 100 <= maps["object_image"].values[entry].min() < maps["object_image"].values[entry].max() < 900


def test_a_region_that_is_no_label_and_no_region_have_no_object_maps(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    band = run_job(made, tmp_path / "band", regions={"spots": Region(boundary_of="spots", width_px=2)})
    none = run_job(made, tmp_path / "none", regions={}, objects=None)
    assert all(opened(each["object_maps"]).sizes["entry"] == 0 for each in (band, none))
    assert opened(none["mean_maps"]).sizes["y"] == SIZE


def test_a_jobs_profiles_are_its_shares_by_well(tmp_path: Path) -> None:
    written = run_job(make_campaign(tmp_path), tmp_path / "out")
    profiles = pd.read_parquet(written["profiles"]).set_index("Metadata_Well")
    shares = pd.read_parquet(written["shares"])
    own = shares[(shares["method"] == "pcim") & (shares["region"] == "spots")].set_index("well")
    assert len(profiles) == 12
    assert profiles.loc["B04", "PCIM_Share_spots_all"] == own.loc["B04", "share"]
    assert profiles.loc["B04", "Metadata_dose"] == own.loc["B04", "dose"] == 4
    assert profiles.loc["A03", "PCIM_Probability_spot"] == 0.9
    assert np.isnan(profiles.loc["A06", "PCIM_Lift_spots_all"]), "a saturated field has no map"
