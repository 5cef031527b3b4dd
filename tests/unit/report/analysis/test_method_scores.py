"""Scores: wide is long, differences are paired, curves are means with their intervals."""

from __future__ import annotations

import finished_campaign as reported
import numpy as np
import pandas as pd
import pytest

from pcim.report.analysis.method_scores import MethodScores, curve_table, method_table


def test_the_wide_table_holds_every_value_whatever_the_parts_and_their_order() -> None:
    table = reported.scores_table()
    whole = MethodScores.from_tables([table])
    wells = sorted(table["well"].unique())
    parts = MethodScores.from_tables([table[table["well"].isin(wells[5:])], table[table["well"].isin(wells[:5])]])
    pd.testing.assert_frame_equal(whole.wide.sort_index(), parts.wide.sort_index())
    pd.testing.assert_frame_equal(whole.known, parts.known)
    row = table.iloc[7]
    key = tuple(row[["plate", "row", "column", "well", "field", "view"]])
    column = (row["method"], row["metric"], row["substitute"])
    assert whole.wide.loc[key, column] == pytest.approx(row["value"])
    assert whole.known.loc[("pcim", "auprc", ""), "chance"] == pytest.approx(0.1)
    assert whole.known.loc[("pcim", "insertion_auc", "mean"), "seen"]


def test_no_tables_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="one or more"):
        MethodScores.from_tables([])


def test_methods_come_in_the_order_asked_for_and_their_blurred_maps_after_them() -> None:
    table = reported.scores_table()
    blurred = table[table["method"] == "pcim"].assign(method="pcim_blurred")
    scores = MethodScores.from_tables([pd.concat([blurred, table])]).in_order(["random", "pcim", "edge"])
    assert list(dict.fromkeys(column[0] for column in scores.columns)) == ["random", "pcim", "edge", "pcim_blurred"]
    assert list(scores.known.index) == scores.columns


def scored(values: dict[tuple[str, str, str, bool], list[float]]) -> MethodScores:
    rows = [
        {**reported.key_of("A", well + 1), "method": method, "metric": metric, "substitute": substitute, "seen": seen}
        | {"value": value, "chance": 0.0}
        for (method, metric, substitute, seen), of_wells in values.items()
        for well, value in enumerate(of_wells)
    ]
    return MethodScores.from_tables([pd.DataFrame(rows)])


def test_a_views_fidelity_is_the_mean_gain_with_substitutes_its_method_has_not_seen() -> None:
    scores = scored({
        ("pcim", "morf_lerf", "mean", True): [0.9, 0.9], ("pcim", "morf_lerf", "noise", False): [0.2, -0.4],
        ("pcim", "road", "road", False): [0.4, 0.2], ("pcim", "deletion_auc", "noise", False): [0.7, 0.7],
        ("edge", "morf_lerf", "noise", False): [0.5, 0.5],
    })  # fmt: skip
    assert scores.fidelity("pcim").tolist() == pytest.approx([0.3, -0.1])
    only_seen = scored({("pcim", "morf_lerf", "mean", True): [0.9]})
    assert only_seen.fidelity("pcim").tolist() == pytest.approx([0.9]), "nothing else is there to judge by"


def test_agreement_is_that_of_the_named_methods() -> None:
    scores = scored({(name, "agreement", "", False): [value] for name, value in (("pcim", 1.0), ("ig", 0.4), ("cam", 0.2), ("edge", -1.0))})
    assert scores.agreement(["ig", "cam"]).tolist() == pytest.approx([0.3])
    assert np.isnan(scores.agreement([])).all()


def test_paired_differences_are_taken_view_by_view_in_the_metrics_own_direction() -> None:
    table = method_table(MethodScores.from_tables([reported.scores_table()]), reference="pcim", draws=2000)
    cell = table.set_index(["method", "metric"])
    assert cell.loc[("edge", "deletion_auc"), "difference"] == pytest.approx(0.2)
    assert np.isnan(cell.loc[("pcim", "auprc"), "difference"])
    assert cell.loc[("pcim", "auprc"), "n"] == 8, "undefined values do not count"
    assert cell.loc[("edge", "deletion_auc"), "p_holm"] < 0.05
    assert np.isnan(cell.loc[("pcim", "deletion_auc"), "p_holm"])


def test_a_method_must_beat_its_own_blurred_map_and_the_contrast_control() -> None:
    """One view of each of eight wells; lower is better in the deletion AUC, and the noise is a hundredth."""
    values = {"pcim": 0.2, "pcim_blurred": 0.3, "grad_cam": 0.4, "grad_cam_blurred": 0.4, "contrast": 0.5, "edge": 0.1}
    lot = np.random.default_rng(0)
    rows = [
        {**reported.key_of("A", well + 1), "method": method, "metric": metric, "substitute": "mean", "seen": False}
        | {"value": (value if metric == "deletion_auc" else 1 - value) + 0.01 * lot.normal(), "chance": np.nan}
        for well in range(8)
        for method, value in values.items()
        for metric in ("deletion_auc", "insertion_auc", "entropy")
    ]
    cell = method_table(MethodScores.from_tables([pd.DataFrame(rows)]), reference="pcim", draws=500).set_index(["method", "metric"])
    for metric in ("deletion_auc", "insertion_auc"):
        assert cell.loc[("pcim", metric), ["above_blurred", "above_contrast", "beats_controls"]].tolist() == [True] * 3
        found = cell.loc[("grad_cam", metric), ["above_blurred", "above_contrast", "beats_controls"]]
        assert found.tolist() == [False, True, False]
        for control in ("pcim_blurred", "contrast", "edge"):
            assert cell.loc[(control, metric), "beats_controls"] is None
    assert cell.loc[("pcim", "entropy"), "beats_controls"] is None, "neither direction is better"


def test_curves_are_means_over_views_and_intervals_over_wells() -> None:
    table = reported.curves_table()
    half = table[table["well"] != "A01"]
    found = curve_table([table[table["well"] == "A01"], half], draws=200).set_index(["method", "substitute", "order", "share"])
    assert found.loc[("pcim", "mean", "deletion", 0.5), "mean"] == pytest.approx(0.125)
    assert found.loc[("random", "blur", "insertion", 0.5), "mean"] == pytest.approx(0.125)
    assert found.loc[("edge", "mean", "insertion", 1.0), "mean"] == pytest.approx(1)
    assert (found["n"] == 10).all()
    assert (found["wells"] == 10).all()
    noisy = table.assign(deletion=[np.asarray(row) + 0.01 * number for number, row in enumerate(table["deletion"])])
    interval = curve_table([noisy], draws=500)
    assert (interval["low"] <= interval["mean"]).all()
    assert (interval.loc[interval["order"] == "deletion", "high"] > interval.loc[interval["order"] == "deletion", "low"]).all()


def test_a_view_without_the_map_of_a_method_does_not_count_for_it() -> None:
    table = reported.curves_table()
    without = table[(table["method"] != "edge") | (table["well"] != "A01")]
    found = curve_table([without], draws=200).groupby("method")["n"].unique()
    assert list(found["edge"]) == [9]
    assert list(found["pcim"]) == [10]


def test_a_well_in_several_tables_is_one_well() -> None:
    table = reported.curves_table()
    again = table.assign(field="1", deletion=[np.asarray(row) / 2 for row in table["deletion"]])
    whole = curve_table([pd.concat([table, again], ignore_index=True)], draws=200)
    pd.testing.assert_frame_equal(curve_table(iter([table, again]), draws=200), whole)
    assert whole[["n", "wells"]].drop_duplicates().to_numpy().tolist() == [[20, 10]]


def test_no_curves_give_an_empty_table() -> None:
    assert curve_table([], draws=10).empty
    assert curve_table([reported.curves_table().iloc[:0]], draws=10).empty
