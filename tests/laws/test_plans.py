"""Laws of the plans: every pixel once, every well once, every view by itself."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcim.campaign.chunk_size import plan_chunks
from pcim.config.classifier import Select
from pcim.core.identity import ViewKey
from pcim.core.tiling import tile_field
from pcim.stages.attribute.field_assembly import Assembly
from pcim.views.selection import is_selected, thin_wells

lengths = st.integers(1, 90)


@given(
    size=st.tuples(lengths, lengths),
    extra=st.tuples(st.integers(0, 200), st.integers(0, 200)),
    share=st.floats(0, 1),
)
def test_every_pixel_of_a_field_is_seen_and_its_neighbours_share_the_overlap(
    size: tuple[int, int], extra: tuple[int, int], share: float
) -> None:
    shape, overlap = (size[0] + extra[0], size[1] + extra[1]), int(share * (min(size) // 2))
    seen = np.zeros(shape, int)
    boxes = tile_field(shape, size, overlap)
    for box in boxes:
        assert (box.height, box.width) == size
        assert 0 <= box.top <= shape[0] - size[0]
        assert 0 <= box.left <= shape[1] - size[1]
        seen[box.slices] += 1
    assert (seen > 0).all()
    assert len({box.name for box in boxes}) == len(boxes)
    tops = sorted({box.top for box in boxes})
    assert all(second - first <= size[0] - overlap for first, second in itertools.pairwise(tops))
    if overlap == 0 and shape[0] % size[0] == shape[1] % size[1] == 0:
        assert (seen == 1).all()


@given(size=st.tuples(st.integers(2, 20), st.integers(2, 20)), extra=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_stitched_views_have_no_seam_and_every_pixel_counts_once(size: tuple[int, int], extra: tuple[int, int]) -> None:
    shape = (size[0] + extra[0], size[1] + extra[1])
    whole = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    boxes = tile_field(shape, size, min(size) // 3)
    assembly = Assembly(shape, ["call", "dead"], 2 * len(boxes))
    for box in reversed(boxes):
        assembly.add([{"layer": "call"}], box.name, box, {"map": whole[:, *box.slices]})
    for box in boxes[1:]:
        assembly.add([{"layer": "dead"}], box.name, box, {"map": 2 * whole[:, *box.slices]})
    assert assembly.waiting_for == 1
    found, is_seen = assembly.stitch()["map"], np.zeros(shape, bool)
    for box in boxes[1:]:
        is_seen[box.slices] = True
    np.testing.assert_allclose(found[:2], whole, rtol=1e-5)
    np.testing.assert_allclose(found[2:], np.where(is_seen, 2 * whole, np.nan), rtol=1e-5)
    for box in boxes:
        np.testing.assert_array_equal(assembly.views()[box.name][:2], whole[:, *box.slices])
    assert np.isnan(assembly.views()[boxes[0].name][2:]).all()
    assert assembly.are_views_apart == (len(boxes) > 1 and (min(size) // 3 > 0 or any(s % n for s, n in zip(shape, size, strict=True))))


def test_a_field_smaller_than_the_view_is_refused() -> None:
    with pytest.raises(ValueError, match="a field of 10 x 90 px is smaller than the view of 20 x 20 px"):
        tile_field((10, 90), (20, 20))
    with pytest.raises(ValueError, match="an overlap of 11 px; expected 0 to 10, half a view"):
        tile_field((40, 90), (20, 20), 11)


@given(wells=st.sets(st.sampled_from([f"{r}{c:02d}" for r in "ABCDEFGH" for c in range(1, 13)])), n=st.integers(1, 40))
def test_every_well_is_in_exactly_one_chunk(wells: set[str], n: int) -> None:
    chunks = plan_chunks(wells, n)
    assert sorted(well for chunk in chunks.values() for well in chunk) == sorted(wells)
    assert all(1 <= len(chunk) <= n for chunk in chunks.values())


keys = st.lists(
    st.builds(
        ViewKey,
        st.sampled_from("pq"),
        st.sampled_from("AB"),
        st.sampled_from(["1", "2"]),
        st.just("0"),
        st.sampled_from(["0_0", "0_8", "8_0"]),
    ),
    unique=True,
)


@given(keys=keys, per_well=st.integers(1, 3), data=st.data())
def test_thinning_keeps_the_same_views_in_any_order(keys: list[ViewKey], per_well: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(keys))
    kept = thin_wells(keys, per_well)
    assert set(kept) == set(thin_wells(shuffled, per_well))
    for well in {(key.plate, key.row, key.column) for key in keys}:
        of_well = [key for key in keys if (key.plate, key.row, key.column) == well]
        assert sum(key in kept for key in of_well) == min(per_well, len(of_well))


def test_a_fraction_is_that_fraction_and_controls_always_pass() -> None:
    views = [ViewKey("p", "A", "1", str(n), "0_0") for n in range(2000)]
    select = Select(fraction=0.25)
    passing = sum(is_selected(key, {"control_type": ""}, select) for key in views)
    assert 430 < passing < 570
    assert all(is_selected(key, {"control_type": "negcon"}, select) for key in views)
    assert not is_selected(views[0], {"split": "train"}, Select(where={"split": ["test"]}))
    assert is_selected(views[0], {"dose": 10.0}, Select(where={"dose": ["10"]}))
    assert is_selected(views[0], {"dose": float("nan")}, Select(where={"dose": [""]}))
