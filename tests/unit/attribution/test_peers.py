"""Peers and controls against closed forms, against company, and where they would be wrong in silence."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_campaign import SIZE, write_model
from scipy.ndimage import sobel
from torch import nn

from pcim.attribution.explain import explain_each
from pcim.attribution.peers import METHODS, Peer, blur_map
from pcim.attribution.peers.perturbations import random_masks, squares
from pcim.classifiers.classifier import load_classifier, pick_device
from pcim.classifiers.forward import ScoresError
from pcim.config.methods import METHODS as CONFIGURED
from pcim.config.methods import PeerSettings
from pcim.config.stages import AttributeSettings

SHAPE = (4, 2, 24, 20)
SETTINGS = PeerSettings(
    occlusion_px=4, ig_steps=8, shap_samples=4, smooth_samples=3, segments=3, segment_samples=64, rise_masks=60,
    rise_cells=4, mask_steps=10,
)  # fmt: skip


class Linear(nn.Module):
    """logit of class 1 = sum of weights x pixels; of class 0 = 0."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one = (images * self.weights).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(one), one], 1)


@pytest.fixture
def linear() -> Linear:
    return Linear(torch.from_numpy(np.random.default_rng(0).normal(size=SHAPE[1:]).astype(np.float32)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    layers = [nn.Conv2d(2, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=SHAPE).astype(np.float32))


def signed(method: str, classifier: Any, images: torch.Tensor, **choices: Any) -> torch.Tensor:
    return Peer(method, classifier, settings=SETTINGS, **choices).signed_maps(images, 1)


def test_every_method_of_the_config_but_pcims_two_is_a_peer() -> None:
    assert ("pcim", "pcim_literal", *METHODS, "randomised_model") == CONFIGURED


@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "deep_lift"])
def test_on_a_linear_classifier_these_are_weight_times_pixel(method: str, linear: Linear, images: torch.Tensor) -> None:
    expected = images * linear.weights.detach()
    torch.testing.assert_close(signed(method, linear, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["saliency", "smooth_grad"])
def test_on_a_linear_classifier_these_are_the_weights(method: str, linear: Linear, images: torch.Tensor) -> None:
    expected = linear.weights.detach().expand_as(images)
    torch.testing.assert_close(signed(method, linear, images), expected, rtol=1e-4, atol=1e-5)


def test_gradient_shap_is_weight_times_pixel_too_with_a_background_of_its_own(linear: Linear, images: torch.Tensor) -> None:
    expected = (images - 0.5) * linear.weights.detach()
    torch.testing.assert_close(signed("gradient_shap", linear, images, background=0.5), expected, rtol=1e-4, atol=1e-4)


def test_kernel_shap_of_a_linear_classifier_is_the_sum_over_the_square(linear: Linear, images: torch.Tensor) -> None:
    evidence = (images * linear.weights.detach()).sum(1)
    segments = squares(24, 20, 3)[0, 0]
    expected = torch.zeros_like(evidence)
    for segment in segments.unique():
        inside = segments == segment
        expected[:, inside] = evidence[:, inside].sum(1, keepdim=True)
    torch.testing.assert_close(signed("kernel_shap", linear, images)[:, 0], expected, rtol=1e-2, atol=1e-2)


def test_occlusion_of_a_linear_classifier_is_the_mean_loss_of_the_squares_over_a_pixel(linear: Linear, images: torch.Tensor) -> None:
    evidence = (images * linear.weights.detach()).sum(1).numpy()
    total, count = np.zeros_like(evidence), np.zeros_like(evidence)
    for top in range(0, 24 - 4 + 1, 2):
        for left in range(0, 20 - 4 + 1, 2):
            square = (slice(None), slice(top, top + 4), slice(left, left + 4))
            total[square] += evidence[square].sum(axis=(1, 2), keepdims=True)
            count[square] += 1
    np.testing.assert_allclose(signed("occlusion", linear, images)[:, 0].numpy(), total / count, rtol=1e-3, atol=1e-3)


def test_rise_is_the_mean_of_its_masks_weighted_by_the_probability(linear: Linear, images: torch.Tensor) -> None:
    one = images[:1]
    masks = torch.cat([random_masks(50, (24, 20), 4, lot) for lot in [torch.Generator().manual_seed(7)] for _ in "ab"])
    p = linear(one * masks[:60]).softmax(1)[:, 1].detach()
    expected = (p[:, None, None, None] * masks[:60]).sum(0) / 60 / 0.5
    found = Peer("rise", linear, settings=SETTINGS).signed_maps(one, 1, keys=[7])
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-6)


def test_rise_masks_keep_half_of_every_pixel_and_squares_cover_every_pixel() -> None:
    masks = random_masks(4000, (30, 21), 5, torch.Generator().manual_seed(1))
    assert masks.shape == (4000, 1, 30, 21)
    assert 0 <= float(masks.min()) <= float(masks.max()) <= 1 + 1e-6
    assert float((masks.mean(0) - 0.5).abs().max()) < 0.04
    assert squares(7, 9, 3).unique().tolist() == list(range(9))
    assert squares(2, 9, 4).unique().tolist() == list(range(8))


def test_the_deletion_mask_takes_away_what_the_class_needs() -> None:
    weights = torch.zeros(1, 24, 24)
    weights[0, 8:14, 8:14] = 1
    network = nn.Sequential(Linear(weights / 6))
    maps = Peer("deletion_mask", network).attribute(torch.ones(1, 1, 24, 24), 1)
    assert float(maps[0, 0, 8:14, 8:14].mean()) > 3 * float(maps.mean())


def test_edges_are_scipys_sobel(linear: Linear, images: torch.Tensor) -> None:
    image = images[0, 1].numpy()
    expected = np.hypot(sobel(image, 0, mode="nearest"), sobel(image, 1, mode="nearest"))
    np.testing.assert_allclose(signed("edge", linear, images)[0, 1].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_contrast_is_the_distance_from_the_median(linear: Linear, images: torch.Tensor) -> None:
    image = images[1, 0]
    torch.testing.assert_close(signed("contrast", linear, images)[1, 0], (image - image.median()).abs())


def test_a_map_that_is_blurred_keeps_its_mean_and_loses_its_detail() -> None:
    maps = torch.rand(2, 1, 30, 30, generator=torch.Generator().manual_seed(4))
    assert float(blur_map(maps, 4.0).std()) < 0.2 * float(maps.std())
    assert blur_map(maps, 0.0) is maps


@pytest.mark.parametrize("method", ["occlusion", "kernel_shap", "lime", "rise"])
def test_a_method_that_only_asks_gives_the_same_bytes_for_any_batch(method: str, network: nn.Module, images: torch.Tensor) -> None:
    maps = [Peer(method, network, settings=SETTINGS, batch_size=size).attribute(images) for size in (1, 3, 4)]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("method", METHODS)
def test_a_map_knows_no_other_view_and_leaves_everything_as_it_was(method: str, network: nn.Module, images: torch.Tensor) -> None:
    network.train()
    network[0].bias.requires_grad_(False)  # type: ignore[union-attr]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[union-attr] # noqa: NPY002
    statistics = network[1].running_mean.clone()  # type: ignore[union-attr,operator]
    peer = Peer(method, network, settings=SETTINGS, batch_size=3)
    together = peer.attribute(images)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(peer.attribute(images[order]), together[order])
    assert torch.equal(peer.attribute(images[1:2])[0], together[1])
    alone = Peer(method, network, settings=SETTINGS).attribute(images[1:2])[0]
    assert (alone - together[1]).abs().max() <= 1e-5 * together[1].max()
    assert together.shape == (4, 1, 24, 20)
    assert (together >= 0).all()
    assert not together.requires_grad
    assert not images.requires_grad
    assert network.training
    assert flags == [parameter.requires_grad for parameter in network.parameters()]
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert torch.equal(network[1].running_mean, statistics)  # type: ignore[union-attr,arg-type]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[arg-type] # noqa: NPY002
    assert random.getstate() == states[2]


class Counting(nn.Module):
    """A network that counts the images it is asked about."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        answer: torch.Tensor = self.network(images)
        return answer


@pytest.mark.parametrize("target", [2, [0, 1, 2, 0], torch.tensor([0, 1, 2, 0])])
def test_given_targets_cost_no_pass_over_the_images(target: Any, network: nn.Module, images: torch.Tensor) -> None:
    counting = Counting(network)
    peer = Peer("saliency", counting, batch_size=2)
    asked = []
    for given in (None, target, target):
        counting.images = 0
        peer.attribute(images, given)
        asked.append(counting.images)
    assert asked == [4 + 4, 1 + 4, 4], "a pass for the calls; one image that tells how many classes there are; nothing"


def test_in_a_job_a_peer_costs_its_own_passes_and_one_each_of_image_and_background(tmp_path: Path) -> None:
    loaded = load_classifier(write_model(tmp_path), ["planted_campaign"], pick_device(0))
    counting = Counting(loaded.network)
    images, targets = torch.zeros(4, 2, *SIZE), torch.tensor([0, 1, 0, 1])
    settings = AttributeSettings(batch_size=2)
    list(explain_each(replace(loaded, network=counting), "saliency", images, targets, [1, 2, 3, 4], settings))
    assert counting.images == 3 * len(images)


@pytest.mark.parametrize("method", ["saliency", "grad_cam", "occlusion", "random"])
def test_targets_that_do_not_exist_are_refused_whatever_the_method_asks(method: str, network: nn.Module, images: torch.Tensor) -> None:
    peer = Peer(method, network, settings=SETTINGS)
    for target in (3, -1, [0, 1, 2, 3], [0, 1]):
        with pytest.raises(ValueError, match=r"target is .*; allowed: (classes 0 to 2|None, an int, or 4 ints)"):
            peer.attribute(images, target)
    with pytest.raises(ScoresError, match="rows sum to"):
        Peer(method, network, settings=SETTINGS, scores="probabilities").attribute(images, 1)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_number_of_channels_and_odd_sizes(channels: int) -> None:
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    images = torch.rand(2, channels, 17, 23, generator=torch.Generator().manual_seed(5))
    for method in METHODS:
        maps = Peer(method, network, settings=SETTINGS).channel_maps(images, [0, 1])
        assert maps.shape[0] == 2
        assert maps.shape[1] in {1, channels}
        assert maps.shape[2:] == (17, 23)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(torch.relu(self.relu(self.conv(images)) - 0.1).mean((2, 3)))
        return found


class Shared(Functional):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.relu(self.relu(self.conv(images)) - 0.1).mean((2, 3)))
        return found


@pytest.mark.parametrize(
    ("method", "classifier", "message"),
    [
        ("guided_backprop", Functional(), "1 of the network's 2 rectifications are functions"),
        ("deep_lift", Functional(), "1 of the network's 2 rectifications are functions"),
        ("deep_lift", Shared(), r"\['relu'\] are called more than once"),
        (
            "guided_backprop",
            nn.Sequential(nn.Conv2d(2, 2, (24, 20)), nn.GELU(), nn.Flatten(), nn.Linear(2, 2)),
            "no nn.ReLU",
        ),
        ("grad_cam", nn.Sequential(nn.Flatten(), nn.Linear(960, 2)), "has no Conv2d layer"),
    ],
)
def test_a_network_on_which_a_peer_would_be_wrong_in_silence_is_refused(
    method: str, classifier: nn.Module, message: str, images: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match=message):
        Peer(method, classifier, settings=SETTINGS).attribute(images)
    assert not any(module._forward_hooks for module in classifier.modules())


def test_what_a_black_box_cannot_show_is_refused_with_what_is_left(images: torch.Tensor) -> None:
    def scores(batch: Any) -> Any:
        return np.stack([batch.mean((1, 2, 3)), -batch.mean((1, 2, 3))], 1)

    with pytest.raises(TypeError, match=r"grad_cam needs layers; .* allowed: occlusion, kernel_shap, lime, rise, random"):
        Peer("grad_cam", scores)
    with pytest.raises(TypeError, match="saliency needs gradient"):
        Peer("saliency", scores)
    with pytest.raises(ValueError, match="method is 'cam'; allowed: saliency"):
        Peer("cam", scores)
    with pytest.raises(ValueError, match="3 keys for 4 images"):
        Peer("rise", scores).attribute(images, keys=[1, 2, 3])
    assert Peer("rise", scores, settings=SETTINGS).attribute(images).shape == (4, 1, 24, 20)


def test_deep_lift_says_where_its_contributions_do_not_add_up(caplog: pytest.LogCaptureFixture, images: torch.Tensor) -> None:
    caplog.set_level("WARNING", logger="pcim")  # which a test of the command line may have silenced
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 22 * 18, 2))
    Peer("deep_lift", network, settings=SETTINGS).attribute(3 * images)
    assert "contributions miss up to" in caplog.text
