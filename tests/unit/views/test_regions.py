"""Regions: bands of a known depth, and a partition in which every pixel is in exactly one region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcim.views.regions import boundary_region, label_region, partition, widen

SHAPE = (7, 9)
masks = hnp.arrays(np.bool_, SHAPE)


def test_the_objects_are_the_pixels_that_any_label_names() -> None:
    labels = np.array([[0, 1, 1], [0, 0, 7]], dtype=np.uint16)
    assert label_region(labels).tolist() == [[False, True, True], [False, False, True]]


@pytest.mark.parametrize(("width_px", "depth"), [(0.4, 0), (0.5, 1), (1.0, 1), (2.0, 2), (3.0, 3)])
def test_a_band_along_a_straight_boundary_is_as_deep_as_asked_on_both_sides(width_px: float, depth: int) -> None:
    labels = np.zeros((4, 10), dtype=np.int32)
    labels[:, 5:] = 1
    band = boundary_region(labels, width_px)
    assert band.sum(axis=1).tolist() == [2 * depth] * 4
    assert band[:, 5 - depth : 5 + depth].all()


def test_a_band_around_a_single_pixel_is_round() -> None:
    labels = np.zeros((5, 5), dtype=np.int32)
    labels[2, 2] = 1
    assert boundary_region(labels, 1.0).astype(int).tolist() == [  # sqrt(2) - 0.5 < 1, and 2 - 0.5 > 1
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("value", [0, 1])
def test_a_view_with_nothing_but_objects_or_none_has_no_boundary(value: int) -> None:
    assert not boundary_region(np.full((4, 4), value, dtype=np.int32), 3.0).any()


def test_touching_objects_have_no_boundary_between_them() -> None:
    assert not boundary_region(np.array([[1, 1, 2, 2]], dtype=np.int32), 3.0).any()


@pytest.mark.parametrize("width_px", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_width_is_refused(width_px: float) -> None:
    with pytest.raises(ValueError, match=r"width_px is .*; allowed"):
        boundary_region(np.eye(3, dtype=np.int32), width_px)


def test_widening_adds_a_disc_and_keeps_an_empty_mask_empty() -> None:
    mask = np.zeros((5, 5), dtype=bool)
    assert not widen(mask, 3.0).any()
    mask[2, 2] = True
    assert widen(mask, 0.0).sum() == 1
    assert widen(mask, 1.0).sum() == 5
    assert widen(mask, 2.0).sum() == 13
    with pytest.raises(ValueError, match="halo_px is -1"):
        widen(mask, -1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(masks, max_size=4))
def test_every_pixel_is_in_exactly_one_region(drawn: list[np.ndarray]) -> None:
    named = {f"region_{number}": mask for number, mask in enumerate(drawn)}
    regions = partition(named, SHAPE)
    assert list(regions) == [*named, "background" if named else "whole_view"]
    assert (np.sum(list(regions.values()), axis=0) == 1).all()
    assert all((regions[name] <= named[name]).all() for name in named)


def test_a_shared_pixel_goes_to_the_earlier_region() -> None:
    rim, worms = np.array([[True, True, False]]), np.array([[False, True, False]])
    assert partition({"rim": rim, "worms": worms})["worms"].sum() == 0
    assert partition({"worms": worms, "rim": rim})["rim"].tolist() == [[True, False, False]]


def test_faulty_partitions_are_refused_with_what_was_given() -> None:
    with pytest.raises(ValueError, match="cannot be given"):
        partition({"background": np.ones((2, 2), dtype=bool)})
    with pytest.raises(ValueError, match=r"'b': \(3, 3\).*allowed: \(2, 2\)"):
        partition({"a": np.ones((2, 2), dtype=bool), "b": np.ones((3, 3), dtype=bool)})
    with pytest.raises(ValueError, match="no region and no shape"):
        partition({})
