"""Responses by organelle, dose and place: hand-made tables whose answer is known, and chance where nothing is planted."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from pcim.report.analysis import findings
from pcim.report.analysis.dose_and_position import (
    MEASURES,
    dose_table,
    measured_views,
    measured_wells,
    organelle_table,
    position_table,
    trend_table,
)


def of_view(row: str, column: int, view: str = "0_0", plate: str = "p1") -> dict[str, str]:
    well = f"{row}{column:02d}"
    return {"plate": plate, "row": row, "column": str(column), "well": well, "field": "0", "view": view}


def shares_table() -> pd.DataFrame:
    """Return two methods on three wells, the first with two views; 'edge' has no map by channel."""
    rows = []
    for number, (well, view) in enumerate([(1, "a"), (1, "b"), (2, "a"), (3, "a")], 1):
        for method, channels in (("pcim", ("all", "GFP", "DNA")), ("edge", ("all",))):
            for region, area in (("nuclei", 0.2), ("background", 0.8)):
                part = 0.1 * number if region == "nuclei" else 1 - 0.1 * number
                for channel in channels:
                    share = part * {"all": 1, "GFP": 0.75, "DNA": 0.25}[channel]
                    known = {"method": method, "region": region, "channel": channel, "share": share}
                    rows.append(of_view("A", well, view) | known | {"area": area, "lift": part / area})
    return pd.DataFrame(rows)


def test_an_organelles_share_is_the_mean_over_views_by_region_and_channel() -> None:
    table = organelle_table(shares_table(), draws=500).set_index(["method", "region", "channel"])
    assert len(table) == 2 * 3 + 2
    row = table.loc[("pcim", "nuclei", "GFP")]
    assert row["share"] == pytest.approx(0.75 * 0.25)
    assert row["lift"] == pytest.approx(0.25 / 0.2)
    assert row["area"] == pytest.approx(0.2)
    assert row[["views", "wells"]].tolist() == [4, 3]
    assert row["share_low"] < row["share"] < row["share_high"]
    channels = table.loc["pcim"]["share"].drop("all", level="channel")
    assert channels.sum() == pytest.approx(1), "regions and channels share the map out"


def test_a_share_that_is_not_defined_is_left_out_and_one_well_has_no_interval() -> None:
    shares = shares_table()
    shares.loc[shares["well"] != "A01", ["share", "lift"]] = np.nan
    row = organelle_table(shares, draws=100).set_index(["method", "region", "channel"]).loc[("pcim", "nuclei", "all")]
    assert row["share"] == pytest.approx(0.15)
    assert np.isnan(row["share_low"])


def test_the_reports_regions_are_the_organelles_of_the_whole_map() -> None:
    whole = organelle_table(shares_table(), draws=200)
    whole = whole[whole["channel"] == "all"].drop(columns="channel").reset_index(drop=True)
    found = findings.region_table(shares_table(), draws=200)
    pd.testing.assert_frame_equal(found[list(whole)], whole)


def views_table() -> pd.DataFrame:
    """Return the called views of six wells: a drug at 1, 2 and 3 in duplicate, share = dose / 10; A01 has a second view, unexplained."""
    rows = [
        of_view(row, column) | {"treatment": "drug", "control_type": "", "dose": float(column), "p": 0.9, "probabilities": [0.1, 0.9]}
        for row, column in itertools.product("AB", (1, 2, 3))
    ]  # fmt: skip
    rows += [rows[0] | {"view": "b", "p": 0.7, "probabilities": [0.7, 0.3]}]
    rows += [of_view("C", 1) | {"treatment": "DMSO", "control_type": "negcon", "dose": np.nan, "p": 1.0, "probabilities": [1, 0]}]
    return pd.DataFrame(rows)


def dose_shares() -> pd.DataFrame:
    views = views_table()
    explained = views[(views["view"] == "0_0") & (views["row"] != "C")]
    of_objects = explained.assign(method="pcim", region="nuclei", channel="all", share=explained["dose"] / 10)
    of_objects["lift"] = of_objects["share"] / 0.1
    others = [of_objects.assign(share=0.99, **{name: "other"}) for name in ("method", "region", "channel")]
    return pd.concat([of_objects, *others], ignore_index=True)


def measured() -> pd.DataFrame:
    return measured_views(views_table(), dose_shares(), method="pcim", region="nuclei")


def test_views_and_wells_are_measured_in_the_objects_by_the_method_that_is_read() -> None:
    views = measured()
    assert len(views) == 8
    wells = measured_wells(views).set_index("well")
    assert wells.loc["A01", "confidence"] == pytest.approx(0.8)
    assert wells.loc["A01", "p_last"] == pytest.approx(0.6)
    assert wells.loc["A01", "share"] == pytest.approx(0.1)
    assert wells.loc["A01", ["views", "explained"]].tolist() == [2, 1]
    assert np.isnan(wells.loc["C01", "share"])
    without = measured_views(views_table(), dose_shares(), method="pcim", region=None)
    assert without["share"].isna().all()
    assert without["explained"].sum() == 6, "a view with a map is explained, whether regions are named or not"
    assert dose_table(without, draws=200)["explained"].tolist() == [2, 2, 2]


def test_a_dose_has_its_means_and_numbers_and_no_dose_no_row() -> None:
    table = dose_table(measured(), draws=200).set_index(["treatment", "dose"])
    assert table.index.tolist() == [("drug", 1.0), ("drug", 2.0), ("drug", 3.0)]
    assert table["share"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert table["lift"].tolist() == pytest.approx([1, 2, 3])
    assert table["p_last"].tolist() == pytest.approx([(0.9 + 0.3 + 0.9) / 3, 0.9, 0.9])
    assert table["views"].tolist() == [3, 2, 2]
    assert table["wells"].tolist() == table["explained"].tolist() == [2, 2, 2]


def test_a_dose_in_one_well_has_no_interval() -> None:
    views = measured()
    table = dose_table(views[views["row"] == "A"], draws=200)
    assert table["wells"].tolist() == [1, 1, 1]
    assert table[["share_low", "share_high", "p_last_low"]].isna().all(axis=None)
    assert table["share"].notna().all()


def dosed_wells(values: list[float], doses: list[float], plate: str = "p1") -> pd.DataFrame:
    rows = [
        of_view("A", number, plate=plate) | {"treatment": "drug", "dose": dose, "p_last": value, "share": value, "lift": 1.0}
        for number, (value, dose) in enumerate(zip(values, doses, strict=True), 1)
    ]
    return pd.DataFrame(rows)


def test_a_trend_is_spearmans_and_its_p_that_of_all_permutations() -> None:
    doses, values = [1.0, 2, 3, 4, 5], [0.1, 0.3, 0.2, 0.5, 0.6]
    row = trend_table(dosed_wells(values, doses), draws=20_000).set_index("measure").loc["share"]
    rho = spearmanr(doses, values).statistic
    assert row["rho"] == pytest.approx(rho)
    everything = [abs(spearmanr(doses, each).statistic) >= rho - 1e-9 for each in itertools.permutations(values)]
    assert row["p"] == pytest.approx(np.mean(everything), rel=0.25)
    assert row[["wells", "doses"]].tolist() == [5, 5]


def test_a_trend_needs_three_doses_and_values_that_differ() -> None:
    table = trend_table(dosed_wells([0.1, 0.2, 0.3, 0.4], [1, 1, 2, 2]), draws=100).set_index("measure")
    assert table.loc["share", ["rho", "p", "p_holm"]].isna().all()
    assert table.loc["share", ["wells", "doses"]].tolist() == [4, 2]
    assert np.isnan(trend_table(dosed_wells([0.1, 0.2, 0.3], [1, 2, 3]), draws=100).set_index("measure").loc["lift", "rho"])


def test_a_difference_between_plates_is_no_trend() -> None:
    """High doses on a plate that is brighter: within the plates nothing may be permuted into another order of plates."""
    wells = pd.concat([dosed_wells([0.1, 0.1, 0.1], [1, 2, 3]), dosed_wells([0.9, 0.9, 0.9], [4, 5, 6], "p2")])
    row = trend_table(wells, draws=500).set_index("measure").loc["share"]
    assert row["rho"] > 0.8
    assert row["p"] == 1


def plate_of(value: dict[str, float], treatment: dict[str, str] | None = None, dose: float = np.nan) -> pd.DataFrame:
    """Return measured wells, ``A1`` -> value of every measure; one treatment unless said."""
    rows = [
        of_view(well[0], int(well[1:]))
        | {
            "treatment": (treatment or {}).get(well, "t"),
            "dose": dose,
            "confidence": number,
            "share": number,
            "lift": number,
        }
        for well, number in value.items()
    ]
    return pd.DataFrame(rows)


def test_omega_squared_is_the_one_of_the_textbook() -> None:
    """Rows A, B, C of three wells, means 2, 4, 6, each with deviations -1, 0, 1: SSB = 24, SSW = 6, so (24 - 2) / (30 + 1)."""
    value = {f"{row}{column}": 2.0 * number + column - 2 for number, row in enumerate("ABC", 1) for column in (1, 2, 3)}
    table = position_table(plate_of(value), draws=2000).set_index(["factor", "measure"])
    row = table.loc[("row", "share")]
    assert row["omega2"] == pytest.approx(22 / 31)
    assert row["omega2_within"] == pytest.approx(22 / 31), "one treatment: within it is everywhere"
    assert row["p"] < row["p_holm"] < 0.2
    assert row[["n", "n_within", "levels"]].tolist() == [9, 9, 3]
    assert row[["lowest", "highest"]].tolist() == ["p1/A", "p1/C"]
    assert row[["lowest_mean", "highest_mean"]].tolist() == [2, 6]


def test_the_p_of_a_place_is_that_of_all_permutations() -> None:
    value = {"A1": 1.0, "A2": 2.0, "A3": 3.5, "B1": 3.0, "B2": 5.0, "B3": 6.0}
    row = position_table(plate_of(value), draws=20_000).set_index(["factor", "measure"]).loc[("row", "lift")]
    numbers = list(value.values())
    gaps = [abs(sum(numbers) - 2 * sum(each)) for each in itertools.combinations(numbers, 3)]
    seen = abs(sum(numbers) - 2 * sum(numbers[:3]))
    assert row["p"] == pytest.approx(np.mean([gap >= seen - 1e-9 for gap in gaps]), rel=0.25)


def test_a_place_that_is_the_treatments_is_not_charged_with_its_effect() -> None:
    """Column 1 holds what works, column 2 does not, and nothing else differs: within a treatment the column tells nothing."""
    rng = np.random.default_rng(0)
    wells = [f"{row}{column}" for row in "ABCDEFGH" for column in (1, 2)]
    value = {well: (0.9 if well.endswith("1") else 0.1) + rng.normal(0, 0.01) for well in wells}
    treatment = {well: "drug" if well.endswith("1") else "DMSO" for well in wells}
    table = position_table(plate_of(value, treatment), draws=500).set_index(["factor", "measure"])
    assert table.loc[("column", "share"), "omega2"] > 0.9
    assert np.isnan(table.loc[("column", "share"), ["omega2_within", "p_within"]].astype(float)).all()
    assert table.loc[("row", "share"), "p_within"] > 0.05


def test_a_planted_edge_effect_is_found_within_treatments_that_hide_it() -> None:
    rng = np.random.default_rng(1)
    wells = [f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)]
    treatment = {well: f"t{number % 4}" for number, well in enumerate(wells)}
    edge = {well: well[0] in "AH" or well[1:] in ("1", "12") for well in wells}
    value = {w: 0.3 * int(treatment[w][1]) - 0.05 * edge[w] + rng.normal(0, 0.01) for w in wells}
    table = position_table(plate_of(value, treatment), draws=1000).set_index(["factor", "measure"])
    row = table.loc[("distance to the edge", "confidence")]
    assert row["p"] > 0.05
    assert row["omega2_within"] > 0.8
    assert row["p_within_holm"] < 0.05
    assert row["lowest"] == "0"


def test_at_chance_p_is_uniform_and_omega_zero_on_average() -> None:
    rng = np.random.default_rng(2)
    wells = [f"{row}{column}" for row in "ABCD" for column in range(1, 7)]
    found = []
    for _ in range(10):
        of_plate = plate_of(dict.fromkeys(wells, 0.0))
        for measure in MEASURES:
            of_plate[measure] = rng.normal(size=len(wells))
        found.append(position_table(of_plate, draws=200).set_index("factor").loc["row"])
    table = pd.concat(found)
    assert 0.3 < table["p"].mean() < 0.7
    assert abs(table["omega2"].mean()) < 0.1


def test_few_wells_are_said_and_not_hidden() -> None:
    table = position_table(plate_of({"A1": 0.5, "B2": np.nan}), draws=100)
    assert len(table) == 15
    assert (table["n"] == 1).all()
    assert table[["omega2", "p", "p_holm", "p_within"]].isna().all(axis=None)
    assert position_table(plate_of({"A1": 0.5}).iloc[:0], draws=100).empty


def test_an_answer_depends_neither_on_the_order_of_rows_nor_on_the_index() -> None:
    rng = np.random.default_rng(3)
    wells = plate_of({f"{row}{column}": rng.normal() for row in "ABC" for column in range(1, 5)}, dose=1.0)
    mixed = wells.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(position_table(wells, draws=300), position_table(mixed, draws=300))
