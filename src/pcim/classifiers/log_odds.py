"""The log-odds and the probability of one class, from a classifier's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float, Int  # noqa: TC002 - tests check shapes at run time

if TYPE_CHECKING:
    from torch import Tensor


def log_odds(logits: Float[Tensor, "b k"], targets: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return each target's log-odds, log(p / (1 - p)), which docs/method.md calls its margin.

    As z_y - log(sum of exp(z) of the others) it is finite where p is 1 to the last digit.
    """
    others = logits.scatter(1, targets[:, None], float("-inf"))
    return logits.gather(1, targets[:, None])[:, 0] - others.logsumexp(1)


def target_probability(logits: Float[Tensor, "b k"], targets: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the softmax probability of each view's target, in [0, 1]."""
    return logits.softmax(1).gather(1, targets[:, None])[:, 0]
