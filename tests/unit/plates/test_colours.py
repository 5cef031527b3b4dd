"""A channel has one colour: in the report, in figures from Python, in a converted plate and in the viewer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_campaign import spot_field, write_model, write_plate
from viewer_results import make_results

from pcim import attribute_plate, load_classifier, open_plate
from pcim.core.plate_source import Source
from pcim.operations.viewer.plate_view import find_view
from pcim.plates.colours import channel_colours, word_for
from pcim.report.page.examples import read_example

OWN = ("33FF59", "F233F2")


def coloured(plate: Path, *colours: str) -> Path:
    """Give the channels of a plate's fields other colours."""
    for file in [*plate.glob("*/*/*/zarr.json"), *plate.glob("*/*/*/.zattrs")]:
        content = json.loads(file.read_bytes())
        ome = content.get("attributes", {}).get("ome", content)
        for channel, colour in zip(ome["omero"]["channels"], colours, strict=True):
            channel["color"] = colour
        file.write_text(json.dumps(content))
    return plate


@pytest.mark.parametrize(
    ("named", "count", "expected"),
    [
        (["00FF00", "0000ff"], 2, ("00FF00", "0000FF")),
        (["#FF0000", "00FF00"], 2, ("FF0000", "00FF00")),
        (["FFFFFF", "FFFFFF"], 2, OWN),
        (["00FF00", "000000"], 2, OWN),
        (["00FF00"], 2, OWN),
        (["00FF00", "red"], 2, OWN),
        (["00FF00", "</style>"], 2, OWN),
        ([], 2, OWN),
        (["00FF00"], 1, ("FFFFFF",)),
    ],
)
def test_named_colours_are_taken_where_channels_can_be_told_apart_by_them(named: list[str], count: int, expected: tuple[str, ...]) -> None:
    assert channel_colours(named, count) == expected


def test_our_own_colours_differ_as_far_as_a_viewer_shows_channels_at_once() -> None:
    for count in range(2, 7):
        colours = channel_colours([], count)
        assert len(set(colours)) == len({word_for(colour) for colour in colours}) == count
    assert len(channel_colours([], 20)) == 20


@pytest.mark.parametrize("named", [("00FF00", "FF0000"), ("FFFFFF", "FFFFFF")])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_report_python_and_viewer_show_a_channel_in_one_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: tuple[str, str], version: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "p4" if version == "0.4" else "p5"
    results = make_results(tmp_path, channels=("DNA", "Reporter"))
    coloured(tmp_path / f"{name}.zarr", *named)
    expected = named if len(set(named)) > 1 else OWN

    told = find_view(results, name).to_dict()["source"]["channels"]
    assert [(one["label"], one["color"]) for one in told] == list(zip(("DNA", "Reporter"), expected, strict=True))

    key = {"plate": name, "row": "A", "column": "1", "field": "0", "view": "0_0", "path": "A/1/0"}
    row = key | {"top": 0, "left": 0, "height": 48, "width": 48}
    for channels, colours in (
        (["DNA", "Reporter"], expected),
        (["Reporter", "DNA"], expected[::-1]),
        (["Reporter"], ("FFFFFF",)),
    ):
        store = Source(str(tmp_path / f"{name}.zarr"))
        assert read_example(row, store=store, maps={}, channels=channels, regions={}).colours == colours


def test_maps_of_a_plate_are_drawn_in_its_colours(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): spot_field(rng, (48, 48), (20, 20))})
    coloured(plate, "00FF00", "FF0000")
    classifier = load_classifier(write_model(tmp_path / "model"), ["planted_campaign"], "cpu")
    maps = attribute_plate(open_plate(plate), classifier, method="edge")
    assert (maps.channels, maps.colours) == (["DNA", "Reporter"], ["00FF00", "FF0000"])


def test_windows_that_a_plate_does_not_name_come_from_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = make_results(tmp_path, channels=("DNA", "Reporter"))
    (named, other) = find_view(results, "p5").to_dict()["source"]["channels"]
    assert named["window"] == other["window"] == {"min": 0, "max": 60000, "start": 0, "end": 60000}
    file = tmp_path / "p5.zarr/A/1/0/zarr.json"
    content = json.loads(file.read_bytes())
    del content["attributes"]["ome"]["omero"]
    file.write_text(json.dumps(content))
    found = find_view(results, "p5")
    (first, second) = found.to_dict()["source"]["channels"]
    assert [(one["label"], one["color"]) for one in (first, second)] == [("0", OWN[0]), ("1", OWN[1])]
    assert first["window"]["start"] == pytest.approx(200, abs=50), "0.5 % of 0 to 40000"
    assert first["window"]["end"] == pytest.approx(39800, abs=50)
    elsewhere = replace(found, plan=replace(found.plan, source=replace(found.plan.source, channels=("DNA", "GFP"))))
    assert [one["label"] for one in elsewhere.to_dict()["source"]["channels"]] == ["DNA", "GFP"]
