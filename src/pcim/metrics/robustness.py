"""Numbers for whether a map stays where the view hardly changes, and changes with the classifier and the question.

`Explain` is any method that turns images (b, c, h, w) and targets (b,) into maps (b, h, w). Numbers are drawn by a view's key, never by a
global generator. A network is copied before it is changed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64  # noqa: TC002 - tests check shapes at run time
from torch import Tensor, nn

from pcim.classifiers.randomisation import randomise_layer_by_layer
from pcim.metrics.localization import tied_places
from pcim.metrics.pixel_ranks import finite, lots
from pcim.metrics.random_removal import correlation

Explain = Callable[[Tensor, Tensor], Tensor]


def agreement(first: Float[Tensor, "b h w"], second: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return Spearman's rank correlation of two maps of the same view, in [-1, 1]: of two methods, or of two classifiers.

    0 where the first is flat, NaN where the second is.
    """
    ranks = [_ranks(finite(maps).flatten(1))[:, None] for maps in (first, second)]
    return correlation(*ranks)[:, 0].float()


def max_sensitivity(  # noqa: PLR0913 - what the number depends on
    explain: Explain,
    images: Float[Tensor, "b c h w"],
    targets: Int64[Tensor, " b"],
    *,
    radius: float,
    keys: Int64[Tensor, " b"],
    samples: int = 10,
) -> Float[Tensor, " b"]:
    """Return the largest relative change of the map, |a(x + d) - a(x)| / |a(x)|, lower = better (Yeh et al. 2019, arXiv 1901.09392).

    Over `samples` changes d, uniform in [-radius, radius] for every pixel and channel; norms are Euclidean. NaN for a map of zeros.
    """
    start = finite(explain(images, targets)).flatten(1).double()
    worst = torch.zeros_like(start[:, 0])
    for number in range(samples):
        drawn = lots(keys ^ lots(keys, number + 1)[:, number], images[0].numel())
        change = (drawn.double() / 2**63 * radius).view_as(images).to(images.dtype)
        moved = finite(explain(images + change, targets)).flatten(1).double()
        worst = torch.maximum(worst, (moved - start).norm(dim=1) / start.norm(dim=1))
    return worst.float()


def parameter_randomisation(  # noqa: PLR0913 - what the number depends on
    explain_with: Callable[[nn.Module], Explain],
    network: nn.Module,
    images: Float[Tensor, "b c h w"],
    targets: Int64[Tensor, " b"],
    *,
    key: int,
    cascade: bool = True,
) -> dict[str, Float[Tensor, " b"]]:
    """Return, for each layer from the last to the first, the agreement of the map with that of the randomised network.

    A map that stays (near 1) shows the image, not the classifier. Spearman's, in [-1, 1] (Adebayo et al. 2018, arXiv 1810.03292).
    """
    learned = explain_with(network)(images, targets)
    return {
        name: agreement(explain_with(changed)(images, targets), learned)
        for name, changed in randomise_layer_by_layer(network, key=key, cascade=cascade)
    }


def random_target(
    explain: Explain,
    images: Float[Tensor, "b c h w"],
    targets: Int64[Tensor, " b"],
    *,
    classes: int,
    keys: Int64[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """Return the agreement of the map with that of another class, drawn by the view's key; near 1 = it ignores the question.

    Spearman's, in [-1, 1] (Sixt et al. 2020, arXiv 1912.09818). With two classes a map of what matters may rightly be the same for both.

    Raises
    ------
    ValueError
        With fewer than two classes.
    """
    if classes < 2:  # noqa: PLR2004 - there must be another one
        raise ValueError(f"classes is {classes}; allowed: 2 or more")
    others = (targets + 1 + (lots(keys, 1)[:, 0] >> 1).abs() % (classes - 1)) % classes
    return agreement(explain(images, others), explain(images, targets))


def _ranks(values: Tensor) -> Tensor:
    """Return every value's rank from 1 (b, n), tied ones sharing the mean."""
    ranked, order = values.sort(dim=1)
    first, last = tied_places(ranked)
    return torch.zeros_like(values, dtype=torch.float64).scatter(1, order, (first + last).double() / 2)
