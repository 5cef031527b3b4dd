"""Robustness: oracles, and sanity checks that a map of the image alone fails and a map of the classifier passes."""

from __future__ import annotations

import pytest
import torch
from captum.metrics import sensitivity_max
from scipy.stats import spearmanr
from torch import Tensor, nn

from pcim import metrics


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 24, 3)).eval()


def gradient_of(net: nn.Module) -> metrics.robustness.Explain:
    """Return the method gradient x image for a network."""

    @torch.enable_grad()
    def explain(images: Tensor, targets: Tensor) -> Tensor:
        x = images.clone().requires_grad_(True)
        net(x).gather(1, targets[:, None]).sum().backward()
        assert x.grad is not None
        return (x.grad * images).sum(1).detach()

    return explain


def brightness(images: Tensor, targets: Tensor) -> Tensor:
    return images.abs().sum(1)


IMAGES = torch.randn(3, 2, 6, 8, generator=torch.Generator().manual_seed(0))
TARGETS, KEYS = torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])


@pytest.mark.parametrize("levels", [3, 1000])
def test_agreement_is_spearmans_correlation(levels: int) -> None:
    lot = torch.Generator().manual_seed(levels)
    first, second = torch.randint(0, levels, (2, 4, 5, 6), generator=lot).float()
    expected = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
    assert metrics.agreement(first, second).tolist() == pytest.approx(expected)
    assert metrics.agreement(first, first**3).tolist() == pytest.approx([1] * 4)  # products: what ties, ties still


def test_max_sensitivity_is_that_of_captum_for_the_same_changes() -> None:
    explain, seen = gradient_of(network()), []

    def remembering(images: Tensor, targets: Tensor) -> Tensor:
        seen.append(images)
        return explain(images, targets)

    found = metrics.max_sensitivity(remembering, IMAGES, TARGETS, radius=0.1, keys=KEYS, samples=4)
    changes = torch.stack(seen[1:]) - IMAGES
    assert changes.abs().max() <= 0.1 + 1e-6
    assert changes.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    given = iter(seen[1:])
    # a tuple: Captum takes the first axis of a lone tensor for its inputs
    expected = sensitivity_max(
        lambda x, targets: (explain(x if isinstance(x, Tensor) else x[0], targets)[:, None],), IMAGES,
        perturb_func=lambda x: next(given).view_as(x),
        n_perturb_samples=4, max_examples_per_batch=3, targets=TARGETS,
    )  # fmt: skip
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_max_sensitivity_is_the_same_alone_and_zero_for_a_method_that_never_looks() -> None:
    explain = gradient_of(network())
    together = metrics.max_sensitivity(explain, IMAGES, TARGETS, radius=0.1, keys=KEYS)
    alone = [metrics.max_sensitivity(explain, IMAGES[[n]], TARGETS[[n]], radius=0.1, keys=KEYS[[n]]) for n in range(3)]
    torch.testing.assert_close(torch.cat(alone), together)
    assert (together > 0.01).all()
    assert metrics.max_sensitivity(lambda images, _: torch.ones_like(images[:, 0]), IMAGES, TARGETS, radius=1.0, keys=KEYS).tolist() == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("cascade", [True, False])
def test_a_map_of_the_classifier_changes_with_its_parameters_and_a_map_of_the_image_does_not(cascade: bool) -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    lot = torch.random.get_rng_state()
    own = metrics.parameter_randomisation(gradient_of, net, IMAGES, TARGETS, key=1, cascade=cascade)
    assert list(own) == ["3", "0"]
    assert all((value < 0.9).all() for value in own.values())
    fixed = metrics.parameter_randomisation(lambda _: brightness, net, IMAGES, TARGETS, key=1, cascade=cascade)
    assert all((value > 0.999).all() for value in fixed.values())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(lot, torch.random.get_rng_state())


def test_randomised_layers_keep_their_numbers_and_only_a_cascade_keeps_going() -> None:
    net = network()
    copies = dict(metrics.randomise_layer_by_layer(net, key=3))
    apart = dict(metrics.randomise_layer_by_layer(net, key=3, cascade=False))
    for layer, changed in copies.items():
        for name, value in net.get_submodule(layer).named_parameters():
            other = changed.get_submodule(layer).get_parameter(name)
            assert not torch.equal(other, value)
            assert torch.equal(other.flatten().sort().values, value.flatten().sort().values)
    for name, value in metrics.shuffle_parameters(net, key=3).named_parameters():
        assert torch.equal(value, copies["0"].get_parameter(name))
    last = "3.weight"
    assert torch.equal(copies["0"].get_parameter(last), copies["3"].get_parameter(last))
    assert torch.equal(apart["0"].get_parameter(last), net.get_parameter(last))


def test_another_target_gives_another_map_unless_the_method_ignores_it() -> None:
    explain = gradient_of(network())
    assert (metrics.random_target(explain, IMAGES, TARGETS, classes=3, keys=KEYS) < 0.95).all()
    assert metrics.random_target(brightness, IMAGES, TARGETS, classes=3, keys=KEYS).tolist() == pytest.approx([1] * 3)
    for key in range(20):
        seen: list[Tensor] = []

        def noting(images: Tensor, targets: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(targets)
            return images[:, 0]

        metrics.random_target(noting, IMAGES, TARGETS, classes=3, keys=KEYS + key)
        assert (seen[0] != TARGETS).all()
    with pytest.raises(ValueError, match="classes is 1; allowed: 2 or more"):
        metrics.random_target(brightness, IMAGES, TARGETS, classes=1, keys=KEYS)
