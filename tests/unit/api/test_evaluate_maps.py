"""Evaluating from Python: any classifier, any maps; a true map beats chance, a wrong one does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted_campaign import SIZE, knowing_detector, spot_images
from torch import nn

from pcim import PCIM, evaluate
from pcim.config.stages import EvaluateSettings

SPOTS = [(12, 30), (33, 14)]
FEW = EvaluateSettings(steps=4, sets=2, batch_size=8, substitutes=["mean"])


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    return knowing_detector()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return spot_images(np.random.default_rng(8), SPOTS)


def masks() -> np.ndarray:
    found = np.zeros((2, *SIZE), bool)
    for mask, (y, x) in zip(found, SPOTS, strict=True):
        mask[y - 3 : y + 4, x - 3 : x + 4] = True
    return found


def values(table: pd.DataFrame, metric: str, substitute: str = "") -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["substitute"] == substitute)]
    return rows.set_index(["method", "image"])["value"].unstack()


def test_the_planted_spot_beats_chance_and_its_opposite_does_not(detector: nn.Module, images: torch.Tensor) -> None:
    true = torch.from_numpy(masks()).float()
    table = evaluate({"true": true, "opposite": 1 - true}, images, detector, 1, objects=masks(), settings=FEW)
    mass = values(table, "relevance_mass_accuracy")
    assert (mass.loc["true"] == 1).all()
    assert (mass.loc["opposite"] == 0).all()
    chance = table.loc[table["metric"] == "relevance_mass_accuracy", "chance"]
    np.testing.assert_allclose(chance, 49 / 48**2, rtol=1e-6)
    assert (values(table, "morf_lerf", "mean").loc["true"] > 0.5).all()
    assert (values(table, "morf_lerf", "mean").loc["opposite"] < 0).all()
    auc = values(table, "deletion_auc", "mean")
    assert (auc.loc["true"] < auc.loc["opposite"]).all()
    assert {"true_blurred", "objects_mask"} < set(table["method"])


def test_maps_of_pcim_need_no_target_and_know_the_backgrounds_they_saw(detector: nn.Module, images: torch.Tensor) -> None:
    maps = PCIM(detector, steps=5).attribute(images, target=[1, 0])
    table = evaluate(maps, images, detector, settings=FEW)
    told = evaluate({"pcim": maps.as_subclass(torch.Tensor)}, images, detector, [1, 0], settings=FEW)
    pd.testing.assert_frame_equal(table, told)
    assert set(table["method"]) == {"pcim", "pcim_blurred"}
    assert table.loc[table["substitute"] == "mean", "seen"].all()
    assert "auroc" not in set(table["metric"])


def test_a_classifier_of_probabilities_without_a_gradient_gets_the_same_scores(detector: nn.Module, images: torch.Tensor) -> None:
    def box(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return detector(torch.from_numpy(batch)).softmax(1).numpy()

    true = torch.from_numpy(masks()).float()
    found = evaluate(true, images, box, 1, scores="probabilities", settings=FEW)
    known = evaluate(true, images, detector, 1, settings=FEW)
    np.testing.assert_allclose(found["value"], known["value"], atol=2e-3)


@pytest.mark.parametrize(
    ("maps", "choices", "words"),
    [
        (torch.ones(2, 1, 9, 9), {}, r"maps of maps are \(2, 1, 9, 9\); allowed for these images: \(2, 48, 48\)"),
        (-torch.ones(2, *SIZE), {}, "negative or not finite"),
        (torch.full((2, *SIZE), torch.nan), {}, "negative or not finite"),
        ({}, {}, "no maps"),
        (torch.ones(2, *SIZE), {"target": 7}, "classes 0 to 1"),
        (torch.ones(2, *SIZE), {"objects": "cells"}, "a label of a plate"),
        (torch.ones(2, *SIZE), {"objects": np.ones((2, 9, 9), bool)}, r"objects are \(2, 9, 9\)"),
    ],
)
def test_what_does_not_fit_is_refused(maps: Any, choices: dict[str, Any], words: str, detector: nn.Module, images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate(maps, images, detector, settings=FEW, **choices)
