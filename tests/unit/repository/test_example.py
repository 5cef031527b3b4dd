"""The embedded example campaign: valid plates, complete plate maps, models that are what their model.yaml says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ome_zarr_models
import pandas as pd
import pytest
import torch
import zarr

from pcim.classifiers.classifier import load_classifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

EXAMPLE = Path(__file__).parents[3] / "example"
WELLS = {"bbbc013": 48, "bbbc010": 69}
ROWS = [("bbbc013", row) for row in "ABEF"] + [("bbbc010", row) for row in "ACD"]
MODELS = ["bbbc013_translocation", "bbbc010_rows", "bbbc010_columns"]
LABELS = {"bbbc013": ["nuclei"], "bbbc010": ["worms", "well"]}


def open_plate(name: str) -> zarr.Group:
    return zarr.open_group(EXAMPLE / "plates" / f"{name}.zarr", mode="r")


def wells_of(name: str) -> list[str]:
    """Return the paths of a plate's wells, "A/01"."""
    return [well["path"] for well in metadata(open_plate(name))["plate"]["wells"]]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """Give example/train.py as a module."""
    spec = importlib.util.spec_from_file_location("example_train", EXAMPLE / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "example_train", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


def metadata(group: zarr.Group) -> dict[str, Any]:
    """Return a group's NGFF metadata, which 0.5 keeps under `ome`."""
    attributes = group.attrs.asdict()
    return attributes.get("ome", attributes)


@pytest.mark.parametrize("name", WELLS)
def test_a_plate_is_valid_and_lists_the_wells_that_it_has(name: str) -> None:
    plate = open_plate(name)
    listed = wells_of(name)
    assert type(ome_zarr_models.open_ome_zarr(plate)).__name__ == "HCS"
    assert len(listed) == WELLS[name]
    assert sorted(listed) == sorted(f"{row}/{column}" for row, group in plate.groups() for column in group.group_keys())


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_every_well_image_and_label_is_valid(name: str, row: str) -> None:
    kinds = []
    for _, well in open_plate(name)[row].groups():
        paths = ["", "0", "0/labels", *(f"0/labels/{label}" for label in LABELS[name])]
        kinds.append([type(ome_zarr_models.open_ome_zarr(well[path] if path else well)).__name__ for path in paths])
    assert kinds == [["Well", "Image", "Labels", *("ImageLabel" for _ in LABELS[name])]] * len(kinds)
    assert kinds


@pytest.mark.parametrize(
    ("name", "ngff", "channels", "shape", "dtype"),
    [
        ("bbbc013", "0.5", ["GFP", "DNA"], (2, 320, 320), "uint8"),
        ("bbbc010", "0.4", ["Brightfield", "Sytox"], (2, 130, 174), "uint16"),
    ],
)
def test_images_have_named_channels_and_two_levels(name: str, ngff: str, channels: list[str], shape: tuple[int, ...], dtype: str) -> None:
    image = open_plate(name)["A/01/0"]
    attributes = metadata(image)
    assert [channel["label"] for channel in attributes["omero"]["channels"]] == channels
    assert ngff in (attributes.get("version"), attributes["multiscales"][0].get("version"))
    assert [image[level].shape for level in "01"] == [shape, (shape[0], shape[1] // 2, shape[2] // 2)]
    assert image["0"].dtype == dtype


def test_the_bright_field_is_the_bright_one_and_worms_are_darker_than_what_is_around_them() -> None:
    plate = open_plate("bbbc010")
    for well in ["A/01", "C/08", "D/20"]:
        brightfield, sytox = plate[f"{well}/0/0"][:]
        worms, inside = (plate[f"{well}/0/labels/{name}/0"][:] > 0 for name in ("worms", "well"))
        assert brightfield[inside].mean() > 5 * sytox[inside].mean()
        assert brightfield[worms & inside].mean() < brightfield[inside & ~worms].mean()


def test_the_lit_well_is_one_object_of_nearly_the_same_size_everywhere() -> None:
    plate = open_plate("bbbc010")
    wells = [plate[f"{path}/0/labels/well/0"][:] for path in wells_of("bbbc010")[::5]]
    areas = np.array([well.mean() for well in wells])
    assert {tuple(np.unique(well)) for well in wells} == {(0, 1)}
    assert (areas > 0.4).all()
    assert areas.std() < 0.05 * areas.mean()


def test_nuclei_are_brighter_in_dna_than_what_is_around_them() -> None:
    plate = open_plate("bbbc013")
    for well in ["A/01", "B/12", "F/06"]:
        dna, nuclei = plate[f"{well}/0/0"][1], plate[f"{well}/0/labels/nuclei/0"][:] > 0
        assert dna[nuclei].mean() > 2 * dna[~nuclei].mean()


@pytest.mark.parametrize("name", WELLS)
def test_the_plate_map_has_a_row_for_each_well(name: str) -> None:
    table = pd.read_csv(EXAMPLE / "platemaps" / f"{name}.csv", dtype=str, keep_default_na=False)
    assert list(table.columns[:4]) == ["well_position", "treatment", "control_type", "dose"]
    assert sorted(table["well_position"]) == sorted(path.replace("/", "") for path in wells_of(name))
    assert set(table["control_type"]) <= {"negcon", "poscon", ""}


def test_splits_are_by_row_and_by_column() -> None:
    table = pd.read_csv(EXAMPLE / "platemaps" / "bbbc010.csv", dtype=str, keep_default_na=False)
    row, column = table["well_position"].str[0], table["well_position"].str[1:].astype(int)
    assert (table["split_rows"].eq("test") == row.eq("D")).all()
    assert (table["split_columns"].eq("test") == column.between(9, 16)).all()
    assert (table["label"].eq("live") == column.le(12)).all()


def test_only_control_wells_have_a_class_and_a_split() -> None:
    table = pd.read_csv(EXAMPLE / "platemaps" / "bbbc013.csv", dtype=str, keep_default_na=False)
    control = table["control_type"] != ""
    assert (table["label"].ne("") == control).all()
    assert (table["split_translocation"].ne("") == control).all()
    assert set(table.loc[~control, "dose"].astype(int)) == set(range(1, 10))


def test_in_every_row_the_well_lies_higher_on_its_image_the_further_right_its_column() -> None:
    # why position is a shortcut to the class here, and why a split by row does not hide it
    plate = open_plate("bbbc010")
    for row in "ACD":
        wells = {int(column): well["0/labels/well/0"][:] for column, well in plate[row].groups()}
        tops = pd.Series({column: well.any(axis=1).argmax() for column, well in wells.items()}).sort_index()
        assert tops[tops.index <= 12].min() >= tops[tops.index > 12].max() - 1
        assert tops.corr(pd.Series(tops.index, tops.index)) < -0.75


@pytest.mark.parametrize("name", MODELS)
def test_a_model_scores_on_its_held_out_wells_what_its_contract_says(name: str, script: ModuleType) -> None:
    classifier = load_classifier(EXAMPLE / "models" / name / "model.yaml", ["pcim"], torch.device("cpu"))
    recipe = next(recipe for recipe in script.RECIPES if recipe.name == name)
    views = script.cut_views(script.read_fields(recipe, "test"), recipe.size)
    right = classifier.logits_of(views.images.numpy(), 8).argmax(1) == views.targets.numpy()
    record = classifier.contract.training
    assert record is not None
    assert (len(right), round(right.mean(), 4)) == (record.held_out_n, record.held_out_accuracy)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_normalisation_comes_from_its_training_wells(name: str, script: ModuleType) -> None:
    recipe = next(recipe for recipe in script.RECIPES if recipe.name == name)
    measured = script.Normalisation.of(script.read_fields(recipe, "train").images)
    written = load_classifier(EXAMPLE / "models" / name / "model.yaml", ["pcim"], torch.device("cpu")).contract.input
    assert (written.mean, written.std) == (pytest.approx(measured.mean), pytest.approx(measured.std))


def test_the_dose_curve_of_translocation_rises(script: ModuleType) -> None:
    # the dose wells were seen neither in training nor in the held-out accuracy
    classifier = load_classifier(EXAMPLE / "models" / MODELS[0] / "model.yaml", ["pcim"], torch.device("cpu"))
    plate = open_plate("bbbc013")
    wells = {dose: f"B/{dose + 2:02d}" for dose in (1, 2, 8, 9)}
    fields = np.stack([plate[f"{well}/0/0"][:] for well in wells.values()]).astype(np.float32)
    views = script.cut_views(script.Labelled(torch.from_numpy(fields), torch.tensor(list(wells))), (160, 160))
    calls = classifier.logits_of(views.images.numpy(), 16).argmax(1)
    assert calls.tolist() == [0] * 8 + [1] * 8


def test_a_window_cut_out_is_a_piece_of_its_image(script: ModuleType) -> None:
    image = torch.arange(35.0).reshape(1, 1, 5, 7)
    for seed in range(20):
        cut = script.cut_out(image, (2, 3), torch.Generator().manual_seed(seed))
        top, left = divmod(int(cut[0, 0, 0, 0]), 7)
        assert torch.equal(cut[0, 0], image[0, 0, top : top + 2, left : left + 3])


def test_moving_mirroring_and_relighting_follow_the_given_generator_alone(script: ModuleType) -> None:
    images = torch.rand(3, 1, 40, 50, generator=torch.Generator().manual_seed(1))
    once, again = (script.wells_anywhere(images, torch.Generator().manual_seed(2)) for _ in range(2))
    assert once.shape == images.shape
    assert torch.equal(once, again)
    assert not torch.equal(once, images)


def test_the_campaign_is_small_enough_to_live_in_a_repository() -> None:
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) < 20e6
