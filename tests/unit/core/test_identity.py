"""Identity."""

import pytest

from pcim.core.identity import ViewKey, keyed_number, parse_well, row_number, well_name, well_order


@pytest.mark.parametrize("text", ["A1", "a01", "A001", " A01 "])
def test_every_spelling_of_a_well_is_one_well(text: str) -> None:
    assert parse_well(text) == "A01"


@pytest.mark.parametrize("text", ["", "1A", "A0", "A", "AAA1", "A1/..", "A-1", "A1\n2"])
def test_what_is_no_well_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(ValueError, match="expected one or two letters"):
        parse_well(text)


def test_a_1536_well_plate_sorts_as_it_lies() -> None:
    wells = ["AA1", "Z48", "B2", "B10", "A1"]
    assert sorted((parse_well(well) for well in wells), key=well_order) == ["A01", "B02", "B10", "Z48", "AA01"]


def test_a_key_prints_as_a_path_and_its_number_depends_on_nothing_else() -> None:
    key = ViewKey("p1", "A", "1", "0", "0_160")
    assert str(key) == "p1/A/1/0/0_160"
    assert key.well == "A01" == well_name("A", "1")
    assert key.number("x") == keyed_number("p1/A/1/0/0_160", "x") == 2383890694181762405  # the same in every process
    assert key.number("x") != key.number("y")
    assert 0 <= key.number() < 2**63


@pytest.mark.parametrize(("row", "number"), [("A", 1), ("H", 8), ("Z", 26), ("AA", 27), ("AF", 32)])
def test_rows_are_numbered_as_on_the_plate(row: str, number: int) -> None:
    assert row_number(row) == number
