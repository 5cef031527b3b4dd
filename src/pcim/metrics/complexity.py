"""Numbers for how many pixels a map is spread over.

They say nothing about truth; a wrong map can be simple.
"""

from __future__ import annotations

import torch
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.metrics.pixel_ranks import finite


def gini(maps: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return Gini's index of the absolute map, in [0, 1): 0 = equal everywhere, near 1 = one pixel.

    Chalasani et al. 2020, arXiv 1810.06583.

    NaN for a map of zeros.
    """
    values = finite(maps).flatten(1).abs().double().sort(dim=1).values
    n = values.shape[1]
    weights = 2 * torch.arange(1, n + 1, device=maps.device).double() - n - 1
    return ((weights * values).sum(1) / (n * values.sum(1))).float()


def entropy(maps: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the entropy of the absolute map as a distribution over pixels, nats, 0 to ln(h w) (Bhatt et al. 2020, arXiv 2005.00631).

    NaN for a map of zeros.
    """
    values = finite(maps).flatten(1).abs().double()
    p = values / values.sum(1, keepdim=True)
    spread: Tensor = -torch.special.xlogy(p, p).sum(1)
    return spread.float()


def effective_area(maps: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return the share of the view over which an even map of the same entropy would be spread, in (0, 1]."""
    return (entropy(maps).double().exp() / maps[0].numel()).float()
