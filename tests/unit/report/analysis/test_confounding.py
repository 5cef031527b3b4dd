"""Confounding: hand-made plates whose class can, or cannot, be read off the place of a well."""

from __future__ import annotations

import pandas as pd
import pytest

from pcim.report.analysis.confounding import accuracy_by_level, confounding_table, factors


def plate(truth: dict[str, str], call: dict[str, str] | None = None) -> pd.DataFrame:
    """Return a table of wells, ``A1`` -> true class, all called rightly unless said."""
    rows = [
        {"plate": "p", "row": well[0], "column": well[1:], "truth": name, "call": (call or {}).get(well, name)}
        for well, name in truth.items()
    ]
    return pd.DataFrame(rows, columns=["plate", "row", "column", "truth", "call"])


def test_a_class_by_column_is_told_by_the_column_and_not_by_the_row() -> None:
    truth = {f"{row}{column}": "dead" if column > 3 else "live" for row in "ABCD" for column in range(1, 7)}
    table = confounding_table(plate(truth)).set_index("factor")
    assert table.loc["column", ["k", "n"]].tolist() == [24, 24]
    assert table.loc["half of the plate", "share"] == 1
    assert table.loc["row", "k"] == 0, "of five others in the row, three have the other class"
    assert table.loc["column", "majority"] == 0.5
    assert "plate" not in table.index, "one plate tells nothing apart"


def test_what_the_classifier_does_where_the_place_misleads_is_counted() -> None:
    truth = {f"{row}{column}": "dead" if column > 2 else "live" for row in "ABCDE" for column in range(1, 5)}
    truth |= {"A1": "dead", "B4": "live"}
    fooled = confounding_table(plate(truth, {"A1": "live", "B4": "dead"})).set_index("factor")
    right = confounding_table(plate(truth)).set_index("factor")
    assert fooled.loc["column", ["against_k", "against_n"]].tolist() == [0, 2]
    assert right.loc["column", ["against_k", "against_n"]].tolist() == [2, 2]


def test_a_plate_with_another_layout_does_not_hide_what_the_training_wells_give_away() -> None:
    """Trained on a plate by columns, tested on a mixed one: all wells together look harmless."""
    by_column = {f"{row}{column}": "dead" if column > 3 else "live" for row in "ABCD" for column in range(1, 7)}
    mixed = {f"{row}{column}": ["live", "dead"][(ord(row) + column) % 2] for row in "ABCD" for column in range(1, 7)}
    trained = plate(by_column).assign(wells="seen in training")
    tested = plate(mixed).assign(plate="q", wells="held out")
    table = confounding_table(pd.concat([trained, tested], ignore_index=True)).set_index(["of", "factor"])
    assert table.loc[("all", "column"), "share"] < 0.6
    assert table.loc[("seen in training", "column"), ["k", "n"]].tolist() == [24, 24]
    assert table.loc[("seen in training", "half of the plate"), "share"] == 1
    assert set(confounding_table(trained)["of"]) == {"all"}, "all wells are those: said once"


def test_a_balanced_layout_tells_nothing() -> None:
    truth = {f"{row}{column}": "ab"[(number + column) % 2] for number, row in enumerate("ABCDEFGH") for column in range(1, 13)}
    table = confounding_table(plate(truth))
    assert (table["share"] < 0.55).all()


@pytest.mark.parametrize("truth", [{}, {"A1": ""}, {"A1": "x"}])
def test_without_known_truth_or_levels_there_is_nothing_to_say(truth: dict[str, str]) -> None:
    assert confounding_table(plate(truth)).empty


def test_rows_beyond_z_are_rows() -> None:
    truth = {"Z1": "a", "Z2": "a", "AA1": "b"}
    table = plate({}).reindex(range(3)).assign(plate="p", row=["Z", "Z", "AA"], column=["1", "2", "1"])
    table = table.assign(truth=list(truth.values()), call=list(truth.values()))
    assert confounding_table(table).set_index("factor").loc["row", "k"] == 2


def lit(wells: pd.DataFrame, level: list[float], right: list[float], down: list[float]) -> pd.DataFrame:
    return wells.assign(illumination=level, tilt_right=right, tilt_down=down)


def test_a_well_belongs_to_a_third_of_its_own_plate_and_its_light_comes_from_the_steeper_side() -> None:
    table = plate({f"A{column}": "a" for column in range(1, 7)})
    table = lit(table, [10, 60, 20, 50, 30, 40], [0.1, 5, -5, 1, 1, 0], [0.1, 1, 1, 5, -5, 0.9])
    found = factors(table)
    assert list(found["illumination"]) == ["p/dark", "p/bright", "p/dark", "p/bright", "p/middle", "p/middle"]
    assert list(found["direction of the light"]) == ["even", "right", "left", "bottom", "top", "bottom"]
    other = pd.concat([table, table.assign(plate="q", illumination=table["illumination"] * 100)], ignore_index=True)
    assert set(factors(other)["illumination"][6:]) == {"q/dark", "q/middle", "q/bright"}, "each plate has its own thirds"


def test_a_class_by_light_is_told_by_the_light() -> None:
    truth = {f"{row}{column}": "ab"[(column + ord(row)) % 2] for row in "ABCD" for column in range(1, 7)}
    table = plate(truth)
    sign = [1.0 if name == "a" else -1.0 for name in table["truth"]]
    told = confounding_table(lit(table, [100 + s for s in sign], [20 * s for s in sign], [0.0] * 24))
    told = told.set_index("factor")
    assert told.loc["direction of the light", ["k", "n"]].tolist() == [24, 24]
    assert told.loc["illumination", "k"] == 24
    assert told.loc["column", "share"] < 0.5
    assert "illumination" not in set(confounding_table(lit(table, [None] * 24, sign, sign))["factor"])


def test_accuracy_within_a_level_and_levels_of_one_class_that_separate_nothing() -> None:
    truth = {"A1": "live", "A2": "dead", "B1": "live", "B2": "dead", "C1": "live", "C2": "live"}
    table = accuracy_by_level(plate(truth, {"A1": "dead", "B2": "live"})).set_index(["factor", "level"])
    columns = ["wells", "right", "classes", "separable"]
    assert table.loc[("row", "p/A"), columns].tolist() == [2, 1, 2, True]
    assert table.loc[("row", "p/C"), columns].tolist() == [2, 2, 1, False]
    assert table.loc[("column", "p/1"), columns].tolist() == [3, 2, 1, False]
    assert table.loc[("column", "p/2"), [*columns, "majority"]].tolist() == [3, 2, 2, True, pytest.approx(2 / 3)]
    assert table.loc[("plate", "p"), ["accuracy", "of"]].tolist() == [pytest.approx(4 / 6), "all"]
    assert table.loc[("row", "p/A"), "low"] < 0.5 < table.loc[("row", "p/A"), "high"]


def test_accuracy_by_level_counts_held_out_wells_where_there_are_any() -> None:
    table = plate({"A1": "live", "A2": "dead", "B1": "live", "B2": ""}, {"A1": "dead"})
    found = accuracy_by_level(table.assign(wells=["held out", "held out", "seen in training", "held out"]))
    row = found.set_index(["factor", "level"]).loc[("plate", "p")]
    assert (row["of"], row["wells"], row["right"]) == ("held out", 2, 1)
    assert "p/B" not in set(found["level"])
    assert accuracy_by_level(table.iloc[:0].assign(wells="")).empty
