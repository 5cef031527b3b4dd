"""Laws of the blend and of learning it: the literal stack is the fused layer; company, order and restarts change nothing."""

from __future__ import annotations

import model_forms
import numpy as np
import pytest
import torch
from planted_campaign import SIZE, knowing_detector, spot_field
from scipy.ndimage import gaussian_filter
from torch import nn

import pcim
from pcim.attribution import optimiser
from pcim.attribution.blending import drop, keep
from pcim.attribution.optimiser import Blend, learn, learn_literal, read_out
from pcim.attribution.optimiser_step import Step
from pcim.classifiers.log_odds import log_odds
from pcim.composites.gaussian_blur import gaussian_blur
from pcim.config.methods import PcimSettings

SETTINGS = PcimSettings()


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    return knowing_detector().requires_grad_(False).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    rng = np.random.default_rng(5)
    spots = [(int(y), int(x)) for y, x in rng.integers(8, 40, (8, 2))]
    fields = [spot_field(rng, SIZE, spot if number % 2 else None) for number, spot in enumerate(spots)]
    return torch.from_numpy((np.stack(fields).astype(np.float32) - 200) / 100)


def stacked(images: torch.Tensor, backgrounds: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Blend literally: one channel a pixel, mixed over the background by the weights. P x P numbers a view."""
    difference = (images - backgrounds).flatten(2)  # (b, c, p)
    isolated = difference[..., None] * torch.eye(difference.shape[-1])  # (b, c, p, p): channel p holds pixel p alone
    mixed = (weights.flatten(2)[..., None] * isolated).sum(2)  # (b, c, p)
    return backgrounds + mixed.view(images.shape)


def stacked_drop(images: torch.Tensor, backgrounds: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return stacked(images, backgrounds, 1 - weights)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (16, 16), (5, 13)])
@pytest.mark.parametrize(("literal", "fused"), [(stacked, keep), (stacked_drop, drop)], ids=["keep", "drop"])
def test_the_literal_stack_is_the_fused_layer_in_value_and_gradient(
    channels: int, size: tuple[int, int], literal: object, fused: object
) -> None:
    lot = torch.Generator().manual_seed(0)
    images, backgrounds, probe = (torch.rand(2, channels, *size, generator=lot) for _ in range(3))
    start = torch.rand(2, 1, *size, generator=lot)
    found = []
    for blend in (literal, fused):
        weights = start.clone().requires_grad_()
        blended = blend(images, backgrounds, weights)  # type: ignore[operator]
        (gradient,) = torch.autograd.grad((blended * probe).sum(), [weights])
        found.append((blended.detach(), gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=1e-6)


def test_a_step_is_the_gradient_of_the_stated_loss_through_the_literal_stack(detector: nn.Module, images: torch.Tensor) -> None:
    """The chain rule that one backward pass of the margins stands for, against autograd through the whole stack."""
    small, targets = images[:4, :, 8:24, 8:24], torch.tensor([0, 1, 0, 1])
    backgrounds = gaussian_blur(small, 2.0, edges="reflect"), torch.zeros_like(small)
    step = Step(detector, 4, (2, 16, 16), SETTINGS, small.device)
    step.load(torch.arange(4), small, backgrounds, targets)
    alpha = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    step.alpha.copy_(alpha)
    alpha.requires_grad_()
    weights = gaussian_blur(alpha, SETTINGS.smooth_px, edges="symmetric")
    kept, dropped = stacked(small, backgrounds[0], weights), stacked_drop(small, backgrounds[1], weights)
    p = detector(dropped).softmax(1).gather(1, targets[:, None])[:, 0].double()
    loss = nn.functional.cross_entropy(detector(kept), targets, reduction="none") - (1 - p).log()
    loss = loss + SETTINGS.area * weights.mean((1, 2, 3))
    (gradient,) = torch.autograd.grad(loss.sum(), [alpha])
    step()
    velocity = (1 - SETTINGS.momentum) * gradient * alpha[0].numel() / SETTINGS.area
    torch.testing.assert_close(step.velocity, velocity, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(step.losses[:, 0], loss.detach().float(), rtol=1e-5, atol=1e-5)


def test_keep_and_drop_part_the_image_between_them() -> None:
    images, backgrounds = torch.rand(2, 2, 5, 5), torch.rand(2, 2, 5, 5)
    weights = torch.rand(2, 1, 5, 5)
    torch.testing.assert_close(keep(images, backgrounds, weights) + drop(images, backgrounds, weights), images + backgrounds)
    torch.testing.assert_close(keep(images, backgrounds, torch.ones(2, 1, 5, 5)), images)
    torch.testing.assert_close(drop(images, backgrounds, 3 * torch.ones(2, 1, 5, 5)), backgrounds)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (40, 50)])
@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.0, 2.0])
def test_smoothing_is_scipys_is_its_own_adjoint_and_keeps_the_mean(size: tuple[int, int], sigma: float) -> None:
    lot = torch.Generator().manual_seed(3)
    one, other = (torch.rand(2, 3, *size, generator=lot, dtype=torch.float64) for _ in range(2))
    blurs = [gaussian_blur(part, sigma, edges="symmetric") for part in (one, other)]
    if sigma:
        wanted = gaussian_filter(one[0, 0].numpy(), sigma, mode="reflect", radius=max(1, round(3 * sigma)))
        np.testing.assert_allclose(blurs[0][0, 0].numpy(), wanted, rtol=1e-6)
    torch.testing.assert_close((blurs[0] * other).sum(), (one * blurs[1]).sum())
    torch.testing.assert_close(blurs[0].mean((-2, -1)), one.mean((-2, -1)))


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_the_blur_is_scipys(sigma: float) -> None:
    image = np.random.default_rng(1).random((40, 50)).astype(np.float32)
    ours = gaussian_blur(torch.from_numpy(image)[None, None], sigma, edges="reflect")[0, 0].numpy()
    np.testing.assert_allclose(ours, gaussian_filter(image, sigma, mode="mirror", radius=round(3 * sigma)), atol=1e-5)


def blend_of(detector: nn.Module, images: torch.Tensor, slots: int, settings: PcimSettings = SETTINGS) -> Blend:
    backgrounds = gaussian_blur(images, 6.0, edges="reflect"), torch.zeros_like(images)
    return learn(detector, images, backgrounds, detector(images).argmax(1), settings, slots)


def maps_of(detector: nn.Module, images: torch.Tensor, slots: int = 8) -> torch.Tensor:
    blend = blend_of(detector, images, slots)
    return read_out(blend.weights, blend.evidence, images.abs().sum(1, keepdim=True))


def test_company_and_order_change_nothing_to_the_last_bit_at_one_batch_shape(detector: nn.Module, images: torch.Tensor) -> None:
    together = maps_of(detector, images)
    order = torch.tensor([3, 0, 7, 5, 1, 2, 6, 4])
    assert torch.equal(maps_of(detector, images[order]), together[order])
    assert torch.equal(maps_of(detector, images[:1])[0], together[0])
    many = images[torch.arange(30) % 8]  # more views than slots: they are refilled, at other steps of their neighbours
    assert torch.equal(maps_of(detector, many), together[torch.arange(30) % 8])


def test_another_batch_shape_moves_a_map_by_rounding_alone(images: torch.Tensor) -> None:
    """On a network without a maximum: where two places are level, the last bit decides which of them a maximum is."""
    smooth_one = model_forms.detector().requires_grad_(False)
    spots = images[1::2]  # where there is none, it has no slope
    together = maps_of(smooth_one, spots)
    assert (together.amax((1, 2, 3)) > 1).all()
    for slots in (1, 3, 16):
        other = maps_of(smooth_one, spots, slots)
        assert ((other - together).abs().amax((1, 2, 3)) <= 1e-5 * together.amax((1, 2, 3))).all()


def test_how_often_the_host_looks_changes_nothing(detector: nn.Module, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    often = blend_of(detector, images, 3)
    monkeypatch.setitem(optimiser.LOOK_EVERY, "cpu", 7)
    seldom = blend_of(detector, images, 3)
    for name in ("weights", "evidence", "steps", "settled"):
        assert torch.equal(getattr(often, name), getattr(seldom, name))
    torch.testing.assert_close(often.losses, seldom.losses, rtol=0, atol=0, equal_nan=True)


def test_a_view_stops_when_it_has_settled_and_at_the_last_step_otherwise(detector: nn.Module, images: torch.Tensor) -> None:
    blend = blend_of(detector, images, 8)
    assert bool(blend.settled.any())
    assert (blend.steps[blend.settled] <= SETTINGS.steps).all()
    for losses, steps in zip(blend.losses, blend.steps.tolist(), strict=True):
        assert losses.isfinite().nonzero().flatten().tolist() == list(range(steps))
    short = blend_of(detector, images, 8, PcimSettings(steps=3))
    assert short.steps.tolist() == [3] * 8
    assert not bool(short.settled.any())


def test_the_weights_stay_between_0_and_1_and_start_at_the_image_itself(detector: nn.Module, images: torch.Tensor) -> None:
    blend = blend_of(detector, images, 8)
    assert 0 <= float(blend.weights.min()) <= float(blend.weights.max()) <= 1 + 1e-6
    targets = detector(images).argmax(1)
    p = detector(images).softmax(1).gather(1, targets[:, None])[:, 0]
    q = detector(torch.zeros_like(images)).softmax(1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(blend.losses[:, 0], -p.log() - (1 - q).log() + SETTINGS.area, rtol=1e-3, atol=1e-3)


def test_evidence_adds_up_to_the_change_of_the_log_odds_along_a_straight_way(images: torch.Tensor) -> None:
    """On a linear margin the evidence of a step is its gradient times what stands behind it: weight times pixel."""
    weights = torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(4)) / 50

    def linear(views: torch.Tensor) -> torch.Tensor:
        one = (views * weights).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(one), one], 1)

    blend = learn(linear, images, (torch.zeros_like(images),) * 2, torch.ones(8, dtype=torch.long), SETTINGS, 8)
    wanted = 2 * blend.steps.view(-1, 1, 1, 1) * weights * images  # of keep and of drop
    torch.testing.assert_close(blend.evidence, wanted, rtol=1e-4, atol=1e-4)


def test_the_channels_of_a_map_add_up_to_it_and_nothing_is_negative(detector: nn.Module, images: torch.Tensor) -> None:
    blend = blend_of(detector, images, 8)
    contrast = images.abs().sum(1, keepdim=True)
    maps = read_out(blend.weights, blend.evidence, contrast)
    whole = read_out(blend.weights, blend.evidence.sum(1, keepdim=True), contrast)
    assert (maps >= 0).all()
    torch.testing.assert_close(maps.sum(1, keepdim=True), whole, rtol=1e-4, atol=1e-6)


def test_a_margin_is_the_log_odds_of_the_target() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(5))
    targets = torch.tensor([0, 1, 2, 3, 0])
    p = logits.double().softmax(1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(log_odds(logits, targets).double(), (p / (1 - p)).log(), rtol=1e-5, atol=1e-6)


def test_the_global_generator_is_left_as_found(detector: nn.Module, images: torch.Tensor) -> None:
    state = torch.get_rng_state()
    maps_of(detector, images[:2])
    assert torch.equal(state, torch.get_rng_state())


def test_the_literal_preset_learns_a_weight_a_pixel(detector: nn.Module, images: torch.Tensor) -> None:
    targets = detector(images[:2]).argmax(1)
    weights, losses = learn_literal(detector, images[:2], torch.zeros_like(images[:2]), targets)
    assert weights.shape == (2, 1, *SIZE)
    assert losses.shape == (2, optimiser.LITERAL_STEPS)
    assert (weights >= 0).all()
    assert weights[1].std() > 0


def test_a_certain_classifier_does_not_make_the_loss_infinite(images: torch.Tensor) -> None:
    def certain(views: torch.Tensor) -> torch.Tensor:
        first = 1000 + 0 * views.sum((1, 2, 3))
        return torch.stack([first, torch.zeros_like(first)], 1)

    blend = learn(certain, images[:1], (torch.zeros_like(images[:1]),) * 2, torch.tensor([0]), SETTINGS, 1)
    assert blend.losses[0, : int(blend.steps[0])].isfinite().all()
    assert pcim.PCIM(nn.Identity()).settings == SETTINGS
    assert read_out(blend.weights, blend.evidence, images[:1, :1].abs()).isfinite().all()
