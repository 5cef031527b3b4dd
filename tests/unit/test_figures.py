"""Figures: true to the plate, the same bytes for the same numbers, nothing global touched."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import reported

from pcim import figures, findings


def wells() -> pd.DataFrame:
    rows = [
        {"row": row, "column": str(column), "control_type": "poscon" if column == 2 else "", "p_last": column / 10,
         "dose": float(column), "treatment": "drug"}
        for row, column in reported.WELLS
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("row", "index"), [("A", 0), ("H", 7), ("Z", 25), ("AA", 26), ("AF", 31)])
def test_rows_are_numbered_as_on_the_plate(row: str, index: int) -> None:
    assert figures.row_index(row) == index


@pytest.mark.parametrize(
    ("rows", "columns", "shape"),
    [([0, 7], [11], (8, 12)), ([8], [0], (16, 24)), ([0], [12], (16, 24)), ([31], [47], (32, 48)), ([], [], (8, 12))],
)
def test_the_smallest_plate_that_holds_the_wells_is_drawn(
    rows: list[int], columns: list[int], shape: tuple[int, int]
) -> None:
    assert figures.plate_shape(rows, columns) == shape


def test_a_well_is_drawn_in_its_place_and_the_others_stay_empty() -> None:
    figure = figures.plate_heat(wells(), "p_last", label="p", diverging=True)
    grid = figure.axes[0].collections[0].get_array().reshape(8, 12)
    assert grid[0, 2] == pytest.approx(0.3)
    assert grid.mask.sum() == 96 - 12


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_numbers_give_the_same_bytes(kind: str) -> None:
    drawn = [figures.render(figures.dose_response(wells(), last_class="live"), kind) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert b"Date" not in drawn[0]


def test_global_style_is_left_as_it_was() -> None:
    before = dict(mpl.rcParams)
    shares = findings.region_table(reported.shares_table(), draws=100)
    figures.render(figures.region_shares(shares, names={}, controls=["edge"]), "svg")
    assert dict(mpl.rcParams) == before


def test_a_region_without_control_gets_no_control_mark() -> None:
    table = findings.exchange_table(reported.interventions_table(), draws=100)
    axis = figures.exchanges(table).axes[0]
    marks = [line for line in axis.lines if len(line.get_xdata()) == 1]
    assert len(marks) == 3, "two regions exchanged, one control"


def test_values_that_are_not_known_are_drawn_as_nothing() -> None:
    unknown = wells().assign(p_last=np.nan)
    assert figures.render(figures.plate_heat(unknown, "p_last", label="p", diverging=False), "png")


def test_mean_maps_share_one_scale_from_zero() -> None:
    stack = np.stack([np.full((4, 6), 1.0), np.full((4, 6), 5.0)])
    figure = figures.mean_maps(stack, ["a", "b"])
    limits = {axis.images[0].get_clim() for axis in figure.axes if axis.images}
    assert len(limits) == 1
    assert limits.pop()[0] == 0
