"""One optimisation step of the default preset, for a fixed number of views at once.

Nothing in it waits for the device. PCIM as implemented here follows the abstract of Siegismund et al., arXiv 2412.02275. The paper's
equations and tables are not public to us. docs/method.md specifies every formula below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.classifiers.log_odds import log_odds
from pcim.composites.gaussian_blur import gaussian_blur

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcim.config.methods import PcimSettings


SOFTNESS = 0.7
"""A pull of so many times the price of a pixel moves its weight at full speed; less, in proportion.

The sign alone (0) would turn the last bit of a gradient, which hangs on the shape of the batch, into a whole step."""
SETTLED = 0.005
"""A view has settled when its weights move less than this a step, on average; full speed is `learning_rate`."""


class Step:
    """The state of `slots` views, and the step that moves all of them; views share nothing.

    alpha (slots, 1, h, w) in [0, 1] starts at 1, the image itself, so that no random number is needed. A slot is empty,
    learning, or done; the weights of a done slot no longer move. `settled` marks those that ended before the last step.
    """

    def __init__(
        self,
        classify: Callable[[Tensor], Tensor],
        slots: int,
        shape: tuple[int, int, int],
        settings: PcimSettings,
        device: torch.device,
    ) -> None:
        c, h, w = shape
        self.classify, self.settings = classify, settings

        def state(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            form = torch.channels_last if len(shape) == 4 else torch.contiguous_format  # noqa: PLR2004 - b, c, h, w
            return torch.empty(shape, dtype=dtype, device=device, memory_format=form).zero_()

        self.images, self.to_keep, self.to_drop = (state(slots, c, h, w) for _ in range(3))
        self.targets = state(slots, dtype=torch.int64)
        self.both = state(2 * slots, c, h, w)
        self.alpha, self.velocity = state(slots, 1, h, w), state(slots, 1, h, w)
        self.evidence = state(slots, c, h, w)
        self.losses = state(slots, settings.steps)
        self.steps = state(slots, dtype=torch.int64)
        self.learning, self.settled = state(slots, dtype=torch.bool), state(slots, dtype=torch.bool)

    def load(
        self,
        slots: Int[Tensor, " n"],
        images: Float[Tensor, "n c h w"],
        backgrounds: tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]],
        targets: Int[Tensor, " n"],
    ) -> None:
        """Put new views into the given slots: images, the backgrounds of keep and of drop, and the classes to explain."""
        for place, values in (
            (self.images, images), (self.to_keep, images - backgrounds[0]), (self.to_drop, images - backgrounds[1]),
            (self.targets, targets),
        ):  # fmt: skip
            place.index_copy_(0, slots, values)
        for place, value in (
            (self.alpha, 1.0), (self.velocity, 0.0), (self.evidence, 0.0), (self.losses, torch.nan), (self.steps, 0),
            (self.learning, 1), (self.settled, 0),
        ):  # fmt: skip
            place.index_fill_(0, slots, value)

    @property
    def weights(self) -> Float[Tensor, "b 1 h w"]:
        """The weights w in [0, 1]: 1 = the pixel is kept, 0 = it became the background."""
        return gaussian_blur(self.alpha, self.settings.smooth_px, edges="symmetric")

    def __call__(self) -> None:
        """Move the weights of every learning view by one step: one forward and input-backward pass of keep and drop.

        The loss of a view is softplus(-m(keep)) + softplus(m(drop)) + area * mean(w), where m is the target's margin, the
        log-odds of its probability: softplus(-m) is the cross-entropy and softplus(m) is -log(1 - p). One backward pass of
        the margins serves the loss, by the chain rule, and the evidence, which a certain classifier would hide in the loss.
        """
        weights = self.weights
        both = self._blend(weights)
        margins = log_odds(self.classify(both), torch.cat([self.targets, self.targets]))
        (gradient,) = torch.autograd.grad(margins.sum(), [both])
        with torch.no_grad():
            self._move(weights, gradient, margins.detach())

    @torch.no_grad()
    def _blend(self, weights: Tensor) -> Tensor:
        """Return keep and drop as one batch (2 * slots, c, h, w), ready for a gradient."""
        slots = len(weights)
        torch.addcmul(self.images, weights - 1, self.to_keep, out=self.both[:slots])
        torch.addcmul(self.images, weights, self.to_drop, value=-1, out=self.both[slots:])
        return self.both.detach().requires_grad_()

    def _move(self, weights: Tensor, gradient: Tensor, margins: Tensor) -> None:
        slots, settings = len(weights), self.settings
        learning = self.learning.view(-1, 1, 1, 1).float()
        of_keep, of_drop = self.both[:slots], self.both[slots:]  # the blends are no longer needed: their memory is
        torch.mul(gradient[:slots], self.to_keep, out=of_keep)
        torch.mul(gradient[slots:], self.to_drop, out=of_drop)
        p_keep, p_drop = margins.sigmoid().view(2, -1, 1, 1, 1)
        pull = torch.addcmul((1 - p_keep) * _over_channels(of_keep), p_drop, _over_channels(of_drop))
        self.evidence.addcmul_(of_keep.add_(of_drop), learning)
        # In units of the price: +1 where the classifier does not care. The price's own gradient needs no smoothing.
        slope = 1 - gaussian_blur(pull, settings.smooth_px, edges="symmetric") * (pull[0].numel() / settings.area)
        self.velocity.lerp_(slope, 1 - settings.momentum)
        speed = (self.velocity / SOFTNESS).clamp_(-1, 1)
        moved = torch.addcmul(self.alpha, speed, learning, value=-settings.learning_rate).clamp_(0, 1)
        change = self.alpha.sub_(moved).abs_().mean((1, 2, 3))
        self.alpha.copy_(moved)
        self._note(weights, margins, change)

    def _note(self, weights: Tensor, margins: Tensor, change: Tensor) -> None:
        """Write the losses down, count the step, and end the views that have settled or reached the last step."""
        of_keep, of_drop = margins.chunk(2)
        loss = F.softplus(-of_keep) + F.softplus(of_drop) + self.settings.area * weights.mean((1, 2, 3))
        place = self.steps.clamp(max=self.losses.shape[1] - 1)[:, None]
        known = self.losses.gather(1, place)
        self.losses.scatter_(1, place, torch.where(self.learning[:, None], loss[:, None], known))
        self.steps += self.learning
        self.settled |= self.learning & (change < SETTLED)
        self.learning &= (self.steps < self.settings.steps) & ~self.settled


def _over_channels(products: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    return products.sum(1, keepdim=True) if products.shape[1] > 1 else products
