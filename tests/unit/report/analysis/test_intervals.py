"""Statistics: agreement with SciPy, coverage on clustered data, and hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pcim.report.analysis import intervals
from pcim.report.analysis.intervals import (
    Interval,
    bootstrap_means,
    bootstrap_sums,
    cluster_bootstrap_mean,
    holm,
    long_means,
    proportion_interval,
)


def test_one_value_a_cluster_is_scipy_s_bca_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    ours = cluster_bootstrap_mean(values, np.arange(40), draws=20_000)
    stretched = math.sqrt(40 / 39) * stats.t(39).ppf(0.975)  # SciPy has no Hesterberg: its level is raised instead
    level = 2 * stats.norm.cdf(stretched) - 1
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=2, confidence_level=level).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)  # the width is 0.9


def test_a_cluster_counts_as_often_as_it_has_values() -> None:
    found = cluster_bootstrap_mean([0.0, 0.0, 0.0, 1.0], ["A01", "A01", "A01", "B01"], draws=4000)
    assert found == Interval(mean=0.25, low=0.0, high=1.0, n=4, clusters=2)


def test_columns_are_as_they_would_be_alone_but_for_their_missing_values(monkeypatch: pytest.MonkeyPatch) -> None:
    lot = np.random.default_rng(5)
    values, wells = lot.normal(size=(90, 4)) + np.array([0, 1, 0, 0]), lot.integers(0, 15, 90)
    values[:30, 2], values[:, 3] = np.nan, np.nan
    together = bootstrap_means(values, wells, draws=1000)
    for column in (0, 1):
        alone = cluster_bootstrap_mean(values[:, column], wells, draws=1000)
        assert (together.low[column], together.high[column]) == pytest.approx((alone.low, alone.high), rel=1e-12)
    assert together.mean[2] == pytest.approx(values[30:, 2].mean())
    assert together.n.tolist() == [90, 90, 60, 0]
    assert together.p[1] == pytest.approx(2 / 1001)
    assert together.p[0] > 0.05
    assert np.isnan([together.low[3], together.p[3], together.mean[3]]).all()
    monkeypatch.setattr(intervals, "_MOST_COLUMNS", 1)
    apart = bootstrap_means(values, wells, draws=1000)
    for name in ("mean", "low", "high", "p", "n"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=1e-12)


def test_holm_steps_down_and_leaves_out_what_is_not_known() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # the textbook's
    p = [0.01, np.nan, 0.04, 0.03, 0.5]
    np.testing.assert_allclose(holm(p), [0.04, np.nan, 0.09, 0.09, 0.5])
    assert holm([]).tolist() == []


def test_copies_of_a_view_in_its_well_narrow_nothing() -> None:
    values, wells = np.random.default_rng(0).normal(size=20), np.arange(20)
    once = cluster_bootstrap_mean(values, wells, draws=2000)
    copied = cluster_bootstrap_mean(np.repeat(values, 9), np.repeat(wells, 9), draws=2000)
    assert (once.low, once.high) == pytest.approx((copied.low, copied.high))
    assert (copied.n, copied.clusters) == (180, 20)


@pytest.mark.parametrize(("wells", "least"), [(12, 0.90), (40, 0.93), (80, 0.93)])
def test_the_interval_covers_the_truth_of_clustered_data_as_often_as_it_says(wells: int, least: float) -> None:
    """1000 data sets, as columns, of six views a well; about 15 points a figure are noise of 0.7 %."""
    generator, runs = np.random.default_rng(2), 1000
    of_wells = np.repeat(np.arange(wells), 6)
    share = generator.beta(2, 2, size=(wells, runs))
    kinds = {
        "normal": (generator.normal(size=(wells, runs))[of_wells] + generator.normal(size=(6 * wells, runs)), 0.0),
        "calls": ((generator.random((6 * wells, runs)) < share[of_wells]).astype(float), 0.5),
    }
    for kind, (values, truth) in kinds.items():
        found = bootstrap_means(values, of_wells, draws=2000, seed=1)
        covered = ((found.low <= truth) & (truth <= found.high)).mean()
        assert least <= covered <= 0.97, kind
        naive = 1.96 * values.std(0) / math.sqrt(6 * wells)  # what views taken for independent would have claimed
        assert (np.abs(values.mean(0) - truth) <= naive).mean() < 0.88


def test_the_interval_depends_on_neither_order_nor_chunks_but_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    values, wells = generator.normal(size=60), generator.integers(0, 12, 60)
    first = cluster_bootstrap_mean(values, wells, draws=500)
    order = generator.permutation(60)
    assert cluster_bootstrap_mean(values[order], wells[order], draws=500) == first
    assert cluster_bootstrap_mean(values, wells, draws=500, seed=1) != first
    monkeypatch.setattr(intervals, "_MOST_COUNTS", 100)
    assert cluster_bootstrap_mean(values, wells, draws=500) == first


def test_nan_values_are_dropped_and_a_single_well_has_no_interval() -> None:
    found = cluster_bootstrap_mean([1.0, np.nan, 3.0, np.nan], ["A01", "A01", "A01", "B01"])
    assert (found.mean, found.n, found.clusters) == (2.0, 2, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    nothing = cluster_bootstrap_mean([], [])
    assert math.isnan(nothing.mean)
    assert (nothing.n, nothing.clusters) == (0, 0)


def test_faulty_values_are_refused_with_what_was_given() -> None:
    with pytest.raises(ValueError, match="1 values are infinite"):
        cluster_bootstrap_mean([1.0, np.inf], ["a", "b"])
    with pytest.raises(ValueError, match="2 rows; allowed: 1"):
        cluster_bootstrap_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="1 rows have no cluster"):
        cluster_bootstrap_mean([1.0, 2.0], ["a", None])
    with pytest.raises(ValueError, match="draws is 0"):
        cluster_bootstrap_mean([1.0], ["a"], draws=0)
    with pytest.raises(ValueError, match=r"level 1\.0"):
        cluster_bootstrap_mean([1.0], ["a"], level=1.0)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (23, 23), (1, 30), (500, 1000)])
def test_the_interval_of_a_share_is_scipy_s_wilson_interval(successes: int, n: int) -> None:
    found = proportion_interval(successes, n)
    theirs = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert found.share == successes / n
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_no_trial_has_no_share_and_impossible_counts_are_refused() -> None:
    assert math.isnan(proportion_interval(0, 0).share)
    with pytest.raises(ValueError, match="3 of 2"):
        proportion_interval(3, 2)


def test_sums_by_well_and_a_long_table_say_what_the_wide_table_says() -> None:
    lot = np.random.default_rng(6)
    values, wells = lot.normal(size=(60, 3)), np.repeat([f"w{number:02d}" for number in range(12)], 5)
    values[lot.random(values.shape) < 0.2] = np.nan
    wide = bootstrap_means(values, wells, draws=300)
    sums, counts = np.nansum(values.reshape(12, 5, 3), 1), (~np.isnan(values)).reshape(12, 5, 3).sum(1).astype(float)
    empty = np.zeros((2, 3))
    for found in (
        bootstrap_sums(np.vstack([empty, sums]), np.vstack([empty, counts]), draws=300),
        long_means(values.ravel(), np.repeat(wells, 3), np.tile(np.arange(3), 60), draws=300),
    ):
        for name in ("mean", "low", "high", "p", "n", "clusters"):
            np.testing.assert_allclose(getattr(found, name), getattr(wide, name), rtol=1e-9)


def test_resamples_are_multinomial() -> None:
    drawn = np.concatenate(list(intervals._resamples(6, 40_000, 0)))
    assert (drawn.sum(1) == 6).all()
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(6) - 1 / 6, atol=0.03)
