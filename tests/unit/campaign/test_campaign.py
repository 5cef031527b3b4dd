"""Every fault of a campaign's inputs is named before any work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from planted_campaign import write_campaign, write_model, write_plate

from pcim.campaign.campaign import Campaign
from pcim.campaign.input_tables import CampaignError
from pcim.campaign.layout import plan_file, results_of
from pcim.campaign.rule_inputs import RuleInputs
from pcim.plates.ngff import NgffError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """A campaign without faults."""
    return write_campaign(tmp_path, plates=2)


def faults(values: dict[str, Any], **how: Any) -> str:
    with pytest.raises(CampaignError) as error:
        Campaign.load(values, **how)
    return str(error.value)


def test_a_campaign_without_faults_is_read(values: dict[str, Any]) -> None:
    campaign = Campaign.load(values)
    assert list(campaign.plates) == ["plate1", "plate2"]
    assert campaign.chunks["plate1"] == {
        "A01-A04": ["A01", "A02", "A03", "A04"],
        "B01-B04": ["B01", "B02", "B03", "B04"],
    }
    assert campaign.plates["plate1"].wells["A01"]["treatment"] == "untreated"  # an empty treatment keeps its well


def test_a_misspelt_key_is_named_with_the_nearest_right_one(values: dict[str, Any]) -> None:
    values["attribute"]["pcim"]["stpes"] = 3
    values["evalaute"] = {}
    text = faults(values)
    assert text.startswith("2 faults in the campaign's inputs; nothing was started:")
    assert "attribute.pcim.stpes: unknown key (did you mean 'steps'?)" in text
    assert "evalaute: unknown key (did you mean 'evaluate'?)" in text


def test_a_misspelt_key_does_not_hide_a_missing_plate(values: dict[str, Any], tmp_path: Path) -> None:
    values["attribute"]["levles"] = 3
    values["attribute"]["methods"] = ["pcim", "pcimm"]
    (tmp_path / "plate2.zarr").rename(tmp_path / "elsewhere.zarr")
    text = faults(values)
    assert text.startswith("3 faults")
    assert "plate2.zarr: no such folder" in text


def test_a_value_out_of_bounds_is_named_with_what_is_allowed(values: dict[str, Any]) -> None:
    values["attribute"]["targets"] = ["call", "spott", "call"]
    assert "attribute.targets: ['call'] is listed twice, got ['call', 'spott', 'call']" in faults(values)
    values["attribute"]["targets"] = ["call", "spott"]
    assert "attribute.targets: 'spott' (did you mean 'spot'?): expected one of ['call', 'plain', 'spot']" in faults(values)
    values["attribute"]["targets"] = ["call"]
    values["attribute"]["top_percent"] = 120
    assert "attribute.top_percent: Input should be less than 100, got 120" in faults(values)
    values["attribute"] = {"methods": ["pcim", "grad-cam"], "background": "men"}
    text = faults(values)
    assert "attribute.methods.1: expected one of pcim, " in text
    assert "got 'grad-cam' (did you mean 'grad_cam'?)" in text
    assert "got 'men' (did you mean 'mean'?)" in text


def test_every_fault_is_in_one_message(values: dict[str, Any], tmp_path: Path) -> None:
    entry = values["classifiers"]["spots"]
    entry["plates"] += ["plate3"]
    entry["truth"] = "lable"
    (tmp_path / "plate1.csv").write_text("well_position,label\nA01,plain\nC12,dotted\nQ,\n")
    (tmp_path / "plate2.zarr" / ".zattrs").write_text("{}")
    text = faults(values)
    assert "classifiers.spots.plates: 'plate3' is not in" in text
    assert "did you mean 'plate" in text
    assert "column 'lable' is not in" in text
    assert "plate1.csv:4: well position 'Q'" in text
    assert "plate1.csv lacks wells of the plate: A02, A03, A04, B01, B02, B03, B04" in text
    assert "plate1.csv names wells that the plate has not: C12" in text
    assert "plate2.zarr: a zarr group, but not an OME-Zarr plate" in text


def test_a_plate_map_cannot_take_a_name_that_pcim_gives(values: dict[str, Any], tmp_path: Path) -> None:
    layout = tmp_path / "plate1.csv"
    head, first, *rows = layout.read_text().splitlines()
    layout.write_text("\n".join([f"{head},dtype", f"{first},x", *(f"{row},x" for row in rows)]) + "\n")
    text = faults(values)
    assert "columns ['dtype'] are names that PCIM gives" in text


def test_a_missing_plate_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "plate1.zarr").rename(tmp_path / "elsewhere.zarr")
    assert "plate1.zarr: no such folder" in faults(values)


def test_a_class_that_the_classifier_does_not_know_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "plate1.csv").write_text((tmp_path / "plate1.csv").read_text().replace(",spot", ",dot"))
    assert "classifiers.spots.truth: 'dot' in" in faults(values)


def test_channels_that_are_not_on_the_plate_are_named_with_those_that_are(values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model" / "model.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["input"]["channels"] = ["DNA", "Actin"]
    path.write_text(yaml.safe_dump(contract))
    text = faults(values)
    assert "channels ['Actin'] are not on plate 'plate1', which has ['DNA', 'Reporter']" in text
    assert "'plate2'" in text


def test_a_region_cannot_take_a_name_that_every_classifier_has(values: dict[str, Any]) -> None:
    regions = values["classifiers"]["spots"]["regions"]
    regions |= {"frame": regions["spots"], "background": regions["spots"]}
    assert "['background', 'frame'] are regions that every classifier has" in faults(values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dtype": "uint8"}, "pixels are uint16, the classifier was trained on uint8"),
        (
            {"size": [200, 200]},
            "the field is 70 x 96 px, the view 200 x 200 px; in model.yaml view: field with resize: true resizes it as a whole",
        ),
        (
            {"view": "field"},
            "the field is 70 x 96 px, the view 48 x 48 px; in model.yaml view: tile cuts it into views",
        ),
    ],
)
def test_a_plate_of_other_pixels_than_the_classifier_was_trained_on_is_named(
    values: dict[str, Any], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    write_model(tmp_path / "model", input=model_input(tmp_path) | change)
    assert f"classifiers.spots: plate 'plate1': {told}" in faults(values)


def test_a_plate_whose_first_field_alone_is_odd_is_not_refused(values: dict[str, Any], tmp_path: Path) -> None:
    odd = np.zeros((2, 20, 20), np.uint8)
    usual = np.zeros((2, 70, 96), np.uint16)
    fields = {(row, str(column), "0"): usual for row in "AB" for column in range(1, 5)} | {("A", "1", "0"): odd}
    labels = {key: {"spots": pixels[0]} for key, pixels in fields.items()}
    write_plate(tmp_path / "plate1.zarr", fields, labels=labels)
    assert Campaign.load(values).plans["plate1"].survey.shape == (20, 20)


def test_labels_that_are_not_on_the_plate_are_named(values: dict[str, Any]) -> None:
    values["classifiers"]["spots"]["regions"]["nuclei"] = {"label": "nuclei"}
    text = faults(values)
    assert "classifiers.spots.regions.nuclei.label: label 'nuclei' is not on plate 'plate1', which has ['spots']" in text


def test_a_contract_with_missing_weights_or_keys_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    write_model(tmp_path / "model", weights="../weights.safetensors")
    assert "weights: expected the name of a file beside model.yaml: at most 128 letters, digits, '_', '-' and '.', got '../w" in (
        faults(values)
    )
    write_model(tmp_path / "model", weights="lost.safetensors")
    assert "lost.safetensors: no such file (named in" in faults(values)


def test_a_well_that_does_not_lie_where_its_path_says_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "plate1.zarr" / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["ome"]["plate"]["wells"][1]["rowIndex"] = 1
    file.write_text(json.dumps(content))
    assert "well 'A/2' does not lie at row 1, column 1 of the plate" in faults(values)


def test_jobs_do_not_look_at_the_plates_again(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NgffError, match="no plan; a run writes it before its first job"):
        _ = Campaign.load(values, look_at_plates=False).plans["plate1"]
    Campaign.load(values).write_plans()
    (tmp_path / "plate1.zarr").rename(tmp_path / "elsewhere.zarr")
    (tmp_path / "plate2.csv").unlink()
    job = Campaign.load(values, look_at_plates=False)
    plan_file(results_of("planted"), "plate2").unlink()
    assert list(job.plans["plate1"].chunks) == ["A01-A04", "B01-B04"], "no plate map, and no plan but the one asked for"


@pytest.mark.parametrize("method", ["random", "occlusion"])
def test_a_method_does_not_depend_on_the_settings_of_another(values: dict[str, Any], method: str) -> None:
    class Wildcards:
        model = "spots"

    Wildcards.method = method  # type: ignore[attr-defined]
    before = RuleInputs(Campaign.load(values)).attribute_settings(Wildcards)
    values["attribute"]["pcim"]["steps"] = 77
    assert RuleInputs(Campaign.load(values)).attribute_settings(Wildcards) == before


def test_classifiers_that_see_the_same_views_of_a_plate_are_pairs_in_the_order_of_the_config(
    values: dict[str, Any], tmp_path: Path
) -> None:
    spots = values["classifiers"]["spots"]
    large = write_model(tmp_path / "large", input=model_input(tmp_path) | {"size": [64, 64]})
    values["classifiers"] |= {
        "again": spots | {"plates": ["plate2"]},
        "larger": spots | {"model": str(large)},
        "third": spots | {"plates": ["plate2", "plate1"]},
    }
    campaign = Campaign.load(values)
    assert campaign.pairs == [
        ("spots", "plate2", "again"),
        ("spots", "plate1", "third"),
        ("spots", "plate2", "third"),
        ("again", "plate2", "third"),
    ]
    assert RuleInputs(campaign).of_pairs("{campaign}/{model}/{plate}/{other}")({"campaign": "planted"})[0] == "planted/spots/plate2/again"


def model_input(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((folder / "model/model.yaml").read_text())["input"]
    return told
