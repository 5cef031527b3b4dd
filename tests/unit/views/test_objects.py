"""Crops around objects of a label image or a table: each object its view, each map at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted_campaign import CHANNELS, SIZE, spot_field, write_model, write_plate

from pcim.classifiers.classifier import load_classifier, pick_device
from pcim.classifiers.contract import InputContract
from pcim.config.classifier import Crops
from pcim.config.methods import PcimSettings
from pcim.config.stages import AttributeSettings, IngestSettings
from pcim.core.plate_source import Source
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.inspect_field import inspect_field
from pcim.runtime.journal import Journal
from pcim.stages.attribute.job import explain
from pcim.stages.attribute.spool import Spool
from pcim.stages.attribute.tasks import AttributeJob
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.classify import classify_views
from pcim.stages.objects import find_objects
from pcim.views.intensity import FieldRecords
from pcim.views.objects import middles, read_objects, read_places
from pcim.views.reader import read_views
from pcim.views.view import views_of_wells

SPOTS = {"7": (60, 50), "9": (80, 90), "12": (2, 189)}
CONTRACT: dict[str, Any] = {
    "channels": list(CHANNELS), "view": "object", "size": list(SIZE), "dtype": "uint16", "mean": [200.0] * 2, "std": [100.0] * 2,
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    """Two fields: one with three labelled objects, two of which share a neighbourhood and one of which lies in a corner."""
    labels = np.zeros((144, 192), np.uint16)
    for number, (y, x) in SPOTS.items():
        labels[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = int(number)
    pixels = spot_field(np.random.default_rng(2), (144, 192), (60, 50))
    fields = {("A", "1", "0"): pixels, ("A", "2", "0"): pixels}
    cells = {("A", "1", "0"): {"cells": labels}, ("A", "2", "0"): {"cells": np.zeros_like(labels)}}
    plate = Source(str(write_plate(tmp_path / "p.zarr", fields, labels=cells)))
    rows = [
        {"plate": "p", "row": r, "column": c, "well": f"{r}0{c}", "field": f, "path": f"{r}/{c}/{f}"}
        | inspect_field(plate, f"{r}/{c}/{f}", IngestSettings(empty_contrast=0)).columns
        for r, c, f in fields
    ]
    table = pd.DataFrame(rows)
    table.to_parquet(tmp_path / "fields.parquet")
    return {"plate": plate, "fields": table, "folder": tmp_path}


def found(world: dict[str, Any], **crops: Any) -> pd.DataFrame:
    table = world["folder"] / "objects.parquet"
    find_objects(
        plate="p", fields=str(world["folder"] / "fields.parquet"), store=world["plate"], crops=Crops(**crops),
        table=str(table), workers=2, revision=1,
    )  # fmt: skip
    return pd.read_parquet(table)


def test_the_middle_of_an_object_is_that_of_its_box() -> None:
    labels = np.zeros((9, 12), np.int64)
    labels[2:5, 3:7], labels[8, 11] = 4, 2
    assert middles(labels) == [("2", 8.0, 11.0), ("4", 3.0, 4.5)]
    assert middles(np.zeros((3, 3), np.uint8)) == []


def test_objects_of_a_label_image_are_found_field_by_field(world: dict[str, Any]) -> None:
    table = found(world, label="cells")
    assert table["object"].tolist() == ["7", "9", "12"]
    assert set(table["path"]) == {"A/1/0"}
    assert table[["y", "x"]].to_numpy().tolist() == [[60.0, 50.0], [80.0, 90.0], [2.0, 189.0]]


def test_objects_of_a_table_are_those_of_the_plate(world: dict[str, Any]) -> None:
    places = world["folder"] / "places.csv"
    places.write_text("plate,well,field,y,x,object\np,a1,0,10,20,k1\nq,A1,0,1,1,k2\np,A2,0,5,6,\n", encoding="utf-8-sig")
    table = found(world, table=places)
    assert table[["path", "object", "y"]].to_numpy().tolist() == [["A/1/0", "k1", 10.0], ["A/2/0", "4", 5.0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("well,field,y\nA1,0,1\n", r"lack \['x'\]"),
        ("well,field,y,x\nA1,0,one,2\n", r"places\.csv:2: could not convert"),
        ("well,field,y,x\n1A,0,1,2\n", r"places\.csv:2: well position '1A'"),
        ("well,field,y,x,object\nA1,0,1,2,../x\n", r"object '\.\./x'"),
        ("well,field,y,x,object\nA1,0,1,2,k\nA01,0,1,3,k\n", "is listed twice"),
        ("well,field,y,x\nA1,0,nan,2\n", "expected letters, digits, numbers"),
    ],
)
def test_a_table_of_places_with_a_fault_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "places.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_places(file, "p")


def test_each_object_is_a_view_inside_its_field_and_its_map_is_its_own(world: dict[str, Any]) -> None:
    found(world, label="cells")
    folder, plate, table = world["folder"], world["plate"], world["fields"]
    classifier = load_classifier(write_model(folder / "model", input=CONTRACT), ["planted_campaign"], pick_device(0))
    objects = read_objects([str(folder / "objects.parquet")])
    contract = InputContract(**CONTRACT)
    views = views_of_wells(table, ["A01", "A02"], contract, [], objects)
    assert [(view.key.view, view.box.top, view.box.left) for view in views] == [
        ("o7", 36, 26), ("o9", 56, 66), ("o12", 0, 144),
    ]  # fmt: skip
    known = FieldRecords.from_tables(table)
    calls = classify_views(classifier, views, read_views(plate, views, contract, 1, known), 4)
    assert calls["call"].tolist() == ["spot", "plain", "plain"]
    settings = AttributeSettings(batch_size=4, pcim=PcimSettings(steps=5), levels=1)
    chunk = ChunkJob(plate, ["A01", "A02"], classifier, ["planted_campaign"], [], 0.0, gpus=0, workers=1, revision=1)
    job = AttributeJob(chunk, "pcim", settings, AttributionPlate(folder / "maps.zarr"))
    ledger = folder / "ledger.parquet"
    rows = explain(job, views, table, calls, Journal(ledger), Spool(ledger), known)
    assert {row["status"] for row in rows} == {"ok"}
    whole = job.maps.read("A/1/0")
    covered = np.zeros((144, 192), bool)
    for view in views:
        covered[view.box.slices] = True
    np.testing.assert_array_equal(np.isfinite(whole[0]), covered)
    own = job.maps.read_views("A/1/0", {view.key.view: view.box for view in views})
    top, left = np.unravel_index(own["o7"].sum(0).argmax(), SIZE)
    assert abs(36 + top - 60) <= 4
    assert abs(26 + left - 50) <= 4


def test_two_objects_with_one_crop_are_two_views(world: dict[str, Any]) -> None:
    contract = InputContract(**CONTRACT)
    views = views_of_wells(world["fields"], ["A01"], contract, [], {"A/1/0": [("1", 0.0, 0.0), ("2", 3.0, 3.0)]})
    assert [view.box for view in views] == [views[0].box] * 2
    assert len({view.key for view in views}) == 2


def test_crops_have_one_source() -> None:
    for both in ({}, {"label": "a", "table": "b"}):
        with pytest.raises(ValueError, match="exactly one of 'label' and 'table'"):
            Crops(**both)
