"""A classifier is what its contract says, or it is refused; it stays frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from planted_campaign import SIZE, write_model
from safetensors.torch import load_file, save_file

from pcim.classifiers.classifier import ModelError, load_classifier, pick_device

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
TRUSTED = ["pcim", "planted_campaign"]


def test_a_classifier_that_is_itself_loads_frozen_and_normalises_by_channel(tmp_path: Path) -> None:
    classifier = load_classifier(write_model(tmp_path), TRUSTED, CPU)
    assert not classifier.network.training
    assert not any(parameter.requires_grad for parameter in classifier.network.parameters())
    images = classifier.normalise(np.full((1, 2, *SIZE), 300, np.uint16))
    assert images.dtype == torch.float32
    assert (images == 1).all()


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path)
    weights = load_file(tmp_path / "weights.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in weights.items()}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match=r"SHA-256 .* but .*model\.yaml says"):
        load_classifier(path, TRUSTED, CPU)


def test_a_test_input_that_gives_other_logits_is_refused_with_the_difference(tmp_path: Path) -> None:
    path = write_model(tmp_path)
    stored = load_file(tmp_path / "test.safetensors")
    save_file({"images": stored["images"], "logits": stored["logits"] + 0.5}, tmp_path / "test.safetensors")
    with pytest.raises(ModelError, match=r"logits that are off by 0\.5; allowed is 0\.0001"):
        load_classifier(path, TRUSTED, CPU)


def test_code_of_a_package_that_is_not_trusted_is_never_imported(tmp_path: Path) -> None:
    path = write_model(tmp_path, architecture="antigravity:fly")
    with pytest.raises(ModelError, match=r"package 'antigravity' is not in classify\.trusted_packages"):
        load_classifier(path, TRUSTED, CPU)


def test_weights_that_do_not_fit_the_architecture_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path, arguments={"channels": 3})
    with pytest.raises(ModelError, match="does not fit planted_campaign:spot_detector"):
        load_classifier(path, TRUSTED, CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_gpu_that_was_asked_for_and_is_not_there_is_an_error_not_a_slow_run() -> None:
    with pytest.raises(ModelError, match="no CUDA device is visible"):
        pick_device(1)
    assert pick_device(0) == CPU


def test_logits_do_not_depend_on_how_many_views_come_together(tmp_path: Path) -> None:
    classifier = load_classifier(write_model(tmp_path), TRUSTED, CPU)
    views = np.random.default_rng(0).normal(200, 100, (7, 2, *SIZE)).astype(np.float32)
    together = classifier.logits_of(views, 4)
    np.testing.assert_array_equal(np.concatenate([classifier.logits_of(views[n : n + 1], 4) for n in range(7)]), together)


def test_people_name_a_folder_and_a_device_in_words(tmp_path: Path) -> None:
    write_model(tmp_path)
    assert load_classifier(str(tmp_path), TRUSTED, "cpu").device == CPU
    assert load_classifier(tmp_path, TRUSTED).device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelError, match=r"'cuda:99', and \d+ CUDA devices are visible"):
        load_classifier(tmp_path, TRUSTED, "cuda:99")
    with pytest.raises(ValueError, match="device is 'gpu'; allowed: 'auto', 'cpu', 'cuda'"):
        load_classifier(tmp_path, TRUSTED, "gpu")
    with pytest.raises(ModelError, match="package 'planted_campaign' is not in"):
        load_classifier(tmp_path)
