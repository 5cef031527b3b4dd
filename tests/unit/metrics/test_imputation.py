"""Substitutes: what is left stays, what is removed is what the substitute says, and nothing depends on a view's company."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pcim import metrics


def views(seed: int = 0, size: tuple[int, int] = (9, 14)) -> tuple[Tensor, Tensor]:
    """Return four views of two channels, and removed pixels of another share in each: none, few, most, all."""
    lot = torch.Generator().manual_seed(seed)
    images = 5 + 3 * torch.randn(4, 2, *size, generator=lot)
    return images, torch.rand(4, *size, generator=lot) < torch.tensor([0.0, 0.2, 0.9, 1.0])[:, None, None]


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 20))
def test_what_is_left_stays_and_what_is_imputed_lies_between(seed: int, height: int, width: int) -> None:
    images, removed = views(seed, (height, width))
    found = metrics.impute(images, removed, tolerance=1e-4)
    is_left = ~removed[:, None].expand_as(images)
    assert torch.equal(found[is_left], images[is_left])
    for image, made, mask in zip(images, found, removed, strict=True):
        for channel, filled in zip(image, made, strict=True):
            known = channel[~mask] if (~mask).any() else channel.mean()[None]
            slack = 0.02 * float(channel.std()) if channel.numel() > 1 else 1e-6
            assert known.min() - slack <= filled.min()
            assert filled.max() <= known.max() + slack


def test_a_plane_is_imputed_exactly_inside_and_a_view_without_pixels_becomes_its_mean() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(15.0), indexing="ij")
    plane = (2 * y - x)[None, None].double()
    hole = torch.zeros(1, 12, 15, dtype=torch.bool)
    hole[0, 3:9, 2:12] = True
    torch.testing.assert_close(metrics.impute(plane, hole, tolerance=1e-9), plane, atol=1e-6, rtol=0)
    nothing = metrics.impute(plane, torch.ones_like(hole))
    torch.testing.assert_close(nothing, plane.mean().expand_as(plane))


def test_imputation_is_the_same_alone_and_in_company() -> None:
    images, removed = views()
    fill = metrics.ImputedFill(images, torch.tensor([3, 4, 5, 6]))
    together = fill(torch.arange(4), removed)
    for row in range(4):
        torch.testing.assert_close(fill(torch.tensor([row]), removed[[row]])[0], together[row], rtol=0, atol=1e-5)


def test_noise_is_the_views_own_and_only_where_pixels_are_removed() -> None:
    images, removed = views()
    quiet, noisy = (metrics.ImputedFill(images, torch.arange(4), noise=noise)(torch.arange(4), removed) for noise in (0.0, 0.1))
    changed = noisy - quiet
    assert (changed[~removed[:, None].expand_as(changed)] == 0).all()
    assert changed[3].std() == pytest.approx(0.1 * images[3].flatten(1).std(1).mean().item(), rel=0.2)
    again = metrics.ImputedFill(images[[3]], torch.tensor([3]), noise=0.1)(torch.tensor([0]), removed[[3]])
    torch.testing.assert_close(again[0], noisy[3], rtol=0, atol=1e-5)


def test_a_noise_matched_background_has_the_views_median_and_grain() -> None:
    lot = torch.Generator().manual_seed(1)
    image = torch.full((1, 1, 64, 64), 7.0) + 0.5 * torch.randn(1, 1, 64, 64, generator=lot)
    image[..., 20:30, 20:30] += 40  # an object
    made = metrics.noise_matched(image, torch.tensor([9]))
    assert made.median().item() == pytest.approx(image.median().item(), abs=0.05)
    assert made.std().item() == pytest.approx(0.5, rel=0.2)
    assert torch.equal(made, metrics.noise_matched(image, torch.tensor([9])))
    assert not torch.equal(made, metrics.noise_matched(image, torch.tensor([10])))
