"""Interventions: what travels, what stays, and who exchanges with whom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcim.composites.donors import partners
from pcim.composites.region_swap import (
    Exchange,
    Scene,
    control_region,
    exchange_channel,
    exchange_objects,
    exchange_pixels,
    exchange_region,
    mean_scene,
    without_objects,
)

SHAPE = (6, 6)
masks = hnp.arrays(np.bool_, SHAPE)
images = hnp.arrays(np.uint16, (2, *SHAPE), elements=st.integers(0, 65535))


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def flat(background: int, objects: np.ndarray, signal: int) -> np.ndarray:
    """Return a 6 x 6 image of one channel: a flat background with objects of one intensity."""
    return np.where(objects, signal, background)[None].astype(np.uint16)


OBJECTS_R, OBJECTS_D = box(1, 1, 2, 2), box(2, 2, 2, 2)  # one shared pixel
RECEIVER, DONOR = flat(100, OBJECTS_R, 900), flat(200, OBJECTS_D, 700)


def test_a_flat_background_closes_the_hole_of_an_object() -> None:
    assert (without_objects(RECEIVER, OBJECTS_R, 1.0) == 100).all()


def test_a_hole_between_two_levels_is_filled_with_what_is_near() -> None:
    image = np.zeros((1, 1, 9), dtype=np.uint16)
    image[..., 6:] = 100
    hole = np.array([[False, False, False, True, True, True, False, False, False]])
    filled = without_objects(image, hole, 1.0)[0, 0]
    assert filled[[0, 1, 2, 6, 7, 8]].tolist() == [0, 0, 0, 100, 100, 100]
    assert filled[3] < filled[4] < filled[5]
    assert filled[4] == pytest.approx(50)


def test_a_pixel_far_from_any_background_is_filled_all_the_same() -> None:
    image = np.full((1, 1, 400), 30, dtype=np.uint16)
    image[..., 0] = 10
    everything_else = np.ones((1, 400), dtype=bool)
    everything_else[0, 0] = False
    np.testing.assert_allclose(without_objects(image, everything_else, 1.0), 10)


def test_a_view_that_is_all_object_becomes_each_channel_s_mean() -> None:
    image = np.stack([np.full(SHAPE, 7.0), np.arange(36.0).reshape(SHAPE)])
    filled = without_objects(image, np.ones(SHAPE, dtype=bool), 2.0)
    assert (filled[0] == 7).all()
    assert (filled[1] == 17.5).all()


R, D = Scene(RECEIVER, OBJECTS_R, 1.0), Scene(DONOR, OBJECTS_D, 1.0)


def test_objects_take_the_place_of_objects_and_leave_their_own_background_behind() -> None:
    made = exchange_objects(R, D)
    assert (made.image[0] == np.where(OBJECTS_D, 700, 100)).all()
    assert (made.union == (OBJECTS_R | OBJECTS_D)).all()


def test_a_background_travels_without_objects_and_spares_those_of_the_receiver() -> None:
    made = exchange_region(R, D, ~OBJECTS_R | ~OBJECTS_D)
    assert (made.image[0] == np.where(OBJECTS_R, 900, 200)).all()
    assert made.union.sum() == 35  # all but the pixel that is an object in both


def test_a_rim_travels_alone() -> None:
    made = exchange_region(R, D, box(0, 0, 6, 1) | box(0, 0, 6, 2))
    expected = RECEIVER[0].copy()
    expected[:, 0] = 200
    expected[[0, 3, 4, 5], 1] = 200  # the receiver's object stays in rows 1 and 2
    assert (made.image[0] == expected).all()


def test_pixels_travel_as_they_are_and_a_channel_whole() -> None:
    union = box(0, 0, 3, 3)
    made = exchange_pixels(R, D, union)
    assert (made.image[0] == np.where(union, DONOR[0], RECEIVER[0])).all()
    two = [Scene(np.stack([scene.pixels[0], scene.pixels[0] + 5]), scene.objects, 1.0) for scene in (R, D)]
    changed = exchange_channel(*two, 1)
    assert (changed[0] == two[0].pixels[0]).all()
    assert (changed[1] == two[1].pixels[1]).all()


def test_the_mean_of_views_holds_no_objects() -> None:
    mean = mean_scene([R, D])
    assert (mean.pixels == 150).all()
    assert not mean.objects.any()
    assert (mean.empty == 150).all()


def every_exchange(receiver: Scene, donor: Scene, union: np.ndarray) -> dict[str, Exchange]:
    return {
        "objects": exchange_objects(receiver, donor),
        "region": exchange_region(receiver, donor, union),
        "pixels": exchange_pixels(receiver, donor, union),
    }


@settings(max_examples=30, deadline=None)
@given(image=images, region=masks, objects=masks)
def test_an_exchange_with_itself_changes_nothing(image: np.ndarray, region: np.ndarray, objects: np.ndarray) -> None:
    scene = Scene(image, objects, 1.5)
    for made in every_exchange(scene, scene, region).values():
        assert (made.image == image).all()


@settings(max_examples=30, deadline=None)
@given(pair=st.tuples(images, images), union=masks, objects=st.tuples(masks, masks))
def test_nothing_changes_outside_the_union_and_the_donors_objects_travel_whole(
    pair: tuple[np.ndarray, np.ndarray], union: np.ndarray, objects: tuple[np.ndarray, np.ndarray]
) -> None:
    before = [part.copy() for part in pair]
    made = every_exchange(*(Scene(pixels, mask, 1.5) for pixels, mask in zip(pair, objects, strict=True)), union)
    for one in made.values():
        assert (one.image[:, ~one.union] == pair[0][:, ~one.union]).all()
        assert one.image.dtype == np.float32
    assert (made["objects"].image[:, objects[1]] == pair[1][:, objects[1]]).all()
    assert (made["region"].image[:, objects[0]] == pair[0][:, objects[0]]).all()
    assert all((now == then).all() for now, then in zip(pair, before, strict=True))


@settings(max_examples=50, deadline=None)
@given(masks)
def test_a_control_has_the_area_of_the_union_and_lies_outside(union: np.ndarray) -> None:
    control = control_region(union)
    if union.sum() > 18:
        assert control is None
    else:
        assert control is not None
        assert control.sum() == union.sum()
        assert not (control & union).any()


def test_a_control_of_a_rim_is_the_disc_in_the_middle() -> None:
    control = control_region(box(0, 0, 6, 2))
    assert control is not None
    assert control.astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("sigma_px", [0.0, -2.0, np.nan])
def test_an_impossible_width_is_refused(sigma_px: float) -> None:
    with pytest.raises(ValueError, match=r"sigma_px is .*; allowed"):
        without_objects(RECEIVER, OBJECTS_R, sigma_px)


def test_a_view_with_nan_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="1 pixels are NaN"):
        without_objects(np.where(box(0, 0, 1, 1), np.nan, 1.0)[None], OBJECTS_R, 1.0)


def campaign(number: int) -> tuple[list[str], list[str], list[str]]:
    """Return keys, calls and wells of views, two a well, the calls of a well being equal or not."""
    keys = [f"plate/A/{view // 2:02d}/{view % 2}/0_0" for view in range(number)]
    return keys, [("dead", "live")[view % 3 == 0] for view in range(number)], [key[:10] for key in keys]


def test_partners_have_another_call_and_come_from_another_well() -> None:
    keys, calls, wells = campaign(20)
    call, well = dict(zip(keys, calls, strict=True)), dict(zip(keys, wells, strict=True))
    of_view = partners(keys, calls, wells, per_view=3, seed=0)
    assert list(of_view) == keys
    for key, others in of_view.items():
        assert len(set(others)) == 3
        assert all(call[other] != call[key] and well[other] != well[key] for other in others)


def test_partners_depend_on_neither_order_nor_company_but_on_the_seed() -> None:
    keys, calls, wells = campaign(20)
    of_view = partners(keys, calls, wells, per_view=3, seed=0)
    assert partners(keys[::-1], calls[::-1], wells[::-1], per_view=3, seed=0) == of_view
    assert partners(keys, calls, wells, per_view=3, seed=1) != of_view
    fewer = partners(keys[:-1], calls[:-1], wells[:-1], per_view=3, seed=0)
    assert all(fewer[key] == of_view[key] for key in fewer if keys[-1] not in of_view[key])


def test_a_view_without_anybody_to_exchange_with_has_no_partner() -> None:
    assert partners(["a", "b"], ["live", "live"], ["1", "2"], per_view=2, seed=0) == {"a": (), "b": ()}
    assert partners(["a", "b"], ["live", "dead"], ["1", "1"], per_view=2, seed=0) == {"a": (), "b": ()}
    assert partners(["a", "b"], ["live", "dead"], ["1", "2"], per_view=2, seed=0) == {"a": ("b",), "b": ("a",)}
    assert partners([], [], [], per_view=1, seed=0) == {}


def test_faulty_lists_are_refused_with_what_was_given() -> None:
    with pytest.raises(ValueError, match="2 keys, 1 calls, 2 wells"):
        partners(["a", "b"], ["live"], ["1", "2"], per_view=1, seed=0)
    with pytest.raises(ValueError, match=r"keys \['a'\] come more than once"):
        partners(["a", "a"], ["live", "dead"], ["1", "2"], per_view=1, seed=0)
    with pytest.raises(ValueError, match="per_view is 0"):
        partners(["a", "b"], ["live", "dead"], ["1", "2"], per_view=0, seed=0)
