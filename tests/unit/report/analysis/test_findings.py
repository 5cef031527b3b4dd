"""The numbers of the report, by hand."""

from __future__ import annotations

import finished_campaign as reported
import numpy as np
import pandas as pd
import pytest

from pcim.config.classifier import ClassifierSettings
from pcim.report.analysis import findings

SETTINGS = ClassifierSettings.model_validate(
    {"model": "model.yaml", "plates": ["p1"], "truth": "label", "split": "split", "regions": {"spots": {"label": "s"}}}
)


def views() -> pd.DataFrame:
    return findings.called_views(reported.calls_table(), reported.fields_table(), SETTINGS)


def test_accuracy_counts_held_out_and_seen_wells_apart() -> None:
    wells = findings.called_wells(views(), reported.CLASSES)
    table = findings.accuracy_table(views(), wells).set_index(["wells", "unit"])
    assert list(table.loc[("held out", "well"), ["correct", "n"]]) == [4, 5]
    assert list(table.loc[("seen in training", "view"), ["correct", "n"]]) == [5, 5]
    assert table.loc[("held out", "well"), "low"] < 0.8 < table.loc[("held out", "well"), "high"]


def test_a_wells_call_is_that_of_its_mean_probability() -> None:
    table = views().iloc[:1]
    pair = pd.concat([table, table], ignore_index=True)
    pair["probabilities"] = [[0.4, 0.6], [0.9, 0.1]]
    well = findings.called_wells(pair, reported.CLASSES).iloc[0]
    assert (well["call"], well["views"]) == ("plain", 2)
    assert well["p_last"] == pytest.approx(0.35)


def test_truth_that_is_not_known_does_not_count() -> None:
    fields = reported.fields_table().assign(label=None)
    table = findings.called_views(reported.calls_table(), fields, SETTINGS)
    wells = findings.called_wells(table, reported.CLASSES)
    assert findings.accuracy_table(table, wells).empty
    assert findings.confusion_table(wells, reported.CLASSES).to_numpy().sum() == 0


@pytest.mark.parametrize("column", ["treatment", "control_type", "call", "p", "status"])
def test_the_true_class_may_stand_in_a_column_of_any_name(column: str) -> None:
    settings = SETTINGS.model_copy(update={"truth": column, "split": column})
    fields = reported.fields_table().assign(**{column: reported.fields_table()["label"]})
    table = findings.called_views(reported.calls_table(), fields, settings)
    assert set(table["truth"]) == set(reported.CLASSES)
    assert set(table["call"]) == set(reported.CLASSES)
    assert table["p"].between(0, 1).all()


def test_an_exchange_that_always_works_is_not_certain() -> None:
    table = findings.exchange_table(reported.interventions_table(), draws=200).set_index("region")
    spots = table.loc["spots"]
    assert (spots["k"], spots["n"], spots["control_k"], spots["wells"]) == (10, 10, 0, 10)
    assert (spots["effect"], spots["effect_high"]) == (1, 1)
    assert 0.6 < spots["effect_low"] < 0.8, "Wilson's for none of ten wells failing"


def test_a_region_without_control_has_no_effect() -> None:
    background = findings.exchange_table(reported.interventions_table(), draws=200).set_index("region").loc["background"]
    assert background["control_n"] == 0
    assert np.isnan(background["effect"])
    assert background["follows"] == 0


def test_no_exchanges_give_an_empty_table() -> None:
    empty = reported.interventions_table().iloc[:0]
    assert findings.exchange_table(empty, draws=200).empty
    assert findings.exchange_by_call(empty).empty


def test_directions_of_an_exchange_are_counted_apart() -> None:
    table = findings.exchange_by_call(reported.interventions_table(spots=0.5))
    spots = table[table["region"] == "spots"].set_index("call_before")
    assert dict(spots["n"]) == {"spot": 6, "plain": 4}
    assert spots["k"].sum() == 5


def test_shares_of_a_map_are_averaged_by_region() -> None:
    table = findings.region_table(reported.shares_table(), draws=200).set_index(["method", "region"])
    assert table.loc[("pcim", "spots"), "share"] == pytest.approx(0.63)
    assert table.loc[("pcim", "spots"), "lift"] == pytest.approx(6.3)
    assert table.loc[("pcim", "spots"), "wells"] == 10


def test_channels_add_up_over_regions() -> None:
    shares = reported.shares_table()
    table = pd.concat([shares, shares.assign(channel="DNA", share=shares["share"] / 2)], ignore_index=True)
    channels = findings.channel_table(table, draws=200).set_index(["method", "channel"])
    assert channels.loc[("pcim", "DNA"), "share"] == pytest.approx(0.5)


def test_background_alone_is_summed_up_by_class() -> None:
    table = findings.background_table(reported.ledger_of("pcim")).set_index("target")
    assert dict(table["p"]) == {"plain": 0.9, "spot": 0.1}


def test_a_wells_status_is_ok_or_its_commonest_trouble() -> None:
    fields = reported.fields_table()
    failed = pd.DataFrame({"plate": "p1", "well": ["A01", "A01", "A01", "B06"], "status": ["failed", "failed", "nan", "saturated"]})
    table = findings.well_status(fields, failed).set_index("well")
    assert dict(table["status"])["A01"] == "failed"
    assert dict(table["status"])["B06"] == "saturated"
    assert list(table.loc[["A01", "A02"], "failed"]) == [3, 0]
    assert table.loc["A02", "status"] == "ok"
    assert len(table) == len(reported.WELLS)


def test_lift_over_edges_is_the_difference_on_the_same_views() -> None:
    """PCIM's lift is 6 + 0.1 x column, the edge control's 2 + 0.1 x column: 4 on every view, though both vary."""
    shares = reported.shares_table()
    table = findings.region_table(shares, draws=200).set_index(["method", "region"])
    ends = ["over_edge", "over_edge_low", "over_edge_high"]
    assert table.loc[("pcim", "spots"), ends].tolist() == pytest.approx([4, 4, 4])
    assert table.loc[("random", "spots"), "over_edge"] == pytest.approx(-1)
    assert table.loc[("pcim", "background"), "over_edge"] == pytest.approx(-0.4 / 0.9)
    assert table.loc[("edge", "spots"), ends].isna().all()
    some = shares[(shares["method"] != "edge") | (shares["column"] == "1")]
    assert findings.region_table(some, draws=200).set_index(["method", "region"]).loc[("pcim", "spots"), "over_edge"] == pytest.approx(4), (
        "views without the control do not count"
    )
    assert findings.region_table(shares[shares["method"] == "pcim"], draws=200)["over_edge"].isna().all()
