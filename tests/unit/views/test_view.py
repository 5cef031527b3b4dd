"""Views: what the classifier is fed, of its own size, and how its maps come back to the field's pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted_campaign import CHANNELS, SIZE, spot_field, write_model, write_plate

from pcim.classifiers.classifier import load_classifier, pick_device
from pcim.classifiers.contract import InputContract
from pcim.config.methods import PcimSettings
from pcim.config.stages import AttributeSettings, IngestSettings
from pcim.core.identity import ViewKey
from pcim.core.plate_source import Source
from pcim.core.tiling import Box, tile_field
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.inspect_field import inspect_field
from pcim.runtime.journal import Journal
from pcim.stages.attribute.job import explain
from pcim.stages.attribute.spool import Spool
from pcim.stages.attribute.tasks import AttributeJob
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.classify import classify_views
from pcim.views.intensity import FieldRecords
from pcim.views.reader import Waiting, read_views
from pcim.views.resize import fit, fit_mask
from pcim.views.view import View, views_of


def contract(**changes: Any) -> InputContract:
    told: dict[str, Any] = {
        "channels": list(CHANNELS), "view": "tile", "size": SIZE, "dtype": "uint16", "mean": [200.0] * 2, "std": [100.0] * 2,
    }  # fmt: skip
    return InputContract(**(told | changes))


FIELD = {
    "plate": "p", "row": "A", "column": "1", "field": "0", "path": "A/1/0", "height": 144, "width": 192, "dtype": "uint16",
    "channels": list(CHANNELS), "pixel_size_um": 0.5, "qc": "ok", "reason": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "boxes"),
    [
        ({}, (3 * 4, 48, 48)),
        ({"overlap": 24}, (5 * 7, 48, 48)),
        ({"pixel_size_um": 1.0}, (2 * 2, 96, 96)),
        ({"pixel_size_um": 0.25}, (6 * 8, 24, 24)),
        ({"view": "field", "resize": True}, (1, 144, 192)),
        ({"view": "field", "size": (72, 96), "pixel_size_um": 1.0}, (1, 144, 192)),
    ],
)
def test_a_view_covers_what_the_contract_says(changes: dict[str, Any], boxes: tuple[int, int, int]) -> None:
    views = views_of(FIELD, contract(**changes), [])
    assert (len(views), views[0].box.height, views[0].box.width) == boxes
    assert {view.status for view in views} == {"ok"}


@pytest.mark.parametrize(
    ("field", "changes", "reason"),
    [
        (
            {"pixel_size_um": np.nan},
            {"pixel_size_um": 1.0},
            "no pixel size is given; the classifier was trained at 1.0 µm",
        ),
        ({}, {"view": "field"}, "the field is 144 x 192 px, the view 48 x 48 px"),
        ({"height": 40}, {}, "the field is 40 x 192 px, the view 48 x 48 px"),
        ({"dtype": "uint8"}, {}, "pixels are uint8"),
        ({"channels": ["DNA"]}, {}, r"channels ['Reporter'] are not in this field"),
    ],
)
def test_a_field_that_does_not_fit_is_a_view_with_a_reason(field: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    views = views_of(FIELD | field, contract(**changes), [])
    assert len(views) >= 1
    assert all(view.status == "failed" and reason in view.reason for view in views)


@pytest.mark.parametrize("changes", [{"overlap": 25}, {"resize": True}])
def test_a_contract_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"overlap: 25 px; expected at most 24|resize: for 'field' views"):
        contract(**changes)


def test_resizing_keeps_the_mean_and_the_place() -> None:
    y, x = np.mgrid[:96, :120]
    bump = np.exp(-((y - 30) ** 2 + (x - 90) ** 2) / 50).astype(np.float32)[np.newaxis]
    small = fit(bump, (48, 60))
    assert small.mean() == pytest.approx(bump.mean(), rel=1e-3)
    assert np.unravel_index(small.argmax(), small.shape)[1:] in {(14, 44), (15, 45), (14, 45), (15, 44)}
    assert fit(bump, (96, 120)) is bump
    mask = bump[0] > 0.5
    assert fit_mask(fit_mask(mask, (192, 240)), (96, 120)).tolist() == mask.tolist()


def world(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """One field with a spot, classified."""
    pixels = spot_field(np.random.default_rng(2), (144, 192), (100, 60))
    plate = Source(str(write_plate(folder / "p.zarr", {("A", "1", "0"): pixels})))
    classifier = load_classifier(
        write_model(folder / "model", input=contract(**changes).model_dump(mode="json")), ["planted_campaign"], pick_device(0)
    )
    key = {"plate": "p", "row": "A", "column": "1", "well": "A01", "field": "0", "path": "A/1/0"}
    table = pd.DataFrame([key | inspect_field(plate, "A/1/0", IngestSettings(empty_contrast=0)).columns])
    views = views_of(table.to_dict("records")[0], classifier.contract.input, [])
    readings = read_views(plate, views, classifier.contract.input, 1, FieldRecords.from_tables(table))
    calls = classify_views(classifier, views, readings, 4)
    settings = AttributeSettings(batch_size=4, pcim=PcimSettings(steps=5), levels=1)
    chunk = ChunkJob(plate, ["A01"], classifier, ["planted_campaign"], [], 0.0, gpus=0, workers=1, revision=1)
    job = AttributeJob(chunk, "pcim", settings, AttributionPlate(folder / "maps.zarr"))
    return {"job": job, "views": views, "fields": table, "calls": calls}


@pytest.mark.parametrize("changes", [{"overlap": 16}, {"pixel_size_um": 0.25}, {"pixel_size_um": 0.6, "overlap": 8}])
def test_maps_of_overlapping_and_resized_views_cover_the_field_and_point_at_the_signal(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = world(tmp_path, changes)
    rows = explain(
        made["job"],
        made["views"],
        made["fields"],
        made["calls"],
        Journal(tmp_path / "ledger.parquet"),
        Spool(tmp_path / "ledger.parquet"),
        FieldRecords.from_tables(made["fields"]),
    )
    assert {row["status"] for row in rows} == {"ok"}
    whole = made["job"].maps.read("A/1/0").sum(0)
    assert whole.shape == (144, 192)
    assert np.isfinite(whole).all()
    own = made["job"].maps.read_views("A/1/0", {view.key.view: view.box for view in made["views"]})
    assert {array.shape for array in own.values()} == {(2, *SIZE)}
    for view, row in zip(made["views"], rows, strict=True):
        assert own[view.key.view].sum(0).mean() == pytest.approx(1, rel=1e-3) or row["mean_attribution"] == 0
    holding = [v for v in made["views"] if v.box.slices[0].start <= 97 and v.box.slices[0].stop >= 104
               and v.box.slices[1].start <= 57 and v.box.slices[1].stop >= 64]  # fmt: skip
    assert holding
    for view in holding:
        field = fit(own[view.key.view], (view.box.height, view.box.width)).sum(0)
        top, left = np.unravel_index(field.argmax(), field.shape)
        assert abs(view.box.top + top - 100) <= 5
        assert abs(view.box.left + left - 60) <= 5


def test_pixels_that_changed_after_ingest_are_no_pixels(tmp_path: Path) -> None:
    made = world(tmp_path, {})
    chunk = tmp_path / "p.zarr"
    write_plate(chunk, {("A", "1", "0"): spot_field(np.random.default_rng(9), (144, 192), None)})
    readings = read_views(made["job"].chunk.store, made["views"], contract(), 1, FieldRecords.from_tables(made["fields"]))
    reasons = {reading for _, reading in readings if isinstance(reading, str)}
    assert reasons == {"the pixels of channels ['DNA', 'Reporter'] changed after the plate was ingested"}


def test_waiting_is_measured_and_said() -> None:
    import time

    def slow() -> Any:
        for number in range(3):
            time.sleep(0.02)
            yield number

    clock = Waiting()
    assert list(clock.over(slow())) == [0, 1, 2]
    assert clock.seconds >= 0.06
    assert "the network waited for data" in str(clock)
    assert isinstance(Box(0, 0, 1, 1).slices, tuple)


def test_a_few_crops_do_not_keep_their_field_in_memory_and_tiles_are_not_copied(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): np.zeros((2, 96, 96), np.uint16)})
    tile = InputContract(channels=["DNA", "Reporter"], view="tile", size=(48, 48), dtype="uint16", mean=[0, 0], std=[1, 1])
    views = [View(ViewKey("p", "A", "1", "0", box.name), "A/1/0", box) for box in tile_field((96, 96), (48, 48))]

    def bases(chosen: list[View]) -> list[bool]:
        pixels = [read for _, read in read_views(Source(str(plate)), chosen, tile, 1, FieldRecords())]
        return [isinstance(read, np.ndarray) and read.base is not None for read in pixels]

    assert bases(views) == [True] * 4
    assert bases(views[:1]) == [False]
