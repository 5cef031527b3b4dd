"""Controls, which make a map without asking the classifier.

A method that does not beat them has told nothing about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from pcim.attribution.peers.batch import Batch, generator
from pcim.composites.gaussian_blur import gaussian_blur

if TYPE_CHECKING:
    from pcim.classifiers.forward import Forward
    from pcim.config.methods import PeerSettings


def random(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Uniform in [0, 1), drawn by the view's key."""
    maps = [torch.rand(batch.images[0, :1].shape, generator=generator(key)) for key in batch.keys]
    return torch.stack(maps).to(batch.images)


def edge(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Sobel magnitude of the view, a map a channel."""
    channels = batch.images.shape[1]
    sobel = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]], device=batch.images.device)
    kernels = torch.stack([sobel, sobel.T])[:, None].repeat(channels, 1, 1, 1)  # (2c, 1, 3, 3)
    gradients = F.conv2d(F.pad(batch.images, (1, 1, 1, 1), mode="replicate"), kernels, groups=channels)
    size = batch.images.shape
    return gradients.view(size[0], channels, 2, *size[-2:]).square().sum(2).sqrt()


def contrast(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Distance of the view from each channel's median, a map a channel."""
    median = batch.images.flatten(2).median(dim=2).values[..., None, None]
    return (batch.images - median).abs()


def blur_map(maps: Tensor, sigma_px: float) -> Tensor:
    """Return a method's own maps (b, c, h, w), blurred: what they are worth without their detail."""
    return gaussian_blur(maps, sigma_px, edges="reflect")
