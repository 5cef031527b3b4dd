"""Reproduce: what is made again is the same bytes; what is not the same is told, with what changed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
import zarr
from chunk_jobs import METHODS, Chunk, files_of
from model_forms import weights, write_own
from rich.console import Console
from safetensors.torch import save_file

from pcim.classifiers import classifier
from pcim.cli import output
from pcim.operations import map_differences, reproduce
from pcim.operations.map_differences import how_far
from pcim.operations.reproduce import Selection
from pcim.plates.attribution_plate import AttributionPlate
from pcim.runtime.provenance import read_record
from pcim.stages.chunk_job import ChunkJob

ROWS = {"call": 8, "map": 8 * len(METHODS)}


class Laid(Chunk):
    """A chunk whose results lie as a campaign's do."""

    def table(self, stage: str) -> Path:
        place = {"calls": "classify/spots", "scores": "evaluate/spots", "curves": "curves/spots"}
        return self.results / place.get(stage, f"attribute/spots/{stage}") / "p/A01-A02.parquet"

    def maps(self, method: str) -> Path:
        return self.results / "maps/spots" / f"p_{method}.zarr"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Laid:
    folder = tmp_path_factory.mktemp("reproduce")
    inputs = Chunk.make(folder).inputs
    laid = Laid(inputs, folder / "results/planted")
    laid.classify()
    for method in METHODS:
        laid.attribute(method)
    return laid


class Smooth(Laid):
    """Its classifier takes no maximum and has a slope everywhere: rounding moves its maps by no more than rounding."""

    @property
    def job(self) -> ChunkJob:
        return replace(super().job, trusted_packages=["model_forms"])


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Smooth:
    folder = tmp_path_factory.mktemp("smooth")
    inputs = Chunk.make(folder).inputs
    save_file(weights(), inputs / "model/net.safetensors")
    write_own(inputs / "model", "state_dict", "net.safetensors", arguments={"beta": 8.0})
    laid = Smooth(inputs, folder / "results/planted")
    laid.classify()
    for method in METHODS:
        laid.attribute(method)
    return laid


@pytest.fixture
def mine(made: Laid, tmp_path: Path) -> Laid:
    """The same campaign, to be spoilt: tables say where its inputs are, which stay shared."""
    shutil.copytree(made.results, tmp_path / "results/planted")
    return Laid(made.inputs, tmp_path / "results/planted")


def made_of_a_field(laid: Laid) -> dict[str, Any]:
    return AttributionPlate(laid.maps("pcim")).provenance("A/1/0")


make_again = partial(reproduce.reproduce, trusted=["planted_campaign", "model_forms"])


def states(found: reproduce.Reproduction) -> dict[str, int]:
    return pd.Series([one.state for one in found.compared]).value_counts().to_dict()


def test_all_of_a_campaign_is_made_again_byte_for_byte_and_nothing_of_it_is_touched(made: Laid, tmp_path: Path) -> None:
    before = files_of(made.results)
    found = make_again(made.results, Selection(), tmp_path / "kept")
    assert found.state == "equal"
    assert {kind: sum(one.kind == kind for one in found.compared) for kind in ROWS} == ROWS
    assert [change.what for change in found.changes] == ["revision of attribute"], "the job was told 1"
    assert files_of(made.results) == before
    for method in METHODS:
        again = tmp_path / "kept/maps/spots" / f"p_{method}.zarr"
        assert files_of(again) == files_of(made.maps(method)), "metadata too: it names no time, no host, no path"


def test_no_record_of_a_map_names_a_time_a_host_or_a_path(made: Laid) -> None:
    told = made_of_a_field(made)
    assert {"software", "code", "numerics", "seed", "settings", "pixels", "model_sha256", "revision"} <= told.keys()
    assert not {"job", "store", "seconds", "device_name", "host"} & told.keys()
    assert "/" not in str({name: value for name, value in told.items() if name not in {"seed", "source_field", "fingerprints"}})


def test_one_well_by_one_method_is_the_same_as_in_its_chunk(made: Laid, capsys: pytest.CaptureFixture[str]) -> None:
    found = make_again(made.results, Selection(well="A2", method="pcim"))
    assert found.state == "equal"
    assert {(one.kind, one.well) for one in found.compared} == {("call", "A02"), ("map", "A02")}
    assert len(found.compared) == 2 * 4
    told = capsys.readouterr().err
    assert "reproduce: 100%" in told
    assert "\r" not in told, "lines where it is no terminal"
    found.compared = found.compared[:1]
    output.show_reproduction(Console(width=1000), found)
    assert "1 call equal" in capsys.readouterr().out


def test_a_map_that_is_not_what_was_made_is_named_with_its_difference(mine: Laid) -> None:
    array = zarr.open_array(mine.maps("edge") / "A/2/0/0", mode="r+")
    stored = np.asarray(array[:])
    array[:, :48, :48] = stored[:, :48, :48][:, ::-1]
    found = make_again(mine.results, Selection(method="edge"))
    assert found.state == "different"
    (spoilt, *_) = bad = [one for one in found.compared if one.state != "equal"]
    assert {one.well for one in bad} == {"A02"}
    assert spoilt.pearson < map_differences.PEARSON
    assert spoilt.largest > 0
    assert len(bad) < 4, "the other views of the field are what they were"


def test_numbers_that_move_within_the_tolerance_are_close_not_equal(smooth: Smooth, monkeypatch: pytest.MonkeyPatch) -> None:
    logits_of = reproduce.ChunkJob.load_classifier

    def other(job: Any) -> Any:
        classifier = logits_of(job)
        with torch.no_grad():
            classifier.network[4].weight.mul_(1 + 1e-6)
        return classifier

    monkeypatch.setattr(reproduce.ChunkJob, "load_classifier", other)
    found = make_again(smooth.results, Selection(well="A01", method="pcim"))
    assert found.state == "close"
    assert 0 < max(one.largest for one in found.compared if one.kind == "call") <= map_differences.LOGITS


def test_other_arithmetic_is_told_and_maps_of_a_smooth_network_stay_the_same_but_for_rounding(
    smooth: Smooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that takes a hard maximum says nothing here: where two places are level, another one wins."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    found = make_again(smooth.results, Selection())
    assert {one.state for one in found.compared} <= {"equal", "close"}
    learnt = [one for one in found.compared if one.method == "pcim"]
    assert len(learnt) == ROWS["call"]
    assert all(one.pearson > 1 - 1e-6 for one in learnt)
    assert ("onednn", "True", "False") in {(change.what, change.recorded, change.now) for change in found.changes}


def test_a_map_that_is_computed_in_one_go_is_held_to_more_than_one_that_is_learnt() -> None:
    row, other = {"view": "v", "digest": "a"}, {"digest": "b"}
    one = np.zeros((1, 8, 8))
    one[0, :4] = np.arange(1, 33).reshape(4, 8)
    two = one + np.where(np.arange(64).reshape(1, 8, 8) % 2, 4.0, -4.0)
    _, alike = how_far(one, two)
    assert map_differences.PEARSON_LEARNT["pcim"] < alike < map_differences.PEARSON
    states = {
        method: map_differences.maps_differ(row | {"method": method}, other, {"v": [one]}, {"v": [two]})["state"]
        for method in ("pcim", "randomised_model", "pcim_literal", "occlusion")
    }
    assert states == {
        "pcim": "close",
        "randomised_model": "close",
        "pcim_literal": "different",
        "occlusion": "different",
    }


def test_what_changed_since_is_told(made: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "processor", lambda: "another processor")
    monkeypatch.setitem(map_differences.REVISIONS, "attribute", 99)
    monkeypatch.setattr(map_differences, "code_digest", lambda: "other")
    found = make_again(made.results, Selection(well="A01", method="edge"))
    told = {change.what: change.now for change in found.changes}
    assert told["revision of attribute"] == "99"
    assert told["code of pcim"] == "other"
    assert told["device"] == "another processor"


def test_a_contract_that_was_edited_since_is_not_used_and_other_weights_are_refused(mine: Laid, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(mine.inputs, inputs)
    moved = Laid(inputs, tmp_path / "results/moved")
    moved.classify()
    contract = yaml.safe_load((inputs / "model/model.yaml").read_text())
    contract["input"]["mean"] = [0.0, 0.0]
    (inputs / "model/model.yaml").write_text(yaml.safe_dump(contract))
    assert make_again(moved.results, Selection(well="A01")).state == "equal"
    with (inputs / "model/weights.safetensors").open("ab") as handle:
        handle.write(b" ")
    with pytest.raises(ValueError, match="the campaign's classifier had"):
        make_again(moved.results, Selection(well="A01"))


def test_pixels_that_changed_cannot_be_told_from_maps_that_did(mine: Laid, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(mine.inputs, inputs)
    moved = Laid(inputs, tmp_path / "results/moved")
    moved.classify()
    array = zarr.open_array(inputs / "p.zarr/A/1/0/0", mode="r+")
    array[0, 0, 0] += 1
    found = make_again(moved.results, Selection())
    assert found.state == "unknown"
    assert states(found) == {"unknown": 4, "equal": 4}
    assert "changed after the plate was ingested" in found.compared[0].why


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (Selection(plate="q"), "plate 'q' has no finished table"),
        (Selection(model="spot"), "did you mean 'spots'"),
        (Selection(method="pcm"), "did you mean 'pcim'"),
        (Selection(well="H12"), "has well H12"),
        (Selection(well="12"), "well"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(made: Laid, chosen: Selection, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make_again(made.results, chosen)


def test_tables_that_say_nothing_of_themselves_and_folders_in_use_are_refused(mine: Laid, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").touch()
    with pytest.raises(ValueError, match="not empty"):
        make_again(mine.results, Selection(), tmp_path / "used")
    pd.read_parquet(mine.table("calls")).to_parquet(mine.table("calls"))
    with pytest.raises(ValueError, match="says nothing of how it was made"):
        make_again(mine.results, Selection())


@pytest.mark.parametrize("trusted", [[], ["pcim"], ["maker"]])
def test_code_is_not_run_because_a_record_trusted_it(made: Laid, trusted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Results may come from others; what they say of trust is not what the one who asks says."""
    monkeypatch.setattr(reproduce, "classify_chunk", lambda *_, **__: pytest.fail("it was run"))
    with pytest.raises(ValueError, match=r"classifier spots is code of planted_campaign.*give --trust planted_campaign"):
        reproduce.reproduce(made.results, Selection(well="A01"), trusted=trusted)


def test_two_runs_record_the_same_and_it_is_all_that_the_job_was_told(made: Laid, tmp_path: Path) -> None:
    again = Laid(made.inputs, made.results.parent / "again")
    again.classify()
    told = read_record(made.table("calls"))
    assert told == read_record(again.table("calls"))
    assert told["job"]["wells"] == ["A01", "A02"]
    assert told["classifier"]["sha256"]
    assert told["numerics"] == {"device": "cpu", "threads": 1, "onednn": True, "deterministic": False}
    assert told["software"]["torch"] == torch.__version__
    assert len(told["code"]) == 64


def test_a_distance_of_two_maps_by_hand() -> None:
    one, two = np.array([[[1.0, 2.0, 3.0, np.nan]]]), np.array([[[1.0, 2.0, 3.5, np.nan]]])
    largest, pearson = how_far(one, two)
    assert largest == 0.5
    assert pearson == pytest.approx(np.corrcoef([1, 2, 3, 0], [1, 2, 3.5, 0])[0, 1])
    assert how_far(np.zeros((1, 2, 2)), np.zeros((1, 2, 2))) == (0, 1)
