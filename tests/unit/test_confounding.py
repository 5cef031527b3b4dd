"""Confounding: hand-made plates whose class can, or cannot, be read off the place of a well."""

from __future__ import annotations

import pandas as pd
import pytest

from pcim.confounding import confounding_table


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


def test_a_balanced_layout_tells_nothing() -> None:
    truth = {
        f"{row}{column}": "ab"[(number + column) % 2]
        for number, row in enumerate("ABCDEFGH")
        for column in range(1, 13)
    }
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
