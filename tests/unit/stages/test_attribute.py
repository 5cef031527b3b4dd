"""The stage: what is stored, what is redone, what becomes a row with a reason."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from chunk_jobs import files_of
from planted_campaign import SIZE, spot_field, write_model, write_plate

from pcim import PCIM
from pcim.attribution import explain as dispatch
from pcim.attribution.explain import Attribution, classifier_for, explain_each
from pcim.attribution.maps import top_mask
from pcim.attribution.peers import Peer, backgrounds_given
from pcim.classifiers.classifier import Classifier, load_classifier, pick_device
from pcim.config.classifier import Select
from pcim.config.methods import METHODS, PcimSettings, PeerSettings
from pcim.config.stages import AttributeSettings, IngestSettings
from pcim.core.identity import ViewKey
from pcim.core.plate_source import Source
from pcim.core.tiling import Box
from pcim.plates import ngff_json
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.field_image import FieldImage
from pcim.plates.inspect_field import inspect_field
from pcim.runtime.journal import Journal
from pcim.stages.attribute import job as attribute_job
from pcim.stages.attribute.job import LEDGER_COLUMNS, explain, select_views
from pcim.stages.attribute.spool import Spool
from pcim.stages.attribute.tasks import AttributeJob
from pcim.stages.chunk_job import ChunkJob, check_failures
from pcim.stages.classify import classify_views
from pcim.views.intensity import FieldRecords
from pcim.views.reader import read_views
from pcim.views.view import views_of_wells

FEW = PeerSettings(ig_steps=5, shap_samples=2, smooth_samples=2, segment_samples=16, rise_masks=20, mask_steps=5)
SETTINGS = AttributeSettings(batch_size=4, pcim=PcimSettings(steps=5), peers=FEW, levels=1)


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    """Two wells of one ragged field each, classified; four tiles a field."""
    rng = np.random.default_rng(2)
    fields = {("A", str(c), "0"): spot_field(rng, (70, 96), (20, 30) if c == 2 else None) for c in (1, 2)}
    plate = write_plate(tmp_path / "p.zarr", fields)
    classifier = load_classifier(write_model(tmp_path / "model"), ["planted_campaign"], pick_device(0))
    rows, source = [], Source(str(plate))
    for row, column, field in fields:
        key = {"plate": "p", "row": row, "column": column, "well": f"A0{column}", "field": field}
        place = {"path": f"{row}/{column}/{field}", "treatment": "t", "control_type": ""}
        rows.append(key | place | inspect_field(source, place["path"], IngestSettings()).columns)
    table = pd.DataFrame(rows)
    views = views_of_wells(table, ["A01", "A02"], classifier.contract.input, [])
    readings = read_views(source, views, classifier.contract.input, 1, FieldRecords.from_tables(table))
    calls = classify_views(classifier, views, readings, 4)
    wells = ["A01", "A02"]
    chunk = ChunkJob(source, wells, classifier, ["planted_campaign"], [], 0.0, gpus=0, workers=1, revision=1)
    job = AttributeJob(chunk, "pcim", SETTINGS, AttributionPlate(tmp_path / "maps.zarr"))
    return {
        "job": job,
        "views": views,
        "fields": table,
        "calls": calls,
        "journal": Journal(tmp_path / "ledger.parquet"),
        "classifier": classifier,
    }


def run(world: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    w = world | changes
    spool = w.get("spool") or Spool(w["journal"].path)
    return explain(w["job"], w["views"], w["fields"], w["calls"], w["journal"], spool, FieldRecords.from_tables(w["fields"]))


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"deep_lift", "guided_backprop"}))
def test_every_method_stores_maps_of_the_views_mean_and_leaves_the_classifier_frozen(world: dict[str, Any], method: str) -> None:
    rows = run(world, job=replace(world["job"], method=method))
    assert [row["status"] for row in rows] == ["ok"] * 8
    maps = world["job"].maps.read("A/2/0")
    assert np.isfinite(maps).all()
    assert (maps >= 0).all()
    whole_tile = world["job"].maps.read_views("A/2/0", {"0_0": Box(0, 0, 48, 48)})["0_0"].sum(0)
    assert whole_tile.mean() == pytest.approx(1, rel=1e-4) or (whole_tile == 0).all()
    shares = np.array(rows[0]["channel_share"])
    assert np.isnan(shares).all() or shares.sum() == pytest.approx(1)
    assert not any(p.requires_grad or p.grad is not None for p in world["classifier"].network.parameters())


@pytest.mark.parametrize(("view", "chosen", "kind"), [("tile", "auto", "mean"), ("field", "auto", "blur"), ("tile", "blur", "blur")])
def test_a_peer_in_the_stage_is_the_peer_of_the_settings(world: dict[str, Any], view: Any, chosen: Any, kind: Any) -> None:
    """A map made with default settings, or over another background, would look just as good."""
    tiles, target = world["classifier"], torch.tensor([1])
    contract = tiles.contract.model_copy(update={"input": tiles.contract.input.model_copy(update={"view": view})})
    classifier = Classifier(tiles.network, contract, tiles.device)
    images = classifier.normalise(spot_field(np.random.default_rng(0), SIZE, (20, 30))[np.newaxis])
    changed = PeerSettings(ig_steps=3, occlusion_px=12)
    settings = AttributeSettings(peers=changed, background=chosen, blur=0.1, batch_size=2)
    for method in ("integrated_gradients", "occlusion"):
        [(_, made)] = explain_each(classifier, method, images, target, [1], settings)
        own = {"background": kind, "blur": 0.1, "settings": changed, "batch_size": 2}
        other = {"mean": "blur", "blur": "mean"}[kind]
        assert torch.equal(made.channel_maps, _by_peer(method, classifier, images, target, **own))
        for change in ({"settings": PeerSettings()}, {"background": other}):
            assert not torch.equal(made.channel_maps, _by_peer(method, classifier, images, target, **own | change))


def _by_peer(method: Any, classifier: Any, images: torch.Tensor, target: torch.Tensor, **choices: Any) -> torch.Tensor:
    return Peer(method, classifier, **choices).channel_maps(images, target, keys=[1])


def test_every_row_of_the_ledger_has_every_column_whatever_became_of_its_view(world: dict[str, Any]) -> None:
    """What a row lacked would be NaN in the table, and nothing would say so."""
    broken = [replace(world["views"][0], status="skipped", reason="saturated"), *world["views"][1:]]
    for method in ("pcim", "random"):
        rows = run(world, job=replace(world["job"], method=method), views=broken)
        assert [set(row) for row in rows] == [set(LEDGER_COLUMNS)] * 8
        assert [(row["device"], row["batch_size"]) for row in rows[1:]] == [("cpu", 4)] * 7
        assert (rows[0]["status"], rows[0]["device"], rows[0]["digest"]) == ("skipped", "", "")


@pytest.mark.parametrize(("method", "names"), [
    ("pcim", ["pcim DNA", "pcim Reporter"]), ("random", ["random all channels"]), ("occlusion", ["occlusion all channels"]),
])  # fmt: skip
def test_a_plate_of_maps_names_its_channels_by_method_and_what_they_explain(world: dict[str, Any], method: str, names: list[str]) -> None:
    run(world, job=replace(world["job"], method=method))
    assert FieldImage.open(Source(str(world["job"].maps.path)), "A/2/0").channels == names


def test_a_crop_that_moved_is_another_map_though_it_has_the_same_name(world: dict[str, Any]) -> None:
    """An object keeps its number when the segmentation moves it; a tile's name says where it lies."""
    view, job, tiles = world["views"][0], world["job"], world["classifier"]
    moved = replace(view, box=replace(view.box, top=view.box.top + 1))
    crops = tiles.contract.model_copy(update={"input": tiles.contract.input.model_copy(update={"view": "object"})})
    of_crops = replace(job, chunk=replace(job.chunk, model=Classifier(tiles.network, crops, tiles.device)))
    assert of_crops.fingerprint("d", view, "spot") != of_crops.fingerprint("d", moved, "spot")
    assert job.fingerprint("d", view, "spot") == job.fingerprint("d", moved, "spot")


def test_finished_fields_are_not_explained_again_and_changed_settings_are(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(world)
    explained: list[int] = []

    def counting(classifier: Any, method: str, images: torch.Tensor, *rest: Any) -> Any:
        explained.append(len(images))
        return explain_each(classifier, method, images, *rest)

    monkeypatch.setattr(dispatch, "explain_each", counting)
    assert run(world) == first
    assert explained == []
    run(world, job=replace(world["job"], settings=SETTINGS.model_copy(update={"pcim": PcimSettings(steps=6)})))
    assert sum(explained) == 8
    run(world, job=replace(world["job"], chunk=replace(world["job"].chunk, revision=2)))
    assert sum(explained) == 16


def test_a_fields_metadata_is_read_once_a_job_also_where_its_maps_are_all_in_the_spool(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server each reading is a request."""
    source, read, made = world["job"].chunk.store.place, Counter[str](), list[Any]()
    read_bytes, explain_views = ngff_json.read_bytes, attribute_job._explain_views

    def counting(file: Any, most: int) -> bytes:
        if file.is_relative_to(source):
            read[str(file.relative_to(source))] += 1
        return read_bytes(file, most)

    def keeping(*given: Any) -> Any:
        for done in explain_views(*given):
            made.extend(done)
            yield done

    monkeypatch.setattr(ngff_json, "read_bytes", counting)
    monkeypatch.setattr(attribute_job, "_explain_views", keeping)
    first = run(world)
    images = {"A/1/0/zarr.json": 1, "A/2/0/zarr.json": 1}
    assert read == images | {"A/1/0/0/zarr.json": 1, "A/2/0/0/zarr.json": 1}

    read.clear()
    maps, spool = world["job"].maps.path, Spool(world["journal"].path)
    before = files_of(maps)
    shutil.rmtree(maps)
    for path in ("A/1/0", "A/2/0"):
        spool.add(path, [one for one in made if one[0].view.path == path])
    assert run(world, journal=Journal(maps.with_name("other.parquet")), spool=Spool(world["journal"].path)) == first
    assert read == images, "no array is opened, and each image is asked about once"
    assert files_of(maps) == before


def test_a_field_whose_map_was_lost_is_explained_again(world: dict[str, Any]) -> None:
    first = run(world)
    shutil.rmtree(world["job"].maps.path / "A/1/0")
    again = run(world)
    assert [row["digest"] for row in again] == [row["digest"] for row in first]
    assert world["job"].maps.read("A/1/0").shape == (2, 70, 96)


def test_views_explained_alone_shuffled_or_in_other_company_have_the_same_maps(world: dict[str, Any], tmp_path: Path) -> None:
    together = {row["well"] + row["view"]: row["digest"] for row in run(world)}
    one_well = [view for view in world["views"] if view.key.well == "A02"][::-1]
    job = replace(world["job"], maps=AttributionPlate(tmp_path / "other.zarr"))
    alone = run(world, job=job, views=one_well, journal=Journal(tmp_path / "other.parquet"))
    assert {row["well"] + row["view"]: row["digest"] for row in alone}.items() <= together.items()


def test_a_map_that_is_not_finite_and_a_field_that_cannot_be_read_are_rows_with_a_reason(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(classifier: Any, method: str, images: torch.Tensor, *rest: Any) -> Any:
        maps = torch.ones_like(images)
        maps[1] = torch.nan
        yield range(len(images)), Attribution(maps, {"steps": torch.zeros(len(images))}, [""] * len(images), 4)

    monkeypatch.setattr(dispatch, "explain_each", broken)
    (world["job"].chunk.store.place / "A/1/0/0/c/0/0/0").write_bytes(b"torn")
    rows = pd.DataFrame(run(world))
    torn = rows[rows["well"] == "A01"]
    assert set(torn["status"]) == {"failed"}
    assert torn["reason"].str.contains("cannot be decoded").all()
    other = rows[rows["well"] == "A02"]
    assert other["status"].tolist() == ["ok", "failed", "ok", "ok"]
    assert other["reason"].tolist()[1] == "the map is not finite"
    assert np.isnan(world["job"].maps.read("A/2/0")[:, :22, 48:]).all()


def test_too_many_failures_fail_the_job_with_the_commonest_reason() -> None:
    table = pd.DataFrame({"status": ["ok", "failed", "failed", "skipped"], "reason": ["", "torn", "torn", "empty"]})
    check_failures(table, 0.7, "chunk")
    with pytest.raises(RuntimeError, match="chunk: 2 of 3 views failed, allowed are 50%: 2 x torn"):
        check_failures(table, 0.5, "chunk")


def test_selection_keeps_views_with_a_fault_so_that_they_are_told(world: dict[str, Any]) -> None:
    calls = world["calls"].copy()
    calls.loc[0, ["status", "reason"]] = ["failed", "torn"]
    settings = SETTINGS.model_copy(update={"select": Select(per_well=1)})
    chosen = select_views(world["fields"], calls, world["views"], settings)
    assert [view.status for view in chosen].count("ok") == 2
    assert [(view.status, view.reason) for view in chosen if view.status != "ok"] == [("failed", "torn")]
    assert isinstance(chosen[0].key, ViewKey)


def test_the_label_marks_the_highest_pixels_and_never_zeros() -> None:
    values = np.arange(100, dtype=np.float32).reshape(10, 10)
    assert top_mask(values, 5).sum() == 5
    assert top_mask(np.zeros((10, 10), np.float32), 5).sum() == 0
    assert top_mask(np.where(values > 98, values, 0), 5).sum() == 1
    assert SIZE == (48, 48)


def test_the_ledger_says_how_the_optimisation_of_each_view_ended(world: dict[str, Any]) -> None:
    rows = run(world, job=replace(world["job"], settings=SETTINGS.model_copy(update={"pcim": PcimSettings()})))
    for row in rows:
        assert row["stop"] in {"settled", "step limit"}
        assert 1 <= row["steps"] <= 20
        assert row["loss_last"] < row["loss_first"]
        assert all(0 <= row[name] <= 1 for name in ("p_image", "p_keep", "p_drop", "p_background", "p_drop_background"))


def test_a_method_that_a_network_would_fool_in_silence_fails_the_job_with_the_way_out(world: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="deep_lift: 1 of the network's 1 rectifications are functions"):
        run(world, job=replace(world["job"], method="deep_lift"))


def test_a_randomised_model_is_asked_in_place_of_the_classifier_and_gives_other_maps(world: dict[str, Any]) -> None:
    maps = {}
    for method in ("pcim", "randomised_model"):
        run(world, job=replace(world["job"], method=method))
        maps[method] = world["job"].maps.read("A/2/0").sum(0)
    assert np.corrcoef(maps["pcim"].ravel(), maps["randomised_model"].ravel())[0, 1] < 0.9
    classifier = world["classifier"]
    assert classifier_for("pcim", classifier) is classifier
    shuffled = dict(classifier_for("randomised_model", classifier).network.named_parameters())
    for name, value in classifier.network.named_parameters():
        assert torch.equal(shuffled[name].flatten().sort().values, value.flatten().sort().values)


def test_what_a_method_was_given_as_background_is_known(world: dict[str, Any]) -> None:
    contract = world["classifier"].contract.input
    assert backgrounds_given("pcim", "auto", contract) == {"mean", "blur"}
    assert backgrounds_given("pcim", "blur", contract) == {"blur"}
    assert backgrounds_given("integrated_gradients", "auto", contract) == {"mean"}
    assert backgrounds_given("grad_cam", "auto", contract) == set()


def test_the_literal_preset_sinks_into_black_as_the_contract_says_it_is(world: dict[str, Any]) -> None:
    """Intensity 0 is not 0 once it is normalised; without a contract nothing says where it lies."""
    classifier = world["classifier"]
    images = classifier.normalise(spot_field(np.random.default_rng(0), SIZE, (20, 30))[np.newaxis])
    dark = classifier.normalise(np.zeros((1, 2, *SIZE), np.uint16))
    for known, background in ((classifier, dark), (classifier.network, torch.zeros_like(images))):
        learned = PCIM(known, preset="literal").learn(images, torch.tensor([1]))
        expected = classifier.network(background).softmax(1)[0, 1].item()
        assert learned.p_background.item() == pytest.approx(expected, rel=1e-4)


def test_settings_of_another_method_are_no_part_of_what_a_map_depends_on() -> None:
    one, other = SETTINGS, SETTINGS.model_copy(update={"peers": FEW.model_copy(update={"ig_steps": 9})})
    for method in METHODS:
        assert (one.of_method(method) == other.of_method(method)) == (method != "integrated_gradients")
        known = AttributeSettings.model_validate(one.of_method(method))  # what a job is given
        assert known.of_method(method) == one.of_method(method)
    longer = SETTINGS.model_copy(update={"pcim": PcimSettings(steps=6)})
    assert [m for m in METHODS if one.of_method(m) != longer.of_method(m)] == ["pcim", "randomised_model"]


def test_several_targets_are_layers_each_as_if_explained_alone(world: dict[str, Any], tmp_path: Path) -> None:
    def explained(name: str, targets: list[str], **changes: Any) -> tuple[pd.DataFrame, AttributionPlate]:
        settings = world["job"].settings.model_copy(update={"targets": targets} | changes)
        job = replace(world["job"], settings=settings, maps=AttributionPlate(tmp_path / f"{name}.zarr"))
        return pd.DataFrame(run(world, job=job, journal=Journal(tmp_path / f"{name}.parquet"))), job.maps

    targets = ["plain", "call", "spot"]
    rows, maps = explained("all", targets)
    assert rows["layer"].tolist() == targets * 8
    assert rows.loc[rows["scored"], "layer"].unique().tolist() == ["plain"]
    boxes = {view.key.view: view.box for view in world["views"] if view.path == "A/2/0"}
    for layer in targets:
        alone, own = explained(layer, [layer])
        same = rows[rows["layer"] == layer].reset_index(drop=True)
        pd.testing.assert_frame_equal(same.drop(columns=["seconds", "scored"]), alone.drop(columns=["seconds", "scored"]), check_exact=True)
        np.testing.assert_array_equal(maps.read("A/2/0", layer=layer), own.read("A/2/0"))
        np.testing.assert_array_equal(maps.read("A/2/0", "weights", layer=layer), own.read("A/2/0", "weights"))
        kept, single = maps.read_views("A/2/0", boxes, layer=layer), own.read_views("A/2/0", boxes)
        assert all((kept[name] == single[name]).all() for name in boxes)
        bit = 1 << targets.index(layer)
        marks = [FieldImage.open(Source(str(plate.path)), "A/2/0").read_label("top") for plate in (maps, own)]
        np.testing.assert_array_equal((marks[0] & bit) > 0, marks[1] == 1)
    np.testing.assert_array_equal(maps.read("A/2/0"), maps.read("A/2/0", layer="plain"))
    with pytest.raises(KeyError, match=r"has no layer 'dead'; it has \['plain', 'call', 'spot'\]"):
        maps.read("A/2/0", layer="dead")


def test_a_class_in_two_layers_is_explained_once_and_a_lost_layer_leaves_the_others(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def of_spot(classifier: Any, method: str, images: torch.Tensor, targets: torch.Tensor, *rest: Any) -> Any:
        asked.append(targets.tolist())
        maps = torch.where(targets[:, None, None, None] == 1, torch.ones_like(images), torch.nan)
        yield range(len(images)), Attribution(maps, {"steps": torch.zeros(len(images))}, [""] * len(images), 4)

    monkeypatch.setattr(dispatch, "explain_each", of_spot)
    settings = world["job"].settings.model_copy(update={"targets": ["call", "plain", "spot"]})
    rows = pd.DataFrame(run(world, job=replace(world["job"], settings=settings)))
    assert sorted(target for batch in asked for target in batch) == [0] * 8 + [1] * 8
    assert set(rows.loc[rows["target"] == "spot", "status"]) == {"ok"}
    assert set(rows.loc[rows["target"] == "plain", "reason"]) == {"the map is not finite"}
    maps = world["job"].maps
    assert np.isnan(maps.read("A/2/0", layer="plain")).all()
    assert np.isfinite(maps.read("A/2/0", layer="spot")).all()
    batches = len(asked)
    again = pd.DataFrame(run(world, job=replace(world["job"], settings=settings)))
    pd.testing.assert_frame_equal(again, rows)
    assert len(asked) == batches, "finished fields were explained again"


def test_the_classifier_is_not_loaded_where_nothing_is_left_to_explain(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(world)
    monkeypatch.setattr(ChunkJob, "load_classifier", lambda _: pytest.fail("the classifier was loaded"))
    assert run(world) == first
