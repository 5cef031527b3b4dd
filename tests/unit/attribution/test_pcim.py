"""The public call: any classifier, any image, both modes; what it finds, what it records, what it refuses."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_forms import detector as smooth_detector
from planted_campaign import SIZE, knowing_detector, spot_images
from pydantic import ValidationError
from torch import nn

import pcim
from pcim import PCIM
from pcim.attribution.batch_size import fitting
from pcim.attribution.forward_only import estimate
from pcim.classifiers.forward import ScoresError

SPOTS = [(12, 30), (33, 14), (24, 24)]


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    return knowing_detector()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return spot_images(np.random.default_rng(8), SPOTS)


def black_box(network: nn.Module) -> Any:
    return lambda batch: network(torch.from_numpy(batch)).detach().numpy()


def found(maps: torch.Tensor) -> list[tuple[int, int]]:
    """Return the place (y, x) of each map's highest pixel."""
    return [divmod(int(one.argmax()), one.shape[-1]) for one in maps[:, 0]]


def near(places: list[tuple[int, int]], truth: list[tuple[int, int]], px: int) -> bool:
    return all(abs(y - v) <= px and abs(x - u) <= px for (y, x), (v, u) in zip(places, truth, strict=True))


@pytest.mark.parametrize("background", ["auto", "mean", "blur", 0.0, torch.zeros(2, 1, 1)])
def test_the_planted_spot_is_found_with_every_background(background: Any, detector: nn.Module, images: torch.Tensor) -> None:
    learned = PCIM(detector, background=background).learn(images, 1)
    assert near(found(learned.maps), SPOTS, 4)
    assert (learned.channel_importance[:, 1] > 0.9).all()
    assert learned.mode == "gradient"


def test_the_planted_spot_is_found_without_a_gradient(detector: nn.Module, images: torch.Tensor) -> None:
    learned = PCIM(black_box(detector), budget=600).learn(images)
    assert near(found(learned.maps), SPOTS, 4)
    assert (learned.channel_importance[:, 1] > 0.8).all()
    assert learned.mode == "forward only"
    assert learned.stop == ["budget"] * 3
    assert learned.losses.isnan().all()


def test_the_planted_spot_is_found_by_the_literal_preset(detector: nn.Module, images: torch.Tensor) -> None:
    """Its raw weights: what it does not need stays where it began, so only a gradient below certainty tells."""
    soft = nn.Sequential(detector, _Scale(0.2))
    learned = PCIM(soft, preset="literal").learn(images, 1)
    for weights, (y, x) in zip(learned.weights[:, 0], SPOTS, strict=True):
        assert float(weights[y - 3 : y + 4, x - 3 : x + 4].mean()) > 1.2 * float(weights.mean())


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return scores * self.factor


class _OnePixel(nn.Module):
    """Says 1 where one pixel is above 0.5, and sees nothing else."""

    def __init__(self, y: int, x: int) -> None:
        super().__init__()
        self.y, self.x = y, x

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = 4 * (images[:, 0, self.y, self.x] - 0.5)
        return torch.stack([-value, value], 1)


@pytest.mark.parametrize("choices", [{}, {"preset": "literal"}, {"background": "mean"}])
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (32, 20)])
def test_a_single_planted_pixel_is_found(choices: dict[str, Any], size: tuple[int, int]) -> None:
    network, image = _OnePixel(9, 13), torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(1)) / 4
    image[0, 0, 9, 13] = 1.0
    if choices.get("preset") == "literal":
        assert found(PCIM(network, **choices).learn(image).weights) == [(9, 13)]
    else:
        assert near(found(PCIM(network, **choices).attribute(image)), [(9, 13)], 1)


def test_a_single_planted_pixel_is_found_to_a_cell_without_a_gradient() -> None:
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1)) / 4
    image[0, 0, 9, 13] = 1.0
    assert near(found(PCIM(black_box(_OnePixel(9, 13))).attribute(image)), [(9, 13)], 2)


class _Hole(nn.Module):
    """Says 1 where a place is dark: its reason is an absence, at the value of the background."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = nn.functional.avg_pool2d(images[:, :1], 6, 1)
        darkest = -patches.amin((1, 2, 3))
        return torch.stack([4 * darkest + 2, -4 * darkest - 2], 1).flip(1) * -1


def test_an_absence_is_found_where_nothing_is() -> None:
    image = torch.ones(1, 1, 32, 32) + torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2)) / 5
    image[0, 0, 10:18, 6:14] = 0.0  # exactly the training mean: |x - b| is 0 there
    network = _Hole()
    called = int(network(image).argmax())
    maps = PCIM(network).attribute(image, called)
    assert float(maps[0, 0, 10:18, 6:14].sum() / maps.sum()) > 0.5


@pytest.mark.parametrize("mode", ["gradient", "forward only"])
def test_alone_is_as_in_a_batch_shuffled_or_resumed(mode: str, detector: nn.Module, images: torch.Tensor) -> None:
    classifier = detector if mode == "gradient" else black_box(detector)
    explainer = PCIM(classifier, batch_size=2, budget=200)
    together = explainer.attribute(images)
    assert torch.equal(explainer.attribute(images.flip(0)), together.flip(0))
    assert torch.equal(torch.cat([explainer.attribute(images[:1]), explainer.attribute(images[1:])]), together)


@pytest.mark.parametrize("mode", ["gradient", "forward only"])
def test_another_batch_size_moves_a_map_by_rounding_alone(mode: str, images: torch.Tensor) -> None:
    """On a network without a maximum: where two places are level, the last bit decides which of them a maximum is."""
    network = smooth_detector()
    classifier = network if mode == "gradient" else black_box(network)
    together = PCIM(classifier, batch_size=2, budget=200).attribute(images)
    assert (together.amax((1, 2, 3)) > 1).all()
    for size in (1, 3):
        other = PCIM(classifier, batch_size=size, budget=200).attribute(images)
        assert ((other - together).abs().amax((1, 2, 3)) <= 1e-5 * together.amax((1, 2, 3))).all()


def test_the_record_is_whole_and_consistent(detector: nn.Module, images: torch.Tensor) -> None:
    learned = PCIM(detector).learn(images, [1, 1, 0])
    b, c = images.shape[:2]
    assert learned.maps.shape == learned.weights.shape == (b, 1, *SIZE)
    assert learned.channel_maps.shape == images.shape
    torch.testing.assert_close(learned.channel_maps.sum(1, keepdim=True), learned.maps)
    torch.testing.assert_close(learned.channel_importance.sum(1), torch.ones(b))
    shares = learned.channel_maps.sum((2, 3)) / learned.maps.sum((2, 3))
    torch.testing.assert_close(learned.channel_importance, shares)
    assert learned.channel_importance.shape == (b, c)
    torch.testing.assert_close(learned.maps.mean((1, 2, 3)), torch.ones(b), atol=0.01, rtol=0)
    assert 0 <= float(learned.weights.min()) <= float(learned.weights.max()) <= 1 + 1e-6
    assert learned.targets.tolist() == [1, 1, 0]
    assert len(learned.stop) == b
    assert learned.losses.shape == (b, 20)
    for name in ("p_image", "p_keep", "p_drop", "p_background", "p_drop_background"):
        values = getattr(learned, name)
        assert values.shape == (b,)
        assert ((values >= 0) & (values <= 1)).all()
    assert (learned.p_keep[:2] > 0.5).all()
    assert (learned.p_drop[:2] < 0.5).all()
    assert not learned.maps.requires_grad


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [(8, 8), (21, 34)])
@pytest.mark.parametrize("black", [False, True])
def test_any_channels_and_any_size(channels: int, size: tuple[int, int], black: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    images = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))
    maps = PCIM(black_box(network) if black else network, budget=100).attribute(images.double())
    assert maps.shape == (2, 1, *size)
    assert maps.isfinite().all()
    assert (maps >= 0).all()


def test_segments_guide_the_search_without_a_gradient(detector: nn.Module, images: torch.Tensor) -> None:
    rows, columns = torch.meshgrid(torch.arange(48) // 12, torch.arange(48) // 12, indexing="ij")
    segments = (100 * rows + columns).expand(3, -1, -1)  # numbers need not be dense
    weights = PCIM(black_box(detector), budget=200).learn(images, segments=segments).weights
    for one, (y, x) in zip(weights[:, 0], SPOTS, strict=True):
        assert float(one[y, x]) > 0.7
        assert len(one.unique()) <= 16


class _Counting(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        scores: torch.Tensor = self.network(images)
        return scores


def test_the_budget_is_kept(detector: nn.Module, images: torch.Tensor) -> None:
    counting = _Counting(detector)
    PCIM(black_box(counting), budget=300, batch_size=10).attribute(images)
    others = 20 + 20  # the call, and keep, drop and the backgrounds
    assert 3 * 290 <= counting.images - others <= 3 * 300


@pytest.mark.parametrize("way", ["gradient", "literal", "forward only"])
def test_image_by_image_the_class_that_is_asked_for_is_explained_not_the_call(detector: nn.Module, images: torch.Tensor, way: str) -> None:
    explainer = {
        "gradient": PCIM(detector, batch_size=2, steps=5),
        "literal": PCIM(detector, batch_size=2, preset="literal"),
        "forward only": PCIM(black_box(detector), batch_size=2, budget=100),
    }[way]
    called, other = torch.tensor([1, 1, 1]), torch.tensor([0, 1, 0])
    assert detector(images).argmax(1).tolist() == called.tolist()
    for targets in (called, other):
        whole = explainer.learn(images, targets).maps
        for items, learned in explainer.learn_each(images, targets):
            assert torch.equal(learned.maps, whole[items])
    assert not torch.equal(explainer.learn(images, called).maps[0], explainer.learn(images, other).maps[0])


@pytest.mark.parametrize(("channels", "asked"), [(1, 100), (2, 94 + 5), (3, 92 + 7)])
def test_every_pass_of_the_budget_is_used_and_only_several_channels_are_asked_about(channels: int, asked: int) -> None:
    """Masks are asked in pairs; of c channels each alone, all but each, and none: 2 c + 1."""
    counting = _Counting(nn.Sequential(nn.Flatten(), nn.Linear(channels * 256, 2)))
    images = torch.rand(1, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    backgrounds = (torch.zeros_like(images), torch.zeros_like(images))
    weights, _ = estimate(counting, images, backgrounds, torch.tensor([1]), [7], 100, None, 8)
    assert counting.images == asked
    assert weights.max().item() == pytest.approx(1, abs=0.1), "the most telling cell is kept whole"


def test_the_classifier_and_the_generators_are_left_as_found_also_after_an_error(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    network[0].bias.requires_grad_(False)
    network[1].eval()
    before = [m.training for m in network.modules()], [p.requires_grad for p in network.parameters()]
    state, values = torch.get_rng_state(), {k: v.clone() for k, v in network.state_dict().items()}
    PCIM(network).attribute(images)

    def refuse(*_: Any) -> None:
        raise ZeroDivisionError

    handle = network[6].register_forward_hook(refuse)
    with pytest.raises(ZeroDivisionError):
        PCIM(network).attribute(images)
    handle.remove()
    assert before == ([m.training for m in network.modules()], [p.requires_grad for p in network.parameters()])
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_bfloat16_under_autocast_finds_the_same_place(detector: nn.Module, images: torch.Tensor) -> None:
    learned = PCIM(detector, precision="bfloat16").learn(images)
    assert learned.maps.dtype == learned.weights.dtype == learned.losses.dtype == torch.float32
    assert near(found(learned.maps), SPOTS, 4)


class _Small(nn.Module):
    """A device on which more than four images do not fit."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 4:
            raise torch.OutOfMemoryError
        scores: torch.Tensor = self.network(images)
        return scores


def test_too_small_a_memory_halves_the_batch_and_goes_on(
    detector: nn.Module, images: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    maps = PCIM(_Small(detector), batch_size=8).attribute(images)
    assert torch.equal(maps, PCIM(detector, batch_size=2).attribute(images))
    assert "going on with 2" in caplog.text


def test_the_batch_fills_four_fifths_of_what_is_free() -> None:
    assert fitting(1000, 10, 512) == 64
    assert fitting(1000, 10, 32) == 32
    assert fitting(5, 10, 512) == 1
    assert fitting(10**12, 10, 512) == 512


def test_memory_does_not_grow_over_a_hundred_thousand_views() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    explainer, images = PCIM(network, batch_size=500, steps=2), torch.rand(2000, 1, 8, 8)

    def after(rounds: int) -> tuple[int, int]:
        for _ in range(rounds):
            explainer.attribute(images)
        gc.collect()
        tensors = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
        return tensors, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    tensors, kilobytes = after(5)
    later, then = after(45)
    assert later == tensors
    assert then - kilobytes < 20_000


def test_every_fault_of_the_choices_is_told_at_once(detector: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"preset is 'best'.*blur is 0.*batch_size is 0.*precision is 'half'"):
        PCIM(detector, preset="best", blur=0, batch_size=0, precision="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\['steps'\]: the literal preset has no settings"):
        PCIM(detector, preset="literal", steps=3)
    with pytest.raises(ValueError, match="the literal preset needs a gradient"):
        PCIM(black_box(detector), preset="literal")
    with pytest.raises(ValidationError, match="stepps"):
        PCIM(detector, stepps=3)
    with pytest.raises(TypeError, match="classifier is a str"):
        PCIM("model.pt")


def test_what_cannot_be_explained_is_refused(detector: nn.Module, images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="background is 'white'"):
        PCIM(detector, background="white").attribute(images)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"background is \(7, 1, 1\)"):
        PCIM(detector, background=torch.zeros(7, 1, 1)).attribute(images)
    with pytest.raises(ValueError, match="target is 2; allowed: classes 0 to 1"):
        PCIM(detector).attribute(images, 2)
    with pytest.raises(ScoresError, match=r"allowed: .*k >= 2"):
        PCIM(nn.Sequential(nn.Flatten(), nn.Linear(2 * 48 * 48, 1))).attribute(images)
    box = black_box(detector)
    with pytest.raises(ValueError, match="budget is 10"):
        PCIM(box, budget=10)
    with pytest.raises(ValueError, match="budget is 66; allowed for 2 channels: 68"):
        PCIM(box, budget=66).attribute(images)
    with pytest.raises(ValueError, match="an image has 2304 segments"):
        PCIM(box).learn(images, segments=torch.arange(48 * 48).view(1, 48, 48).expand(3, -1, -1))
    with pytest.raises(ValueError, match="segments are"):
        PCIM(box).learn(images, segments=torch.zeros(3, 4, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="1 keys for 3 images"):
        PCIM(box).learn(images, keys=[1])


def test_the_package_imports_torch_only_when_the_method_is_asked_for() -> None:
    code = "import sys, pcim; assert 'torch' not in sys.modules; pcim.PCIM; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'PCIN'"):
        _ = pcim.PCIN


def test_the_readmes_lines_of_python_run(detector: nn.Module, images: torch.Tensor) -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text()
    (lines,) = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    names: dict[str, Any] = {"classifier": detector, "images": images}
    exec(lines, names)
    assert names["maps"].shape == names["other"].shape == (3, 1, *SIZE)
    assert names["learned"].targets.tolist() == [1, 1, 1]
