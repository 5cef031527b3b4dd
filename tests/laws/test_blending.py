"""Laws of the blend and of learning it: the literal stack is the fused layer; company, order and restarts change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from makers import SIZE, SpotDetector, spot_field, spot_weights
from scipy.ndimage import gaussian_filter
from torch import nn

from pcim.attribute.backgrounds import make_background
from pcim.attribute.blending import Blending, drop, gaussian_blur, keep
from pcim.attribute.learning import Preset, learn
from pcim.config import PcimSettings


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    network = SpotDetector()
    network.load_state_dict(spot_weights())
    return network.requires_grad_(False).eval()


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


def test_the_literal_stack_is_the_fused_layer_in_value_and_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    images, backgrounds = torch.rand(2, 3, 9, 7, generator=generator), torch.rand(2, 3, 9, 7, generator=generator)
    probe = torch.rand(2, 3, 9, 7, generator=generator)
    found = []
    for blend in (stacked, keep):
        weights = torch.rand(2, 1, 9, 7, generator=torch.Generator().manual_seed(1)).requires_grad_()
        blended = blend(images, backgrounds, weights)
        (gradient,) = torch.autograd.grad((blended * probe).sum(), [weights])
        found.append((blended.detach(), gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)


def test_keep_and_drop_part_the_image_between_them() -> None:
    images, backgrounds = torch.rand(2, 2, 5, 5), torch.rand(2, 2, 5, 5)
    weights = torch.rand(2, 1, 5, 5)
    torch.testing.assert_close(
        keep(images, backgrounds, weights) + drop(images, backgrounds, weights), images + backgrounds
    )
    torch.testing.assert_close(keep(images, backgrounds, torch.ones(2, 1, 5, 5)), images)
    torch.testing.assert_close(drop(images, backgrounds, 3 * torch.ones(2, 1, 5, 5)), backgrounds)


@pytest.mark.parametrize(("size", "grid"), [((8, 8), 2), ((7, 9), 2), ((5, 5), 1), ((11, 6), 4)])
def test_weights_start_at_one_on_any_size_and_grid(size: tuple[int, int], grid: int) -> None:
    weights = Blending(3, size, grid=grid, smooth_px=1.0).weights()
    assert weights.shape == (3, 1, *size)
    torch.testing.assert_close(weights, torch.ones_like(weights))


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_the_blur_is_scipys(sigma: float) -> None:
    image = np.random.default_rng(1).random((40, 50)).astype(np.float32)
    ours = gaussian_blur(torch.from_numpy(image)[None, None], sigma)[0, 0].numpy()
    np.testing.assert_allclose(ours, gaussian_filter(image, sigma, mode="mirror", radius=round(3 * sigma)), atol=1e-5)


DEFAULT = Preset.default(PcimSettings(steps=25))


def maps_of(detector: nn.Module, images: torch.Tensor, preset: Preset = DEFAULT) -> torch.Tensor:
    targets = detector(images).argmax(1)
    return learn(detector, images, make_background(images, "mean", 0.0), targets, preset).channel_maps


def test_company_and_order_change_nothing_to_the_last_bit_at_one_batch_shape(
    detector: nn.Module, images: torch.Tensor
) -> None:
    together = maps_of(detector, images)
    order = torch.tensor([3, 0, 7, 5, 1, 2, 6, 4])
    assert torch.equal(maps_of(detector, images[order]), together[order])
    others = torch.cat([images[:1], images[4:5].repeat(7, 1, 1, 1)])
    assert torch.equal(maps_of(detector, others)[0], together[0])


def test_alone_is_as_in_a_batch(detector: nn.Module, images: torch.Tensor) -> None:
    together = maps_of(detector, images)
    for number in (0, 3):
        alone = maps_of(detector, images[number : number + 1])[0]
        assert (alone - together[number]).abs().max() <= 1e-5 * together[number].max()


def test_the_planted_spot_is_found_and_the_other_channel_is_not(detector: nn.Module, images: torch.Tensor) -> None:
    maps = maps_of(detector, images)
    for number in (1, 3, 5, 7):
        by_channel = maps[number].sum((1, 2))
        brightest = gaussian_filter(images[number, 1].numpy(), 2)
        y, x = np.unravel_index(brightest.argmax(), SIZE)
        near = maps[number, 1, max(0, y - 6) : y + 7, max(0, x - 6) : x + 7].sum()
        assert near / maps[number].sum() > 0.6
        assert by_channel[1] > by_channel[0]


def test_the_global_generator_is_left_as_found(detector: nn.Module, images: torch.Tensor) -> None:
    state = torch.get_rng_state()
    maps_of(detector, images[:2])
    assert torch.equal(state, torch.get_rng_state())


def test_the_literal_preset_learns_a_weight_a_pixel(detector: nn.Module, images: torch.Tensor) -> None:
    maps = maps_of(detector, images[:2], Preset.literal())
    assert maps.shape == (2, 1, *SIZE)
    assert (maps >= 0).all()
    assert maps[1].std() > 0


def test_a_certain_classifier_does_not_make_the_loss_infinite(images: torch.Tensor) -> None:
    def certain(views: torch.Tensor) -> torch.Tensor:
        first = 1000 + 0 * views.sum((1, 2, 3))
        return torch.stack([first, torch.zeros_like(first)], 1)

    learned = learn(certain, images[:1], torch.zeros_like(images[:1]), torch.tensor([0]), DEFAULT)
    assert torch.isfinite(learned.loss_last).all()
    assert torch.isfinite(learned.channel_maps).all()
