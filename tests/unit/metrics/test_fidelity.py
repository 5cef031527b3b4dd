"""Fidelity: hand-computed curves, closed forms on linear classifiers, Captum, and numbers that do not depend on a view's company."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pcim import metrics
from pcim.metrics.random_removal import correlation, log_sizes

RAMP = torch.arange(1.0, 17.0).view(1, 4, 4)  # sums to 136
ONE = torch.tensor([0])


def share_of_ramp(images: Tensor) -> Tensor:
    """Classify into (share of the ramp's 136 that an image of ones and zeros holds, the rest): a linear probability."""
    share = (images[:, 0] * RAMP).sum((1, 2)) / RAMP.sum()
    return torch.stack([share.log(), (1 - share).log()], dim=1)


def linear(images: Tensor) -> Tensor:
    """Classify by log-odds that are linear in the pixels: the ramp's weights."""
    odds = (images[:, 0] * RAMP.to(images)).sum((1, 2))
    return torch.stack([odds, torch.zeros_like(odds)], dim=1)


def probe_of(classify: metrics.Classify = share_of_ramp, batch_size: int = 3) -> metrics.Probe:
    return metrics.Probe(classify, torch.ones(1, 1, 4, 4), ONE, batch_size)


def ramp_curves(maps: Tensor = RAMP, batch_size: int = 3, **asked: Any) -> metrics.Curves:
    """Return the curves of an image of ones over a substitute of zeros."""
    probe = probe_of(batch_size=batch_size)
    fill = metrics.FixedFill(probe.images, torch.zeros(1, 1, 4, 4))
    given = {"steps": 4, "shares": (), "keys": ONE} | asked
    return metrics.curves(probe, maps, ONE, {"zeros": fill}, **given)["zeros"]


def small_network(channels: int = 2) -> metrics.Classify:
    torch.manual_seed(1)
    layers = torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(96, 3))
    return layers.eval()


def test_both_curves_of_a_linear_probability_are_the_hand_computed_ones() -> None:
    found = ramp_curves()
    assert (136 * found.deletion[0]).tolist() == pytest.approx([136, 78, 36, 10, 0], abs=1e-4)
    assert (136 * found.insertion[0]).tolist() == pytest.approx([0, 58, 100, 126, 136], abs=1e-4)


def test_what_is_read_from_the_curves_is_the_hand_computed_number() -> None:
    found = ramp_curves(shares=(0.25, 0.5))
    by_trapezoids = (136 / 2 + 78 + 36 + 10) / 136 / 4  # 0.353
    assert float(metrics.deletion_auc(found)) == pytest.approx(by_trapezoids)
    assert float(metrics.insertion_auc(found)) == pytest.approx(1 - by_trapezoids)  # for this classifier alone
    both = metrics.morf_lerf(found)
    assert float(both.aopc_morf) == pytest.approx((0 + 58 + 100 + 126 + 136) / 136 / 5)  # Samek et al. 2017, equation 12
    assert float(both.aopc_lerf) == pytest.approx((136 + 78 + 36 + 10 + 0) / 136 / 5)
    assert float(both.gain) == pytest.approx(1 - 2 * by_trapezoids)
    assert float(metrics.road(found)) == pytest.approx(((58 - 78) + (100 - 36) + (126 - 10)) / 136 / 3)
    assert float(metrics.comprehensiveness(found, (0.25, 0.5))) == pytest.approx((58 + 100) / 2 / 136)
    assert float(metrics.sufficiency(found, (0.25, 0.5))) == pytest.approx((78 + 36) / 2 / 136)


def test_points_that_are_not_even_are_weighed_by_the_pixels_between_them() -> None:
    found = ramp_curves(steps=3)
    assert (136 * found.deletion[0]).tolist() == pytest.approx([136, 66, 21, 0], abs=1e-4)  # after 5, 10 and 16 pixels
    by_trapezoids = ((136 + 66) / 2 * 5 + (66 + 21) / 2 * 5 + 21 / 2 * 6) / 136 / 16
    assert float(metrics.deletion_auc(found)) == pytest.approx(by_trapezoids)
    more = ramp_curves(steps=3, shares=(0.125,))
    assert more.counts == (0, 2, 5, 10, 16)
    assert [more.counts[n] for n in more.even] == [0, 5, 10, 16]
    assert torch.equal(metrics.morf_lerf(more).aopc_morf, metrics.morf_lerf(found).aopc_morf)


def test_a_share_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shares \[0.1\] are no points of these curves; there are \['0', '0.25'"):
        metrics.sufficiency(ramp_curves(), (0.1, 0.25))


def test_a_perfect_map_beats_a_random_one_and_an_inverted_map_is_worst() -> None:
    noise = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = [ramp_curves(maps) for maps in (RAMP, noise, -RAMP)]
    assert all(a < b for a, b in pairwise(float(metrics.deletion_auc(one)) for one in found))
    for metric in (metrics.insertion_auc, lambda c: metrics.morf_lerf(c).gain, metrics.road):
        assert all(a > b for a, b in pairwise(float(metric(one)) for one in found))


@pytest.mark.parametrize(("maps_a_view", "fills"), [(1, 1), (3, 1), (2, 3)])
def test_each_forward_pass_is_paid_once_in_batches_of_the_one_recorded_size(maps_a_view: int, fills: int) -> None:
    sizes: list[int] = []

    def counting(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.flatten(1)[:, :2]

    images, views = torch.rand(3, 1, 4, 4), torch.arange(3).repeat(maps_a_view)
    probe = metrics.Probe(counting, images, torch.zeros(3, dtype=torch.long), 8)
    fill = metrics.FixedFill(images, torch.zeros_like(images))
    maps = torch.rand(len(views), 4, 4)
    asked = dict.fromkeys(map(str, range(fills)), fill)
    metrics.curves(probe, maps, views, asked, keys=views, steps=4, shares=(0.25, 0.5))
    stream = fills * (len(views) * 2 * 3 + 3)  # inner points of both curves, and the substitute alone
    assert sizes == [8] * (-(-stream // 8) + 1)  # and the views as they are
    sizes.clear()
    metrics.removals(probe, fill, keys=torch.arange(3), sizes=[2, 5], sets=4)
    assert sizes == [8] * 3  # 3 views x 2 sizes x 4 sets; the views as they are were asked before


@pytest.mark.parametrize("kind", ["fixed", "imputed"])
def test_a_view_scores_the_same_alone_in_a_batch_shuffled_and_in_other_batches(kind: str) -> None:
    network, generator = small_network(), torch.Generator().manual_seed(3)
    images = torch.rand(5, 2, 6, 8, generator=generator)
    maps = torch.randint(0, 4, (5, 6, 8), generator=generator).float()  # many ties
    targets, keys = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([7, -(2**63), 2**63 - 1, 0, 12])

    def score(rows: list[int], batch_size: int = 4) -> Tensor:
        x, m, y, k = (part[rows] for part in (images, maps, targets, keys))
        fill: metrics.Fill = metrics.ImputedFill(x, k)
        if kind == "fixed":
            fill = metrics.FixedFill(x, x.mean((2, 3), keepdim=True).expand_as(x))
        probe, views = metrics.Probe(network, x, y, batch_size), torch.arange(len(rows))
        found = metrics.curves(probe, m, views, {"": fill}, steps=7, keys=k)[""]
        taken = metrics.removals(probe, fill, keys=k, sets=5, cell_px=2)
        return torch.cat([found.deletion, found.insertion, taken.drops.flatten(1)], dim=1)

    together = score([0, 1, 2, 3, 4])
    torch.testing.assert_close(torch.cat([score([row]) for row in range(5)]), together, rtol=0, atol=1e-6)
    torch.testing.assert_close(score([3, 0, 4, 1, 2]), together[[3, 0, 4, 1, 2]], rtol=0, atol=1e-6)
    # another shape of the batch adds a logit's 96 terms in another order: up to 4e-7 was seen
    torch.testing.assert_close(score([0, 1, 2, 3, 4], 16), together, rtol=0, atol=5e-6)


def test_the_curves_ask_without_gradients_and_leave_the_inputs_alone() -> None:
    image = torch.ones(1, 1, 4, 4, requires_grad=True)
    probe = metrics.Probe(share_of_ramp, image, ONE, 1)
    fill = metrics.FixedFill(image, torch.zeros(1, 1, 4, 4))
    found = metrics.curves(probe, RAMP, ONE, {"": fill}, steps=4, keys=ONE)[""]
    assert not found.deletion.requires_grad
    assert torch.equal(image, torch.ones(1, 1, 4, 4))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_a_monotone_transform_changes_no_curve(seed: int) -> None:
    maps = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(ramp_curves(maps).deletion, ramp_curves((maps.double() * 3).exp() - 20).deletion)


@pytest.mark.parametrize(("steps", "message"), [(0, "steps is 0"), (17, "steps is 17")])
def test_impossible_steps_are_refused_by_value(steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}; allowed: 1"):
        ramp_curves(steps=steps)


def test_impossible_batches_shares_and_shapes_are_refused_by_value() -> None:
    with pytest.raises(ValueError, match="batch_size is 0; allowed: 1"):
        probe_of(batch_size=0)
    with pytest.raises(ValueError, match=r"shares \[0.0, 1.5\]; allowed: above 0, to 1"):
        ramp_curves(shares=(0.0, 0.5, 1.5))
    with pytest.raises(ValueError, match=r"allowed: a view's number a map, and maps of \(4, 4\)"):
        ramp_curves(torch.zeros(1, 2, 2))
    with pytest.raises((ValueError, TypeError), match="substitutes"):  # TypeError: where jaxtyping's hook checks first
        metrics.FixedFill(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("cell_px", [1, 2, 3])
def test_an_exact_map_of_a_linear_classifier_is_perfect(cell_px: int) -> None:
    probe = probe_of(linear)
    fill = metrics.FixedFill(probe.images, torch.zeros(1, 1, 4, 4))
    found = metrics.removals(probe, fill, keys=ONE, sets=8, cell_px=cell_px)
    assert metrics.sensitivity_n(RAMP, ONE, found).item() == pytest.approx(1)
    assert metrics.sensitivity_n(-RAMP, ONE, found).item() == pytest.approx(-1)
    assert metrics.faithfulness_correlation(RAMP, ONE, found, found.sizes[1]).item() == pytest.approx(1)
    assert metrics.infidelity(RAMP, ONE, found, scaled=False).item() == pytest.approx(0, abs=1e-6)
    assert metrics.infidelity(7 * RAMP, ONE, found).item() == pytest.approx(0, abs=1e-6)


def test_what_does_not_vary_has_no_correlation_and_is_told_apart() -> None:
    """A map that says the same of every set knows nothing (0); a classifier that loses nothing has nothing to be known (NaN)."""
    varied, flat = torch.tensor([[[1.0, 2.0, 4.0]]]), torch.full((1, 1, 3), 0.1)
    assert correlation(varied, varied).item() == pytest.approx(1)
    assert correlation(varied, -varied).item() == pytest.approx(-1)
    assert correlation(flat, varied).item() == 0
    assert correlation(varied, flat).isnan().item()
    assert correlation(flat, flat).isnan().item()


def test_removal_metrics_of_another_map_are_the_hand_computed_ones() -> None:
    probe = probe_of(linear)
    fill = metrics.FixedFill(probe.images, torch.zeros(1, 1, 4, 4))
    found = metrics.removals(probe, fill, keys=ONE, sizes=[3, 6], sets=5)
    other = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(2))
    said = (found.removed[0] * other[0].double()).sum((-2, -1)).numpy()
    lost = (found.removed[0] * RAMP[0]).sum((-2, -1)).double().numpy()
    assert (found.removed.sum((-2, -1))[0] == torch.tensor([[3], [6]])).all()
    np.testing.assert_allclose(found.drops[0], lost, atol=1e-4)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(said, lost, strict=True)]
    assert metrics.sensitivity_n(other, ONE, found).item() == pytest.approx(np.mean(r), abs=1e-6)
    assert metrics.faithfulness_correlation(other, ONE, found, 6).item() == pytest.approx(r[1], abs=1e-6)
    assert metrics.infidelity(other, ONE, found, scaled=False).item() == pytest.approx(((said - lost) ** 2).mean())
    cosine = (said * lost).sum() / np.sqrt((said**2).sum() * (lost**2).sum())
    assert metrics.infidelity(other, ONE, found).item() == pytest.approx(1 - cosine**2, abs=1e-6)


def test_infidelity_is_that_of_captum_for_the_same_sets() -> None:
    network, generator = small_network(1), torch.Generator().manual_seed(5)
    images = torch.rand(2, 1, 6, 8, generator=generator)
    maps, targets = torch.randn(2, 6, 8, generator=generator), torch.tensor([0, 2])
    probe = metrics.Probe(network, images, targets, 4)
    fill = metrics.FixedFill(images, torch.zeros_like(images))
    found = metrics.removals(probe, fill, keys=torch.tensor([1, 2]), sets=6, cell_px=2)
    removed = found.removed.flatten(1, 2).repeat_interleave(2, -2).repeat_interleave(2, -1).float()  # (2, n, 6, 8)
    numbers = iter(range(removed.shape[1]))

    def perturb(x: Tensor) -> tuple[Tensor, Tensor]:
        taken = removed[:, next(numbers), None]
        return taken, x * (1 - taken)  # what the map is multiplied by, and the view without it

    def odds(x: Tensor) -> Tensor:
        logits = network(x)
        others = logits.scatter(1, targets[:, None], -torch.inf).logsumexp(1)
        return logits.gather(1, targets[:, None])[:, 0] - others

    expected = captum_infidelity(odds, perturb, images, maps[:, None], n_perturb_samples=removed.shape[1], max_examples_per_batch=2)
    assert next(numbers, None) is None
    torch.testing.assert_close(metrics.infidelity(maps, torch.arange(2), found, scaled=False), expected.float())


def test_a_flat_map_explains_nothing_and_a_deaf_classifier_cannot_be_explained() -> None:
    probe = probe_of(linear)
    fill = metrics.FixedFill(probe.images, torch.zeros(1, 1, 4, 4))
    found = metrics.removals(probe, fill, keys=ONE, sizes=[4], sets=6)
    flat = torch.full((1, 4, 4), 0.1)
    assert metrics.sensitivity_n(flat, ONE, found).item() == 0
    assert metrics.infidelity(torch.zeros(1, 4, 4), ONE, found).item() == 1
    nothing = metrics.removals(probe, metrics.FixedFill(probe.images, probe.images), keys=ONE, sizes=[4], sets=6)
    for value in (metrics.sensitivity_n(RAMP, ONE, nothing), metrics.infidelity(RAMP, ONE, nothing)):
        assert value.isnan().all()


def test_impossible_sets_are_refused_by_value() -> None:
    probe = probe_of(linear)
    fill = metrics.FixedFill(probe.images, torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="sets is 1, cell_px 1; allowed: 2 or more sets"):
        metrics.removals(probe, fill, keys=ONE, sets=1)
    with pytest.raises(ValueError, match=r"sizes \[0, 17\]; allowed: 1 to the number of cells, 16"):
        metrics.removals(probe, fill, keys=ONE, sizes=[0, 3, 17])
    with pytest.raises(ValueError, match=r"size is 3; allowed: one of \[4\]"):
        metrics.faithfulness_correlation(RAMP, ONE, metrics.removals(probe, fill, keys=ONE, sizes=[4]), 3)
    assert log_sizes(256) == [1, 3, 8, 23, 67, 192]
    assert log_sizes(1) == [1]
