"""Mean maps of whole views and of windows around objects: hand-computed means on small images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import ZipStore

from pcim.core.identity import ViewKey
from pcim.core.tiling import Box
from pcim.stages.aggregate.mean_maps import MeanMaps, ObjectMaps, centroids, find_windows, sum_windows, write_dataset

if TYPE_CHECKING:
    from pathlib import Path


def key(view: str) -> ViewKey:
    return ViewKey("p", "A", "1", "0", view)


def labels(shape: tuple[int, int], *places: tuple[int, int]) -> np.ndarray:
    """Return a label image with an object of one pixel at each place, numbered 10, 20 ..."""
    image = np.zeros(shape, np.uint16)
    for number, place in enumerate(places, 1):
        image[place] = 10 * number
    return image


def test_an_entry_is_the_mean_of_its_views_and_says_how_many() -> None:
    means = MeanMaps()
    for value in (1.0, 3.0):
        means.add("pcim", {"call": "dead"}, np.full((2, 3), value))
    means.add("pcim", {"call": "live"}, np.full((2, 3), 7.0))
    maps = means.dataset()
    assert maps["mean_map"].values[:, 0, 0].tolist() == [2, 7]
    assert maps["views"].values.tolist() == [2, 1]


def test_a_long_map_is_resized_and_keeps_its_shape_and_its_mean() -> None:
    means = MeanMaps(longest=8)
    attribution = np.random.default_rng(0).exponential(1, (40, 20)).astype(np.float32)
    means.add("pcim", {"call": "dead"}, attribution)
    (small,) = means.dataset()["mean_map"].values
    assert small.shape == (8, 4)
    assert small.mean() == pytest.approx(attribution.mean(), rel=0.05)


def test_a_centroid_is_the_mean_of_an_objects_pixels() -> None:
    image = np.zeros((6, 6), np.int32)
    image[1, 1], image[1, 2], image[2, 1] = 7, 7, 7  # an L
    image[5, 5] = 3
    numbers, points = centroids(image)
    assert numbers.tolist() == [3, 7]
    np.testing.assert_allclose(points, [[5, 5], [4 / 3, 4 / 3]])
    assert centroids(np.zeros((4, 4), np.uint8))[1].shape == (0, 2)


@pytest.mark.parametrize(("side", "middle"), [(3, 1), (4, 2), (5, 2)])
def test_the_centroid_lies_on_the_pixel_that_is_said(side: int, middle: int) -> None:
    attribution = np.zeros((20, 20), np.float32)
    attribution[9, 12] = 1
    windows = find_windows(labels((20, 20), (9, 12)), {key("0_0"): Box(0, 0, 20, 20)}, side=side, most=9)
    around = ObjectMaps(side, [])
    around.add("pcim", {"call": "dead"}, windows["0_0"], attribution)
    maps = around.dataset()
    assert np.argwhere(maps["object_map"].values[0] == 1).tolist() == [[middle, middle]]
    assert maps["object_map"].sel(y=0, x=0).values.tolist() == [1]


def test_what_lies_outside_the_view_is_not_counted() -> None:
    """Two objects, one in the corner: only the other saw what lies above and to the left."""
    attribution = np.full((10, 10), 2.0, np.float32)
    attribution[5, 5] = 6
    windows = find_windows(labels((10, 10), (0, 0), (5, 5)), {key("0_0"): Box(0, 0, 10, 10)}, side=3, most=9)
    around = ObjectMaps(3, ["DNA"])
    around.add("pcim", {"call": "dead"}, windows["0_0"], attribution, np.full((1, 10, 10), 100.0))
    maps = around.dataset()
    assert maps["counts"].values.tolist() == [[[1, 1, 1], [1, 2, 2], [1, 2, 2]]]
    assert maps["object_map"].values[0].tolist() == [[2, 2, 2], [2, 4, 2], [2, 2, 2]]
    assert (maps["object_image"].values == 100).all(), "an image is averaged over what was seen too"
    assert maps["objects"].values.tolist() == [2]


def test_pixels_that_no_object_saw_are_nan() -> None:
    around = ObjectMaps(3, [])
    around.add("pcim", {"call": "dead"}, np.array([[-1, -1]]), np.ones((4, 4), np.float32))
    assert np.isnan(around.dataset()["object_map"].values[0]).tolist() == [
        [True] * 3,
        [True, False, False],
        [True, False, False],
    ]


def test_an_object_counts_once_in_the_view_in_which_it_lies_deepest() -> None:
    image = labels((20, 40), (10, 5), (10, 18), (10, 36))
    views = {key("0_0"): Box(0, 0, 20, 22), key("0_12"): Box(0, 12, 20, 22)}  # columns 0 to 21 and 12 to 33
    windows = find_windows(image, views, side=5, most=9)
    assert windows["0_0"].tolist() == [[8, 3]]
    assert windows["0_12"].tolist() == [[8, 18 - 12 - 2]], "6 px deep there, 3 px in the other"
    assert sum(map(len, windows.values())) == 2, "no view holds the third"
    assert find_windows(image, {}, side=5, most=9) == {}


def test_of_very_many_objects_the_views_key_draws_some() -> None:
    places = [(y, x) for y in range(1, 60, 3) for x in range(1, 60, 3)]
    image, box = labels((60, 60), *places), Box(0, 0, 60, 60)
    drawn = {name: find_windows(image, {key(name): box}, side=3, most=20)[name] for name in ("a", "b")}
    again = find_windows(image, {key("a"): box, key("c"): Box(0, 0, 1, 1)}, side=3, most=20)["a"]
    assert len(drawn["a"]) == len(drawn["b"]) == 20
    assert drawn["a"].tolist() == again.tolist()
    assert drawn["a"].tolist() != drawn["b"].tolist()
    assert np.ptp(drawn["a"][:, 0]) > 30, "from all over the view"


@given(seed=st.integers(0, 2**32 - 1), side=st.integers(1, 9))
def test_windows_are_summed_as_one_would_by_hand(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    planes = rng.random((2, 7, 9))
    planes[:, rng.random((7, 9)) < 0.1] = np.nan
    corners = rng.integers(-side, 8, (5, 2))
    total, count = np.zeros((2, side, side)), np.zeros((side, side))
    for top, left in corners:
        for y in range(side):
            for x in range(side):
                place = top + y, left + x
                if 0 <= place[0] < 7 and 0 <= place[1] < 9 and np.isfinite(planes[:, *place]).all():
                    total[:, y, x] += planes[:, *place]
                    count[y, x] += 1
    found = sum_windows(planes, corners, side)
    np.testing.assert_allclose(found[0], total)
    np.testing.assert_array_equal(found[1], count)


def test_object_maps_come_back_from_their_file_also_where_there_are_none(tmp_path: Path) -> None:
    for name, objects in (("some", 2), ("none", 0)):
        around = ObjectMaps(4, ["DNA", "GFP"])
        corners = np.zeros((objects, 2), np.int64)
        around.add("pcim", {"call": "dead", "well": "A01"}, corners, np.ones((6, 6)), np.ones((2, 6, 6)))
        around.add("edge", {"call": "dead"}, corners, np.ones((6, 6)))
        write_dataset(around.dataset(), tmp_path / f"{name}.zarr.zip")
        with (
            ZipStore(tmp_path / f"{name}.zarr.zip", mode="r") as store,
            xr.open_zarr(store, consolidated=False) as maps,
        ):
            entries = list(zip(maps["method"].values, maps["grouping"].values, maps["group"].values, strict=True))
            assert entries == [("edge", "call", "dead"), ("pcim", "call", "dead"), ("pcim", "well", "A01")][: 3 * (objects > 0)]
            assert maps["object_image"].dims == ("entry", "channel", "y", "x")
            assert maps["channel"].values.tolist() == ["DNA", "GFP"]
            if objects:
                assert np.isnan(maps["object_image"].sel(entry=0)).all(), "images stand with the method that is read"
                assert (maps["object_image"].sel(entry=1) == 1).all()
