"""Permutations: the least squares of dummies without the dummies, and orders that leave every stratum as it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pcim.report.analysis import permutation_tests
from pcim.report.analysis.permutation_tests import Projection, effects


def dummies(codes: np.ndarray) -> np.ndarray:
    return (codes[:, None] == np.unique(codes)).astype(float)


@pytest.mark.parametrize("seed", range(40))
def test_omega_squared_is_that_of_least_squares_on_dummies_of_strata_and_levels(seed: int) -> None:
    """Strata and levels overlap at random: some are alone, some parts are not connected."""
    lot = np.random.default_rng(seed)
    count = int(lot.integers(5, 40))
    strata, levels = lot.integers(0, lot.integers(1, 12), count), lot.integers(0, lot.integers(2, 12), count)
    values = lot.normal(size=count)
    both = np.column_stack([dummies(strata), dummies(levels)])
    ranks, left = [], []
    for table in (dummies(strata), both):
        ranks.append(np.linalg.matrix_rank(table))
        left.append(float(((values - table @ np.linalg.lstsq(table, values)[0]) ** 2).sum()))
    told, free = ranks[1] - ranks[0], count - ranks[1]
    omega2, p = effects(values, {"any": levels}, strata, 50, 0)["any"]
    if told < 1 or free < 1:
        assert np.isnan([omega2, p]).all()
    else:
        error = left[1] / free
        assert omega2 == pytest.approx((left[0] - left[1] - told * error) / (left[0] + error), abs=1e-9)
        assert 0 < p <= 1


def test_what_a_factor_tells_is_not_changed_by_the_factors_beside_it() -> None:
    lot = np.random.default_rng(0)
    values, strata = lot.normal(size=60), lot.integers(0, 4, 60)
    factors = {name: lot.integers(0, 5, 60) for name in "abc"} | {"strong": (values > 0).astype(int)}
    together = effects(values, factors, strata, 700, 3)
    assert together == {name: effects(values, {name: of}, strata, 700, 3)[name] for name, of in factors.items()}


def test_every_order_within_the_strata_is_as_likely_and_no_other_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    values, strata = np.array([1.0, 2, 3, 10, 20]), np.array([0, 0, 0, 1, 1])
    drawn = np.concatenate(list(permutation_tests.permutations(values, strata, 12_000, 0)))
    orders = [(*a, *b) for a in itertools.permutations(values[:3]) for b in itertools.permutations(values[3:])]
    counts = [int((drawn == order).all(1).sum()) for order in orders]
    assert sum(counts) == len(drawn) == 12_000
    assert min(counts) > 860, "1000 each, give or take 30"
    assert max(counts) < 1140
    monkeypatch.setattr(permutation_tests, "_MOST_VALUES", 50)
    apart = list(permutation_tests.permutations(values, strata, 12_000, 0))
    assert {len(some) for some in apart} == {10}
    np.testing.assert_array_equal(np.concatenate(apart), drawn)


def test_levels_of_many_plates_are_solved_plate_by_plate() -> None:
    """A campaign's table of dummies would have 960 000 000 cells here; the root holds at most levels x levels a plate."""
    plate, place = np.repeat(np.arange(100), 96), np.tile(np.arange(96), 100)
    projection = Projection.from_codes(plate * 12 + place % 12, plate)
    assert projection.told == 100 * 11
    assert projection.root.nnz <= 100 * 12 * 12
