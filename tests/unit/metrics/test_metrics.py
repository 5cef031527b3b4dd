"""Order, localization and complexity: hand-computed numbers, oracles, and laws of every metric."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score  # type: ignore[import-untyped]
from torch import Tensor

from pcim import metrics

Localization = Callable[[Tensor, Tensor], Tensor]
LOCALIZATION = [
    metrics.relevance_mass_accuracy,
    metrics.relevance_rank_accuracy,
    metrics.pointing_game,
    metrics.auprc,
    metrics.iou,
    lambda maps, masks: metrics.top_k_intersection(maps, masks, 1),
    metrics.auroc,
]
BY_RANK = LOCALIZATION[1:]
OF_AREA = [*LOCALIZATION[1:4], lambda maps, masks: metrics.top_k_intersection(maps, masks, 7)]
"""Those of which a flat map scores the mask's share of the view."""


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


@pytest.mark.parametrize("metric", OF_AREA)
def test_a_flat_map_scores_exactly_chance(metric: Localization) -> None:
    _, masks = random_pairs(2)
    torch.testing.assert_close(metric(torch.zeros(6, 5, 7), masks), metrics.chance(masks))


def test_a_flat_map_scores_the_chance_of_auroc_and_iou_too() -> None:
    _, masks = random_pairs(2)
    flat = torch.zeros(6, 5, 7)
    assert metrics.auroc(flat, masks).tolist() == [0.5] * 6
    torch.testing.assert_close(metrics.iou(flat, masks), metrics.chance(masks, "iou"))
    assert metrics.chance(masks, "auroc").tolist() == [0.5] * 6


@pytest.mark.parametrize("levels", [1, 2, 4, 1000])
def test_auroc_is_the_area_of_scikit_learn(levels: int) -> None:
    maps, masks = random_pairs(levels)
    expected = [roc_auc_score(mask.flatten(), view.flatten()) for view, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(metrics.auroc(maps, masks), expected, rtol=1e-6)


@pytest.mark.parametrize("k", [0, 36])
def test_an_impossible_k_is_refused_by_value(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}; allowed: 1 to the number of pixels, 35"):
        metrics.top_k_intersection(*random_pairs(3), k)


def test_complexity_of_small_maps_is_the_hand_computed_one() -> None:
    maps = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, -8.0]], [[1.0, 2.0], [3.0, 4.0]], [[0.0] * 2] * 2])
    assert metrics.gini(maps)[:3].tolist() == pytest.approx([0, 3 / 4, (-3 * 1 - 1 * 2 + 1 * 3 + 3 * 4) / 40])
    assert metrics.entropy(maps)[:2].tolist() == pytest.approx([np.log(4), 0])
    assert metrics.effective_area(maps)[:2].tolist() == pytest.approx([1, 1 / 4])
    for metric in (metrics.gini, metrics.entropy, metrics.effective_area):
        assert metric(maps).isnan().tolist() == [False, False, False, True]
        torch.testing.assert_close(metric(maps * 1e6), metric(maps), equal_nan=True)


def test_normal_numbers_are_normal_and_those_of_their_key() -> None:
    from pcim.metrics.pixel_ranks import normal

    drawn = normal(torch.arange(5), 40_000)
    assert drawn.mean(1).abs().max() < 0.02
    assert (drawn.std(1) - 1).abs().max() < 0.02
    assert torch.equal(drawn[3:4, :100], normal(torch.tensor([3]), 40_000)[:, :100])
    assert float(torch.corrcoef(drawn).fill_diagonal_(0).abs().max()) < 0.02


@pytest.mark.parametrize("metric", LOCALIZATION)
def test_the_mask_itself_scores_one_and_its_reverse_far_less(metric: Localization) -> None:
    _, masks = random_pairs(2)
    assert metric(masks.float(), masks).tolist() == [1.0] * 6
    assert (metric((~masks).float(), masks) < 0.5).all()


@pytest.mark.parametrize("metric", BY_RANK)
def test_a_monotone_transform_changes_no_rank_metric(metric: Localization) -> None:
    maps, masks = random_pairs(6)
    assert torch.equal(metric(maps, masks), metric(maps**3 - 20, masks))  # of whole numbers: what ties, ties still


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
    assert values[0].isnan()
    assert values[1] == 1 or values[1].isnan()  # auroc: nothing is outside
    assert metrics.lift(values, metrics.chance(masks))[0].isnan()


def test_a_map_with_nothing_positive_has_no_mass() -> None:
    masks = torch.eye(3, dtype=torch.bool)[None].expand(2, 3, 3)
    maps = torch.stack([torch.zeros(3, 3), -torch.ones(3, 3)])
    assert metrics.relevance_mass_accuracy(maps, masks).isnan().all()
