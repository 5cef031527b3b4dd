"""Charts: true to the plate and to the tables; texts stay data; the same numbers give the same bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import finished_campaign as reported
import numpy as np
import pandas as pd
import pytest
import vl_convert

from pcim.report.analysis import findings
from pcim.report.analysis.method_scores import curve_table
from pcim.report.page import charts
from pcim.report.page.figures import VEGA_LITE, Album

NAMES = {"pcim": "PCIM", "edge": "Edges", "random": "Random"}


def wells() -> pd.DataFrame:
    rows = [
        {"plate": "p1", "row": row, "column": f"{column:02d}", "well": f"{row}{column:02d}", "control_type": control}
        | {"call": reported.called(column), "truth": "", "treatment": reported.HOSTILE, "dose": np.nan, "status": "ok"}
        | {"p": column / 10, "lift": 2.0 * column, "fidelity": -column / 10}
        for row, column in reported.WELLS
        for control in [{1: "negcon", 2: "poscon"}.get(column, "")]
    ]
    return pd.DataFrame(rows)


def data_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    (rows,) = spec["datasets"].values()
    return list(rows)


@pytest.mark.parametrize(
    ("rows", "columns", "shape"),
    [([1, 8], [12], (8, 12)), ([9], [1], (16, 24)), ([1], [13], (16, 24)), ([32], [48], (32, 48)), ([], [], (8, 12))],
)
def test_the_smallest_plate_that_holds_the_wells_is_drawn(rows: list[int], columns: list[int], shape: tuple[int, int]) -> None:
    assert charts.plate_shape(rows, columns) == shape


def test_rows_are_named_as_on_the_plate() -> None:
    assert charts.row_names(32)[-6:] == ["AA", "AB", "AC", "AD", "AE", "AF"]
    assert charts.row_names(8) == list("ABCDEFGH")


def test_a_well_is_drawn_in_its_place_with_its_value_and_its_control_mark() -> None:
    spec = charts.plate_map(wells(), charts.Measure("p", "Confidence", "share")).to_dict()
    rows = {row["well"]: row for row in data_of(spec)}
    assert (rows["B03"]["row"], rows["B03"]["column"], rows["B03"]["p"]) == ("B", 3, 0.3)
    assert [rows[well]["mark"] for well in ("A01", "A02", "A03")] == ["\N{MINUS SIGN}", "+", ""]
    x = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert x == list(range(1, 13)), "the whole plate, also where no well was photographed"


def test_classes_are_told_by_a_letter_too_and_by_a_number_where_letters_clash() -> None:
    measure = charts.Measure("call", "Call", "class")
    marks = {row["call"]: row["mark"] for row in data_of(charts.plate_map(wells(), measure).to_dict())}
    assert marks == {"plain": "P", "spot": "S"}
    clash = wells().assign(call=["dead" if n % 2 else "dying" for n in range(12)])
    marks = {row["call"]: row["mark"] for row in data_of(charts.plate_map(clash, measure).to_dict())}
    assert marks == {"dead": "1", "dying": "2"}


@pytest.mark.parametrize(("kind", "column", "middle"), [("lift", "lift", 1), ("signed", "fidelity", 0)])
def test_a_scale_with_a_meaningful_middle_has_it_in_its_middle_colour(kind: charts.Kind, column: str, middle: float) -> None:
    scale = charts.plate_map(wells(), charts.Measure(column, "x", kind)).to_dict()["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domainMid"] == middle
    assert scale["domain"][0] <= wells()[column].min()
    assert scale["domain"][1] >= wells()[column].max()


def test_values_that_are_not_known_are_drawn_as_nothing() -> None:
    album = Album()
    unknown = wells().assign(p=np.nan)
    album.chart("x", charts.plate_map(unknown, charts.Measure("p", "Confidence", "share")), "words")
    assert album.files["x.png"].startswith(b"\x89PNG")


def test_the_same_numbers_give_the_same_bytes_and_files_hold_no_script() -> None:
    drawn = []
    for _ in range(2):
        album = Album()
        plot = album.chart("x", charts.plate_map(wells(), charts.Measure("p", "Confidence", "share")), "words")
        drawn.append((json.dumps(plot.spec), album.files))
    assert drawn[0] == drawn[1]
    assert set(drawn[0][1]) == {"x.svg", "x.png"}
    assert b"<script" not in drawn[0][1]["x.svg"]


def test_a_methods_share_stands_beside_the_chance_of_its_region() -> None:
    table = findings.region_table(reported.shares_table(), draws=100)
    spec = charts.regions(table, names=NAMES, controls=["edge", "random"]).to_dict()
    rows = {(row["method"], row["region"]): row for row in data_of(spec)}
    assert rows["PCIM", "spots"]["share"] == pytest.approx(0.63)
    assert rows["PCIM", "spots"]["area"] == 0.1
    assert {row["kind"] for row in data_of(spec) if row["method"] != "PCIM"} == {"control"}
    assert spec["facet"]["sort"] == ["spots", "background"]


def test_a_region_without_control_gets_no_control_mark() -> None:
    spec = charts.exchanges(findings.exchange_table(reported.interventions_table(), draws=100)).to_dict()
    assert sorted((row["region"], row["kind"]) for row in data_of(spec)) == [
        ("background", "region exchanged"),
        ("spots", "control patch of the same area"),
        ("spots", "region exchanged"),
    ]


def test_curves_start_with_a_substitute_that_the_method_has_not_seen() -> None:
    table = curve_table([reported.curves_table()], draws=50)
    spec = charts.curves(table, names=NAMES, controls=["edge", "random"], seen=["mean"]).to_dict()
    (removed,) = [one for one in spec["params"] if one["name"] == "removed"]
    assert removed["value"] == "blur"
    assert removed["bind"]["options"] == ["blur", "mean"]
    assert "in-sample" in removed["bind"]["labels"][1]
    assert len(data_of(spec)) == len(table)


def drawn(spec: dict[str, Any], mark: str) -> list[str]:
    """Return the visible shapes of a kind of mark, as a chart starts."""
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    groups = re.findall(rf'<g class="mark-{mark} role-mark.*?</g>', svg, re.DOTALL)
    shapes = [shape for group in groups for shape in re.findall(r"<(?:path|line)[^>]* (?:d|y2)=[^>]+>", group)]
    return [shape for shape in shapes if float(re.findall(r'(?<!-)opacity="([\d.]+)"', shape)[0]) >= 0.1]


def test_curves_start_in_their_intervals_of_every_method() -> None:
    table = curve_table([reported.curves_table()], draws=50)
    table = table.assign(low=table["mean"] - 0.1, high=table["mean"] + 0.1)
    bands = drawn(charts.curves(table, names=NAMES, controls=["edge", "random"], seen=[]).to_dict(), "area")
    assert len(bands) == 2 * len(NAMES), "deletion and insertion"
    for band in bands:
        ends = [float(y) for y in re.findall(r"[ML][\d.]+,(-?[\d.]+)", re.findall(r' d="([^"]+)"', band)[0])]
        upper, lower = ends[:5], ends[:4:-1]
        assert np.abs(np.subtract(upper, lower)) == pytest.approx(0.2 * 170, abs=0.1)
    alone = table.assign(low=np.nan, high=np.nan)
    spec = charts.curves(alone, names=NAMES, controls=[], seen=[]).to_dict()
    assert drawn(spec, "area") == [], "one well alone has no interval"


def test_charts_look_for_light_and_for_dark_paper() -> None:
    light, dark = charts.theme(dark=False), charts.theme(dark=True)
    assert light.keys() == dark.keys()
    assert light["axis"]["labelColor"] != dark["axis"]["labelColor"]


def doses(values: tuple[float, ...] = (0.1, 1.0, 10.0)) -> pd.DataFrame:
    rows = [
        {"treatment": treatment, "dose": dose, "wells": 2, "p_last": dose / 20, "p_last_low": 0.0, "p_last_high": 1.0}
        | {f"{name}{end}": np.nan if treatment == "b" else 0.5 for name in ("share", "lift") for end in ("", "_low", "_high")}
        for treatment in ("a", "b")
        for dose in values
    ]
    return pd.DataFrame(rows)


def test_a_dose_response_shows_calls_and_maps_each_treatment_in_a_colour_and_a_shape() -> None:
    spec = charts.dose_response(doses(), last_class="dead", objects="worms").to_dict()
    rows = data_of(spec)
    assert {row["measure"] for row in rows if row["treatment"] == "a"} == {
        "probability of dead", "share of the map in the worms", "lift in the worms, 1 = chance",
    }  # fmt: skip
    assert {row["measure"] for row in rows if row["treatment"] == "b"} == {"probability of dead"}, "NaN is not drawn"
    assert spec["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"
    (measure,) = [one for one in spec["params"] if one["name"] == "measure"]
    assert measure["value"] == "probability of dead"


def test_doses_stand_in_their_intervals_which_a_dose_of_one_well_has_not() -> None:
    table = doses().assign(p_last_low=lambda of: of["p_last"] - 0.05, p_last_high=lambda of: of["p_last"] + 0.05)
    table.loc[0, ["p_last_low", "p_last_high"]] = np.nan
    spec = charts.dose_response(table, last_class="dead", objects=None).to_dict()
    bars = [float(re.findall(r' y2="(-?[\d.]+)"', bar)[0]) for bar in drawn(spec, "rule")]
    assert len(bars) == len(table) - 1
    assert np.abs(bars) == pytest.approx(0.1 / 0.6 * 220, abs=0.1), "of an axis of 0.6"
    assert len(drawn(spec, "rect")) == 2 * len(bars), "each end has a line across, which the line of the means has not"


@pytest.mark.parametrize("values", [(0.0, 1.0, 100.0), (1.0, 2.0, 3.0)])
def test_doses_with_a_zero_or_close_together_are_drawn_as_they_are(values: tuple[float, ...]) -> None:
    spec = charts.dose_response(doses(values), last_class="dead", objects=None).to_dict()
    assert spec["layer"][0]["encoding"]["x"]["scale"]["type"] == "linear"
    assert {row["measure"] for row in data_of(spec)} == {"probability of dead"}
