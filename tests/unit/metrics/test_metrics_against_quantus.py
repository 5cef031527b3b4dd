"""Quantus 0.6.0 as an oracle where it is right: curves, localization, complexity, ROAD's imputation.

It needs `numpy.trapz`, which NumPy 2.4 took away, and is a dependency of the tests alone (its licence is the LGPL).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pcim import metrics

with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
    warnings.simplefilter("ignore")
    patch.setattr(np, "trapz", np.trapezoid, raising=False)
    quantus = pytest.importorskip("quantus", reason="Quantus (make test installs it)")
    from quantus.functions.perturb_func import noisy_linear_imputation

SIDE = (12, 16)
PIXELS = SIDE[0] * SIDE[1]
pytestmark = pytest.mark.filterwarnings("ignore")


def network() -> torch.nn.Module:
    torch.manual_seed(4)
    convolution = torch.nn.Conv2d(1, 3, 3)
    return torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(420, 3)).eval()


def material() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return six views, maps without ties, masks and targets."""
    lot = torch.Generator().manual_seed(8)
    images = torch.randn(6, 1, *SIDE, generator=lot)
    maps = torch.rand(6, *SIDE, generator=lot)
    return images, maps, torch.rand(6, *SIDE, generator=lot) < 0.2, torch.tensor([0, 1, 2, 2, 1, 0])


def told(metric: Callable[..., Any], **settings: Any) -> Any:
    return metric(normalise=False, disable_warnings=True, display_progressbar=False, **settings)


@pytest.mark.parametrize("least_first", [False, True])
def test_curves_are_those_of_pixel_flipping(least_first: bool) -> None:
    images, maps, _, targets = material()  # of one channel: Quantus flips the channels of a pixel one by one
    net, views = network(), torch.arange(6)
    flipping = told(quantus.PixelFlipping, features_in_step=PIXELS // 8, perturb_baseline=0.25, abs=False)
    ranked = 1 - maps if least_first else maps
    expected = flipping(
        model=net,
        x_batch=images.numpy(),
        y_batch=targets.numpy(),
        a_batch=ranked[:, None].numpy(),
        channel_first=True,
        softmax=True,
    )
    probe = metrics.Probe(net, images, targets, 5)
    fill = metrics.FixedFill(images, torch.full_like(images, 0.25))
    found = metrics.curves(probe, maps, views, {"": fill}, keys=views, steps=8, shares=())[""]
    ours = found.insertion.flip(1) if least_first else found.deletion  # insertion, read backwards, removes the least first
    np.testing.assert_allclose(ours[:, 1:], np.array(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("theirs", "ours", "settings"),
    [
        ("RelevanceMassAccuracy", metrics.relevance_mass_accuracy, {}),
        ("RelevanceRankAccuracy", metrics.relevance_rank_accuracy, {}),
        ("AUC", metrics.auroc, {}),
        ("TopKIntersection", lambda maps, masks: metrics.top_k_intersection(maps, masks, 20), {"k": 20}),
    ],
)
def test_localization_is_that_of_quantus(theirs: str, ours: Any, settings: dict[str, Any]) -> None:
    images, maps, masks, targets = material()
    expected = told(getattr(quantus, theirs), **settings)(
        model=network(),
        x_batch=images.numpy(),
        y_batch=targets.numpy(),
        a_batch=maps[:, None].numpy(),
        s_batch=masks[:, None].numpy(),
        channel_first=True,
    )
    np.testing.assert_allclose(ours(maps, masks), np.array(expected, dtype=float), atol=1e-6)


@pytest.mark.parametrize(("theirs", "ours"), [("Sparseness", metrics.gini), ("Complexity", metrics.entropy)])
def test_complexity_is_that_of_quantus(theirs: str, ours: Callable[[Tensor], Tensor]) -> None:
    images, maps, _, targets = material()
    metric = told(getattr(quantus, theirs))
    expected = metric(
        model=network(),
        x_batch=images.numpy(),
        y_batch=targets.numpy(),
        a_batch=maps[:, None].numpy().copy(),
        channel_first=True,
    )
    np.testing.assert_allclose(ours(maps), np.array(expected), atol=1e-6, rtol=2e-6)  # Sparseness adds 1e-7 to every pixel


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["scattered", "a patch"])
def test_imputation_is_that_of_road(share: float, kind: str) -> None:
    image = torch.randn(1, 1, *SIDE, generator=torch.Generator().manual_seed(3)).double()
    order = torch.randperm(PIXELS, generator=torch.Generator().manual_seed(5)) if kind == "scattered" else torch.arange(PIXELS)
    removed = torch.zeros(PIXELS, dtype=torch.bool)
    removed[order[: round(share * PIXELS)]] = True
    expected = noisy_linear_imputation(image[0].numpy(), removed.nonzero()[:, 0].numpy(), noise=0.0)
    found = metrics.impute(image, removed.view(1, *SIDE), tolerance=1e-9)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    single = metrics.impute(image.float(), removed.view(1, *SIDE), tolerance=1e-5)
    np.testing.assert_allclose(single[0], expected, atol=1e-3)
