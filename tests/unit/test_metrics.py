"""Metrics: hand-computed curves, an oracle, and numbers that do not depend on a view's company."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score  # type: ignore[import-untyped]
from torch import Tensor

from pcim import metrics

Localization = Callable[[Tensor, Tensor], Tensor]
LOCALIZATION = [
    metrics.relevance_mass_accuracy,
    metrics.relevance_rank_accuracy,
    metrics.pointing_game,
    metrics.auprc,
]
BY_RANK = LOCALIZATION[1:]
RAMP = torch.arange(1.0, 17.0).view(1, 4, 4)  # sums to 136


def share_of_ramp(images: Tensor) -> Tensor:
    """Classify into (share of the ramp's 136 that an image of ones and zeros holds, the rest): a linear probability."""
    share = (images[:, 0] * RAMP).sum((1, 2)) / RAMP.sum()
    return torch.stack([share.log(), (1 - share).log()], dim=1)


def curves(maps: Tensor, steps: int = 4, key: int = 0, batch_size: int = 3) -> tuple[Tensor, Tensor]:
    """Return both curves of an image of ones over a substitute of zeros, times 136."""
    deletion, insertion = metrics.perturbation_curves(
        share_of_ramp,
        torch.ones(1, 1, 4, 4),
        maps,
        torch.tensor([0]),
        torch.zeros(1, 1, 4, 4),
        steps=steps,
        keys=torch.tensor([key]),
        batch_size=batch_size,
    )
    return deletion * RAMP.sum(), insertion * RAMP.sum()


def auc(which: Callable[..., Tensor], maps: Tensor, steps: int = 4) -> float:
    ones, zeros = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    key, target = torch.tensor([0]), torch.tensor([0])
    return float(which(share_of_ramp, ones, maps, target, zeros, steps=steps, keys=key, batch_size=3))


def small_network() -> metrics.Classify:
    torch.manual_seed(1)
    layers = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(96, 3))
    return layers.eval()


def test_both_curves_of_a_linear_probability_are_the_hand_computed_ones() -> None:
    deletion, insertion = curves(RAMP)
    assert deletion[0].tolist() == pytest.approx([136, 78, 36, 10, 0], abs=1e-4)
    assert insertion[0].tolist() == pytest.approx([0, 58, 100, 126, 136], abs=1e-4)


def test_the_areas_are_the_hand_computed_ones_however_they_are_asked_for() -> None:
    by_trapezoids = (136 / 2 + 78 + 36 + 10) / 136 / 4  # 0.353
    assert auc(metrics.deletion_auc, RAMP) == pytest.approx(by_trapezoids)
    assert auc(metrics.insertion_auc, RAMP) == pytest.approx(1 - by_trapezoids)  # for this classifier alone
    deletion, insertion = curves(RAMP)
    assert float(metrics.area_under(deletion / 136, 16)) == pytest.approx(by_trapezoids)
    assert float(metrics.area_under(insertion / 136, 16)) == pytest.approx(1 - by_trapezoids)


def test_steps_that_do_not_divide_the_view_are_weighed_by_the_pixels_they_move() -> None:
    deletion, _ = curves(RAMP, steps=3)
    assert deletion[0].tolist() == pytest.approx([136, 66, 21, 0], abs=1e-4)  # after 5, 10 and 16 pixels
    by_trapezoids = ((136 + 66) / 2 * 5 + (66 + 21) / 2 * 5 + 21 / 2 * 6) / 136 / 16
    assert auc(metrics.deletion_auc, RAMP, steps=3) == pytest.approx(by_trapezoids)


def test_a_perfect_map_beats_a_random_one_and_an_inverted_map_is_worst() -> None:
    noise = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    deletion = [auc(metrics.deletion_auc, maps) for maps in (RAMP, noise, -RAMP)]
    insertion = [auc(metrics.insertion_auc, maps) for maps in (RAMP, noise, -RAMP)]
    assert all(better < worse for better, worse in pairwise(deletion))
    assert all(better > worse for better, worse in pairwise(insertion))


def test_each_forward_pass_is_paid_once_in_batches_of_the_one_recorded_size() -> None:
    sizes = []

    def counting(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.flatten(1)[:, :2]

    images, maps = torch.rand(3, 1, 4, 4), torch.rand(3, 4, 4)
    keys = targets = torch.zeros(3, dtype=torch.long)
    metrics.perturbation_curves(
        counting, images, maps, targets, torch.zeros_like(images), steps=5, keys=keys, batch_size=8
    )
    assert sizes == [8, 8, 8, 8]  # 3 views x 2 curves x 5 steps = 30, filled up to 32


def test_a_view_scores_the_same_alone_in_a_batch_and_shuffled() -> None:
    network, generator = small_network(), torch.Generator().manual_seed(3)
    images = torch.rand(5, 2, 6, 8, generator=generator)
    maps = torch.randint(0, 4, (5, 6, 8), generator=generator).float()  # many ties
    targets, keys = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([7, -(2**63), 2**63 - 1, 0, 12])
    parts = (images, maps, targets, images.mean((2, 3), keepdim=True).expand_as(images), keys)

    def score(rows: list[int]) -> Tensor:
        x, m, y, b, k = (part[rows] for part in parts)
        both = metrics.perturbation_curves(network, x, m, y, b, steps=7, keys=k, batch_size=4)
        return torch.cat(both, dim=1)

    together = score([0, 1, 2, 3, 4])
    assert torch.equal(together, torch.cat([score([row]) for row in range(5)]))
    assert torch.equal(together[[3, 0, 4, 1, 2]], score([3, 0, 4, 1, 2]))


def test_the_curves_ask_without_gradients_and_leave_the_inputs_alone() -> None:
    image = torch.ones(1, 1, 4, 4, requires_grad=True)
    one = torch.tensor([0])
    area = metrics.deletion_auc(
        share_of_ramp, image, RAMP, one, torch.zeros(1, 1, 4, 4), steps=4, keys=one, batch_size=1
    )
    assert not area.requires_grad
    assert torch.equal(image, torch.ones(1, 1, 4, 4))


def test_ranking_puts_the_highest_first_and_holds_every_pixel_once() -> None:
    maps = torch.tensor([[[0.0, 5.0], [-1.0, 2.0]]])
    assert metrics.ranking(maps, torch.tensor([4])).tolist() == [[1, 3, 0, 2]]
    flat = metrics.ranking(torch.zeros(2, 30, 40), torch.tensor([4, 5]))
    assert torch.equal(flat.sort(dim=1).values, torch.arange(1200).expand(2, -1))


def test_ties_are_broken_by_the_key_and_not_by_the_raster() -> None:
    flat = torch.zeros(200, 8, 8)
    order = metrics.ranking(flat, torch.arange(200))
    assert len({tuple(row) for row in order.tolist()}) == 200
    mean_place = order.argsort(dim=1).double().mean(0)  # of each pixel over 200 keys: 31.5 +- 1.3
    assert (mean_place - 31.5).abs().max() < 5.5
    assert torch.equal(order[17:18], metrics.ranking(flat[:1], torch.tensor([17])))


def test_ties_are_broken_by_splitmix64() -> None:
    """A pure-Python splitmix64 is the oracle: torch's integers wrap around and shift as those of the paper do."""

    def mix(number: int) -> int:
        number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
        return number ^ number >> 31

    key = -(2**62) - 3
    lots = [mix((mix(key % 2**64) + (pixel + 1) * 0x9E3779B97F4A7C15) % 2**64) for pixel in range(20)]
    signed = [lot - 2**64 if lot >= 2**63 else lot for lot in lots]
    expected = sorted(range(20), key=lambda pixel: signed[pixel])
    assert metrics.ranking(torch.zeros(1, 4, 5), torch.tensor([key]))[0].tolist() == expected


def test_both_zeros_tie() -> None:
    keys = torch.arange(50)
    minus = torch.tensor([0.0, -0.0]).view(1, 1, 2).expand(50, 1, 2)
    assert torch.equal(metrics.ranking(minus, keys), metrics.ranking(torch.zeros(50, 1, 2), keys))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_is_refused_with_its_position(value: float) -> None:
    maps = torch.zeros(3, 2, 2)
    maps[1, 0, 0] = value
    with pytest.raises(ValueError, match=r"maps at positions \[1\] hold NaN"):
        metrics.ranking(maps, torch.arange(3))
    with pytest.raises(ValueError, match=r"maps at positions \[1\] hold NaN"):
        metrics.auprc(maps, torch.ones(3, 2, 2, dtype=torch.bool))


@pytest.mark.parametrize(
    ("steps", "batch_size", "message"), [(0, 1, "steps is 0"), (17, 1, "steps is 17"), (4, 0, "batch_size is 0")]
)
def test_impossible_settings_are_refused_by_value(steps: int, batch_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}; allowed: 1"):
        curves(RAMP, steps=steps, batch_size=batch_size)


def test_substitutes_of_another_shape_are_refused_and_never_broadcast() -> None:
    one, image = torch.tensor([0]), torch.ones(1, 1, 4, 4)
    small = torch.zeros(1, 1, 2, 2)
    with pytest.raises((ValueError, TypeError), match=r"substitutes"):  # TypeError: where jaxtyping's hook checks first
        metrics.deletion_auc(share_of_ramp, image, RAMP, one, small, steps=4, keys=one, batch_size=1)


def random_pairs(levels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return six maps of few levels (ties) and masks that are neither empty nor full."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(-1, levels, (6, 5, 7), generator=generator).float()
    return maps, torch.rand(6, 5, 7, generator=generator) < 0.3


def test_localization_of_a_small_map_is_the_hand_computed_one() -> None:
    maps = torch.tensor([[[4.0, 3.0], [2.0, -5.0]]])
    mask = torch.tensor([[[True, False], [True, False]]])
    assert metrics.relevance_mass_accuracy(maps, mask).item() == pytest.approx(6 / 9)
    assert metrics.relevance_rank_accuracy(maps, mask).item() == 0.5
    assert metrics.pointing_game(maps, mask).item() == 1
    assert metrics.auprc(maps, mask).item() == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.chance(mask).item() == 0.5
    assert metrics.lift(metrics.pointing_game(maps, mask), metrics.chance(mask)).item() == 2


@pytest.mark.parametrize("levels", [1, 2, 4, 1000])
def test_auprc_is_the_average_precision_of_scikit_learn(levels: int) -> None:
    maps, masks = random_pairs(levels)
    expected = [average_precision_score(mask.flatten(), view.flatten()) for view, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(metrics.auprc(maps, masks), expected, rtol=1e-6)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_tied_ranks_score_the_mean_over_random_orders(seed: int, levels: int) -> None:
    maps, masks = random_pairs(levels, seed)
    masks[:, 0, 0] = True
    size = masks.sum((1, 2))
    orders = metrics.ranking(maps.repeat(300, 1, 1), torch.arange(1800))
    hits = masks.flatten(1).repeat(300, 1).gather(1, orders).double().view(300, 6, 35)
    among = (hits * (torch.arange(35) < size[:, None])).sum(2) / size
    np.testing.assert_allclose(metrics.pointing_game(maps, masks), hits[:, :, 0].mean(0), atol=0.15)
    np.testing.assert_allclose(metrics.relevance_rank_accuracy(maps, masks), among.mean(0), atol=0.15)


@pytest.mark.parametrize("metric", BY_RANK)
def test_a_flat_map_scores_exactly_chance(metric: Localization) -> None:
    _, masks = random_pairs(2)
    torch.testing.assert_close(metric(torch.zeros(6, 5, 7), masks), metrics.chance(masks))


@pytest.mark.parametrize("metric", LOCALIZATION)
def test_the_mask_itself_scores_one_and_its_reverse_far_less(metric: Localization) -> None:
    _, masks = random_pairs(2)
    assert metric(masks.float(), masks).tolist() == [1.0] * 6
    assert (metric((~masks).float(), masks) < 0.5).all()


@pytest.mark.parametrize("metric", BY_RANK)
def test_a_monotone_transform_changes_no_rank_metric(metric: Localization) -> None:
    maps, masks = random_pairs(6)
    assert torch.equal(metric(maps, masks), metric((maps / 3).exp() - 20, masks))


def test_a_monotone_transform_changes_no_curve() -> None:
    assert torch.equal(curves(RAMP)[0], curves((RAMP / 9).exp())[0])


@pytest.mark.parametrize("metric", LOCALIZATION)
def test_localization_is_the_same_alone_in_a_batch_and_shuffled(metric: Localization) -> None:
    maps, masks = random_pairs(3)
    together = metric(maps * 0.1, masks)
    assert torch.equal(together, torch.cat([metric(maps[[row]] * 0.1, masks[[row]]) for row in range(6)]))
    shuffled = torch.tensor([4, 0, 5, 2, 1, 3])
    assert torch.equal(together[shuffled], metric(maps[shuffled] * 0.1, masks[shuffled]))


@pytest.mark.parametrize("metric", LOCALIZATION)
def test_an_empty_mask_has_no_score_and_a_full_one_scores_one(metric: Localization) -> None:
    maps = torch.rand(2, 3, 3) + 0.1
    masks = torch.stack([torch.zeros(3, 3, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool)])
    values = metric(maps, masks)
    assert values.isnan().tolist() == [True, False]
    assert values[1] == 1
    assert metrics.lift(values, metrics.chance(masks)).isnan().tolist() == [True, False]


def test_a_map_with_nothing_positive_has_no_mass() -> None:
    masks = torch.eye(3, dtype=torch.bool)[None].expand(2, 3, 3)
    maps = torch.stack([torch.zeros(3, 3), -torch.ones(3, 3)])
    assert metrics.relevance_mass_accuracy(maps, masks).isnan().all()
