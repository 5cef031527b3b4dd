"""Statistics: agreement with SciPy, coverage on clustered data, and hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pcim import statistics
from pcim.statistics import Interval, cluster_bootstrap_mean, paired_difference, proportion_interval


def test_one_value_a_cluster_is_scipy_s_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    ours = cluster_bootstrap_mean(values, np.arange(40), draws=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)  # the width is 0.9


def test_a_cluster_counts_as_often_as_it_has_values() -> None:
    found = cluster_bootstrap_mean([0.0, 0.0, 0.0, 1.0], ["A01", "A01", "A01", "B01"], draws=4000)
    assert found == Interval(mean=0.25, low=0.0, high=1.0, n=4, clusters=2)
    quartiles = cluster_bootstrap_mean([0.0, 0.0, 0.0, 1.0], ["A01", "A01", "A01", "B01"], draws=4000, level=0.4)
    assert (quartiles.low, quartiles.high) == (0.25, 0.25)  # both wells, in half of the draws


def test_copies_of_a_view_in_its_well_narrow_nothing() -> None:
    values, wells = np.random.default_rng(0).normal(size=20), np.arange(20)
    once = cluster_bootstrap_mean(values, wells, draws=2000)
    copied = cluster_bootstrap_mean(np.repeat(values, 9), np.repeat(wells, 9), draws=2000)
    assert (once.low, once.high) == pytest.approx((copied.low, copied.high))
    assert (copied.n, copied.clusters) == (180, 20)


def test_the_interval_covers_the_truth_of_clustered_data_about_as_often_as_it_says() -> None:
    generator, wells = np.random.default_rng(0), np.repeat(np.arange(30), 6)
    hits = naive = 0
    for _ in range(200):
        values = generator.normal(size=30)[wells] + generator.normal(size=180)
        found = cluster_bootstrap_mean(values, wells, draws=400)
        hits += found.low <= 0 <= found.high
        naive += abs(values.mean()) <= 1.96 * values.std() / math.sqrt(180)
    assert 0.88 <= hits / 200 <= 0.99
    assert naive / 200 < 0.8  # what views taken for independent would have claimed


def test_the_interval_depends_on_neither_order_nor_chunks_but_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    values, wells = generator.normal(size=60), generator.integers(0, 12, 60)
    first = cluster_bootstrap_mean(values, wells, draws=500)
    order = generator.permutation(60)
    assert cluster_bootstrap_mean(values[order], wells[order], draws=500) == first
    assert cluster_bootstrap_mean(values, wells, draws=500, seed=1) != first
    monkeypatch.setattr(statistics, "_MOST_COUNTS", 100)
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
    with pytest.raises(ValueError, match=r"shape \(2,\); allowed: \(1,\)"):
        cluster_bootstrap_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="1 values have no cluster"):
        cluster_bootstrap_mean([1.0, 2.0], ["a", None])
    with pytest.raises(ValueError, match="draws is 0"):
        cluster_bootstrap_mean([1.0], ["a"], draws=0)
    with pytest.raises(ValueError, match=r"level 1\.0"):
        cluster_bootstrap_mean([1.0], ["a"], level=1.0)


def scores() -> pd.DataFrame:
    """Return pcim = random + 0.1, 0.2, 0.3, 0.4 on four views of two wells, and a method that has one view."""
    rows = []
    for number, (well, view) in enumerate([("A01", "a"), ("A01", "b"), ("B01", "a"), ("B01", "b")]):
        rows.append((well, view, "random", number * 10.0))
        rows.append((well, view, "pcim", number * 10.0 + 0.1 * (number + 1)))
    rows.append(("A01", "a", "edge", 5.0))
    return pd.DataFrame(rows, columns=["well", "view", "method", "value"])


def difference(table: pd.DataFrame, reference: str = "random") -> dict[str, Interval]:
    return paired_difference(
        table, value="value", method="method", reference=reference, unit=["well", "view"], cluster=["well"], draws=1000
    )


def test_differences_are_taken_view_by_view() -> None:
    found = difference(scores())
    assert list(found) == ["edge", "pcim"]
    assert found["pcim"].mean == pytest.approx(0.25)
    assert (found["pcim"].low, found["pcim"].high) == pytest.approx((0.15, 0.35))  # either well twice
    assert (found["pcim"].n, found["pcim"].clusters) == (4, 2)
    assert (found["edge"].mean, found["edge"].n) == (5.0, 1)


def test_a_view_that_either_method_lacks_is_left_out() -> None:
    table = scores()
    table.loc[(table["method"] == "random") & (table["well"] == "B01") & (table["view"] == "b"), "value"] = np.nan
    table = table[~((table["method"] == "pcim") & (table["well"] == "A01") & (table["view"] == "a"))]
    assert difference(table)["pcim"].mean == pytest.approx(0.25)
    assert difference(table)["pcim"].n == 2


def test_the_order_of_the_rows_plays_no_role() -> None:
    assert difference(scores().sample(frac=1, random_state=0))["pcim"] == difference(scores())["pcim"]


def test_faulty_tables_are_refused_with_what_was_given() -> None:
    with pytest.raises(ValueError, match=r"reference 'gradcam' .*allowed: \['edge', 'pcim', 'random'\]"):
        difference(scores(), reference="gradcam")
    with pytest.raises(ValueError, match=r"columns \['view'\] are absent"):
        difference(scores().drop(columns="view"))
    with pytest.raises(ValueError, match=r"1 rows repeat a view and a method, .*'edge'"):
        difference(pd.concat([scores(), scores().tail(1)]))


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
