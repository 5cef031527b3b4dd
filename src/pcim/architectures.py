"""Networks that a model.yaml can name: the classifiers of the example campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class AverageAndMax(nn.Module):
    """Pool each feature map to its mean and its maximum: how much of a feature there is, and whether there is any."""

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b two_c"]:
        """Return the c means, then the c maxima."""
        return torch.cat([features.mean((-2, -1)), features.amax((-2, -1))], dim=1)


def small_cnn(channels: int, classes: int, width: int = 16) -> nn.Sequential:
    """Return four convolutions, pooled globally: images of `channels` channels in, `classes` logits out.

    Takes any height and width from 32 px. The first convolutions stride, so that a view costs a millisecond on a CPU;
    the last one (`features.conv4`, the layer for Grad-CAM) sees the image at one eighth: 17 x 22 for 130 x 174 px.

    Raises
    ------
    ValueError
        When a number of channels, classes or features is below 1.
    """
    for name, value in {"channels": channels, "classes": classes, "width": width}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; allowed: 1 or more")
    widths = [channels, width, 2 * width, 2 * width, 4 * width]
    strides = [2, 2, 1, 2]
    features = nn.Sequential()
    for number, stride in enumerate(strides, start=1):
        inside, outside = widths[number - 1], widths[number]
        size = 5 if number == 1 else 3
        features.add_module(f"conv{number}", nn.Conv2d(inside, outside, size, stride, size // 2, bias=False))
        features.add_module(f"norm{number}", nn.BatchNorm2d(outside))
        features.add_module(f"relu{number}", nn.ReLU())  # one module a use: attribution hooks cannot share one
    network = nn.Sequential()
    network.add_module("features", features)
    network.add_module("pool", AverageAndMax())
    network.add_module("head", nn.Linear(2 * widths[-1], classes))
    return network
