"""Laws of the plans: every pixel once, every well once, every view by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcim.chunks import is_selected, plan_chunks, thin_wells, tile_field
from pcim.config import Select
from pcim.plate import ViewKey

lengths = st.integers(1, 90)


@given(size=st.tuples(lengths, lengths), extra=st.tuples(st.integers(0, 200), st.integers(0, 200)))
def test_every_pixel_of_a_field_is_owned_by_exactly_one_tile(size: tuple[int, int], extra: tuple[int, int]) -> None:
    shape = (size[0] + extra[0], size[1] + extra[1])
    owners = np.zeros(shape, int)
    for tile in tile_field(shape, size):
        owners[tile.owned.slices] += 1
        seen, owned = tile.seen, tile.owned
        assert (seen.height, seen.width) == size
        assert 0 <= seen.top <= owned.top
        assert owned.top + owned.height <= seen.top + seen.height <= shape[0]
        assert 0 <= seen.left <= owned.left
        assert owned.left + owned.width <= seen.left + seen.width <= shape[1]
    assert (owners == 1).all()
    names = [tile.name for tile in tile_field(shape, size)]
    assert len(set(names)) == len(names)


def test_a_field_smaller_than_the_view_is_refused() -> None:
    with pytest.raises(ValueError, match="a field of 10 x 90 px is smaller than the view of 20 x 20 px"):
        tile_field((10, 90), (20, 20))


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
