"""Explaining from Python: the maps are the workflow's, bit by bit, and nothing is left behind unless it was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import vendor_exports
from chunk_jobs import HOW, METHODS, SCORED, SETTINGS, Chunk, files_of
from planted_campaign import knowing_detector, write_model
from safetensors.torch import load_file, save_file

from pcim import attribute_plate, evaluate, load_classifier, open_plate
from pcim.api.plate import Plate
from pcim.attribution.maps import Maps
from pcim.classifiers.classifier import Classifier
from pcim.config.classifier import Crops, Select
from pcim.core.identity import KEY_COLUMNS
from pcim.core.tiling import Box
from pcim.plates.attribution_plate import AttributionPlate
from pcim.revisions import REVISIONS


@pytest.fixture(scope="module")
def chunk(tmp_path_factory: pytest.TempPathFactory) -> Chunk:
    """Every stage's job on two wells, as the workflow runs it."""
    made = Chunk.make(tmp_path_factory.mktemp("chunk"))
    made.run()
    return made


@pytest.fixture(scope="module")
def plate(chunk: Chunk) -> Plate:
    return open_plate(chunk.inputs / "p.zarr")


@pytest.fixture(scope="module")
def classifier(chunk: Chunk) -> Classifier:
    return load_classifier(chunk.inputs / "model", ["planted_campaign"], "cpu")


@pytest.fixture(scope="module")
def maps(plate: Plate, classifier: Classifier) -> Maps:
    return attribute_plate(plate, classifier, settings=SETTINGS)


def test_the_maps_of_a_plate_are_those_that_the_workflow_stores(chunk: Chunk, maps: Maps) -> None:
    ledger = chunk.read("pcim").drop(columns=["fingerprint", "revision"])
    mine = maps.ledger.drop(columns=[*HOW, "fingerprint", "revision"])
    pd.testing.assert_frame_equal(mine, ledger, check_dtype=False)  # digests of the maps among them
    assert len(maps) == len(maps.rows) == 8
    stored = AttributionPlate(chunk.maps("pcim"))
    for one, row in zip(maps.channel_maps, maps.rows.to_dict("records"), strict=True):
        path = f"{row['row']}/{row['column']}/{row['field']}"
        there = stored.read_views(path, {row["view"]: Box.from_row(row)})[row["view"]]
        np.testing.assert_array_equal(one.numpy(), there)


def test_a_view_is_the_same_alone(plate: Plate, classifier: Classifier, maps: Maps) -> None:
    alone = attribute_plate(plate, classifier, wells=["a2"], fields=["0"], settings=SETTINGS)
    assert torch.equal(alone, maps[4:])
    assert torch.equal(alone.images, maps.images[4:])
    pd.testing.assert_frame_equal(alone.ledger.drop(columns=HOW), maps.ledger[4:].reset_index(drop=True).drop(columns=HOW))


def test_nothing_is_changed_and_nothing_left(chunk: Chunk, plate: Plate, classifier: Classifier) -> None:
    before, threads = files_of(chunk.inputs), torch.get_num_threads()
    attribute_plate(plate, classifier, wells=["A01"], method="edge", settings=SETTINGS)
    assert files_of(chunk.inputs) == before
    assert torch.get_num_threads() == threads


def test_maps_that_are_kept_are_a_plate_and_are_not_made_again(
    tmp_path: Path, plate: Plate, classifier: Classifier, maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p_pcim.zarr"
    asked: dict[str, Any] = {"settings": SETTINGS, "out": out}
    assert torch.equal(attribute_plate(plate, classifier, wells=["A01"], **asked), maps[:4])
    assert open_plate(out).wells == ["A01"]
    attribute_plate(plate, classifier, wells=["A02"], **asked)
    monkeypatch.setattr("pcim.attribution.explain.explain_each", lambda *_: pytest.fail("explained again"))
    again = attribute_plate(plate, classifier, **asked)
    assert torch.equal(again, maps)
    kept = open_plate(out)
    assert kept.wells == ["A01", "A02"]
    stitched = kept.field("A02").isel(layer=0)[:, :20, :48]  # where no other tile overlaps
    np.testing.assert_allclose(stitched, maps.channel_maps[4][:, :20], rtol=1e-6)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "p_pcim.parquet"), again.ledger, check_dtype=False)


def test_targets_are_the_call_or_classes_a_map_each(plate: Plate, classifier: Classifier) -> None:
    both = attribute_plate(plate, classifier, wells=["A01"], target=["call", "plain"], settings=SETTINGS)
    assert list(both.rows["layer"]) == ["call", "plain"] * 4
    assert set(both.rows["target"][1::2]) == {"plain"}


def test_a_view_that_cannot_be_explained_is_a_row_with_its_reason(
    plate: Plate, classifier: Classifier, chunk: Chunk, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(chunk.inputs / "p.zarr", tmp_path / "p.zarr")
    for file in (tmp_path / "p.zarr/A/1/0/0/c").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    maps = attribute_plate(open_plate(tmp_path / "p.zarr"), classifier, settings=SETTINGS)
    assert list(maps.ledger["status"]) == ["skipped"] * 4 + ["ok"] * 4
    assert maps.ledger["reason"][0].startswith("truncated: ")
    assert list(maps.rows["well"]) == ["A02"] * 4
    none = attribute_plate(open_plate(tmp_path / "p.zarr"), classifier, wells=["A01"], settings=SETTINGS)
    assert none.shape == (0, 1, 48, 48)


def test_all_faults_are_told_at_once(plate: Plate, classifier: Classifier, tmp_path: Path, chunk: Chunk) -> None:
    wrong = SETTINGS.model_copy(update={"select": Select(where={"split": ["test"]})})
    with pytest.raises(ValueError, match=r"target 'spots' \(did you mean 'spot'\?\).*crops: given if.*select\.where"):
        attribute_plate(plate, classifier, target="spots", crops=Crops(label="spots"), settings=wrong)
    with pytest.raises(ValueError, match="methods"):
        attribute_plate(plate, classifier, method="magic")
    with pytest.raises(KeyError, match="no well B01"):
        attribute_plate(plate, classifier, wells=["B1"])
    with pytest.raises(ValueError, match="in the source plate"):
        attribute_plate(plate, classifier, out=chunk.inputs / "p.zarr/maps.zarr")
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="exists and is no plate of maps"):
        attribute_plate(plate, classifier, out=tmp_path / "mine")
    raw = open_plate(vendor_exports.imagexpress(tmp_path / "raw"), format="imagexpress", z=1)
    with pytest.raises(ValueError, match=r"an export \(imagexpress\).*open results/\{campaign\}/ingest/raw/plate\.zarr"):
        attribute_plate(raw, classifier)


def test_scores_of_a_plates_maps_are_those_of_the_workflow(chunk: Chunk, plate: Plate, classifier: Classifier, maps: Maps) -> None:
    edge = attribute_plate(plate, classifier, method="edge", settings=SETTINGS)
    found = evaluate({"pcim": maps, "edge": edge}, plate, classifier, objects="spots", settings=SCORED)
    named = [*KEY_COLUMNS, "method", "metric", "substitute"]
    known = pd.read_parquet(chunk.table("scores")).set_index(named)[["seen", "value", "chance"]]
    known = known[~known.index.get_level_values("method").isin(["other_view"])]
    mine = found.set_index(named)[["seen", "value", "chance"]]
    assert set(METHODS) < set(found["method"])
    pd.testing.assert_frame_equal(mine.sort_index(), known.sort_index(), rtol=1e-5, atol=1e-6)
    assert (found["target"] == found.merge(maps.ledger, on=list(KEY_COLUMNS))["target_y"]).all()


def test_the_revision_is_the_workflows(maps: Maps) -> None:
    assert set(maps.ledger["revision"]) == {REVISIONS["attribute"]}


@pytest.mark.parametrize("over", ["field", "well", "plate"])
def test_percentiles_are_counted_over_what_the_contract_says_whatever_is_asked(over: str, plate: Plate, tmp_path: Path) -> None:
    contract = {"channels": ["DNA", "Reporter"], "view": "tile", "size": [48, 48], "dtype": "uint16"}
    scaled = contract | {"mean": [200.0, 200.0], "std": [100.0, 100.0], "percentiles": {"over": over}}
    classifier = load_classifier(write_model(tmp_path, input=scaled), ["planted_campaign"], "cpu")
    both = attribute_plate(plate, classifier, method="edge", settings=SETTINGS)
    alone = attribute_plate(plate, classifier, wells=["A02"], method="edge", settings=SETTINGS)
    assert torch.equal(alone.images, both.images[4:])
    ends = [np.percentile(plate.field(well), [1, 99], axis=(1, 2), method="inverted_cdf").astype(float) for well in plate.wells]
    if over != "plate":  # one field a well
        low, high = ends[1][:, :, None, None]
        seen = np.clip((plate.field("A02")[:, :48, :48].values - low) / (high - low), 0, 1)
        np.testing.assert_allclose(alone.images[0], (seen - 200) / 100, rtol=1e-6)
    assert torch.equal(alone, both[4:])


def test_a_classifier_of_crops_is_shown_the_objects_of_a_label(plate: Plate, tmp_path: Path) -> None:
    contract = {"channels": ["DNA", "Reporter"], "view": "object", "size": [16, 16], "dtype": "uint16"}
    crops = contract | {"mean": [200.0, 200.0], "std": [100.0, 100.0]}
    path = write_model(tmp_path, input=crops)
    stored = load_file(tmp_path / "test.safetensors")
    images = stored["images"][:, :, :16, :16].contiguous()
    network = knowing_detector()
    with torch.no_grad():
        save_file({"images": images, "logits": network((images - 200) / 100)}, tmp_path / "test.safetensors")
    classifier = load_classifier(path, ["planted_campaign"], "cpu")
    maps = attribute_plate(plate, classifier, crops=Crops(label="spots"), settings=SETTINGS)
    assert list(maps.ledger["view"]) == ["o1", "o1"]
    assert maps.shape == (2, 1, 16, 16)
    centre = plate.field("A01")[:, 12:28, 22:38].values  # the object's middle is (20, 30)
    np.testing.assert_allclose(maps.images[0], (centre - 200.0) / 100, rtol=1e-6)
    scores = evaluate(maps, plate, classifier, objects="spots", settings=SCORED)
    assert np.isfinite(scores.loc[scores["metric"] == "relevance_mass_accuracy", "value"]).all()
