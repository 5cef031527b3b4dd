"""Peers and controls against closed forms: on a linear classifier every answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from torch import nn

from pcim.attribute.peers import METHOD_FUNCTIONS, Batch
from pcim.config import AttributeSettings
from pcim.contract import Contract
from pcim.models import Classifier

SHAPE = (2, 2, 24, 20)
SETTINGS = AttributeSettings(background="mean", occlusion_px=4, ig_steps=8, batch_size=2)


class Linear(nn.Module):
    """logit of class 1 = sum of weights x pixels; of class 0 = 0."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights, requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one = (images * self.weights).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(one), one], 1)


@pytest.fixture
def linear() -> Classifier:
    contract = Contract.model_validate(
        {
            "name": "linear",
            "architecture": "makers:spot_detector",
            "weights": "w.safetensors",
            "sha256": "0" * 64,
            "classes": ["a", "b"],
            "input": {
                "channels": ["x", "y"],
                "view": "tile",
                "size": [24, 20],
                "dtype": "float32",
                "mean": [0, 0],
                "std": [1, 1],
            },
            "test": {"file": "t.safetensors"},
        }
    )
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=SHAPE[1:]).astype(np.float32))
    return Classifier(Linear(weights), contract, torch.device("cpu"))


@pytest.fixture
def batch() -> Batch:
    images = torch.from_numpy(np.random.default_rng(1).normal(size=SHAPE).astype(np.float32))
    return Batch(images, torch.tensor([1, 1]), [11, 12])


def answer(method: str, linear: Classifier, batch: Batch) -> torch.Tensor:
    return METHOD_FUNCTIONS[method](linear, batch, SETTINGS).channel_maps


def test_integrated_gradients_of_a_linear_classifier_is_weight_times_pixel(linear: Classifier, batch: Batch) -> None:
    expected = (batch.images * linear.network.weights).abs()  # type: ignore[operator]
    torch.testing.assert_close(answer("integrated_gradients", linear, batch), expected, rtol=1e-4, atol=1e-5)


def test_occlusion_of_a_linear_classifier_is_the_mean_loss_of_the_squares_over_a_pixel(
    linear: Classifier, batch: Batch
) -> None:
    evidence = (batch.images * linear.network.weights).sum(1).numpy()  # type: ignore[operator]
    total, count = np.zeros_like(evidence), np.zeros_like(evidence)
    for top in range(0, 24 - 4 + 1, 2):
        for left in range(0, 20 - 4 + 1, 2):
            square = (slice(None), slice(top, top + 4), slice(left, left + 4))
            total[square] += evidence[square].sum(axis=(1, 2), keepdims=True)
            count[square] += 1
    expected = np.clip(total / count, 0, None)
    np.testing.assert_allclose(answer("occlusion", linear, batch)[:, 0].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_edges_are_scipys_sobel(linear: Classifier, batch: Batch) -> None:
    image = batch.images[0, 1].numpy()
    expected = np.hypot(sobel(image, 0, mode="nearest"), sobel(image, 1, mode="nearest"))
    np.testing.assert_allclose(answer("edge", linear, batch)[0, 1].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_contrast_is_the_distance_from_the_median(linear: Classifier, batch: Batch) -> None:
    image = batch.images[1, 0]
    torch.testing.assert_close(answer("contrast", linear, batch)[1, 0], (image - image.median()).abs())


def test_a_random_map_depends_on_the_view_alone(linear: Classifier, batch: Batch) -> None:
    maps = answer("random", linear, batch)
    swapped = answer("random", linear, Batch(batch.images, batch.targets, [12, 11]))
    assert torch.equal(maps, swapped.flip(0))
    assert not torch.equal(maps[0], maps[1])
    assert 0 <= float(maps.min()) <= float(maps.max()) < 1


def test_grad_cam_without_a_convolution_is_refused_by_name(linear: Classifier, batch: Batch) -> None:
    with pytest.raises(ValueError, match="has no Conv2d layer"):
        answer("grad_cam", linear, batch)


def test_grad_cam_leaves_the_images_as_they_were(linear: Classifier, batch: Batch) -> None:
    network: Any = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    classifier = Classifier(network.requires_grad_(False).eval(), linear.contract, linear.device)
    maps = answer("grad_cam", classifier, batch)
    assert maps.shape == (2, 1, 24, 20)
    assert (maps >= 0).all()
    assert not batch.images.requires_grad
