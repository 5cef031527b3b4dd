"""Peers that only ask for scores.

They take parts of a view away and look what happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from pcim.attribution.peers.batch import Batch, generator, own_randomness
from pcim.classifiers.log_odds import target_probability

if TYPE_CHECKING:
    from pcim.classifiers.forward import Forward
    from pcim.config.methods import PeerSettings

# Perturbed copies a forward pass: one shape for every view, so that a map never depends on the batch it came in.
COPIES = 50
KEPT = 0.5  # the probability that a cell of a RISE mask is kept


def occlusion(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Mean loss of the logit over the squares that cover a pixel (Zeiler & Fergus 2014, arXiv 1311.2901)."""
    from captum.attr import Occlusion

    channels, side = batch.images.shape[1], min(settings.occlusion_px, *batch.images.shape[-2:])
    asked = {"sliding_window_shapes": (channels, side, side), "strides": (channels, side // 2, side // 2)}
    found = []
    for one in (batch.one(number) for number in range(len(batch.images))):
        with torch.no_grad():
            attribution = Occlusion(forward).attribute(
                one.images, baselines=one.backgrounds, target=one.targets, perturbations_per_eval=COPIES, **asked
            )
        found.append(attribution[:, :1])  # the square covers all channels: their maps are equal
    return torch.cat(found).detach().float()


def kernel_shap(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Shapley values of a grid of squares by weighted regression (Lundberg & Lee 2017, arXiv 1705.07874)."""
    from captum.attr import KernelShap

    return _by_segments(KernelShap(forward), batch, settings)


def lime(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Coefficients of a sparse linear model of the logit on a grid of squares (Ribeiro et al. 2016, arXiv 1602.04938)."""
    from captum.attr import Lime

    return _by_segments(Lime(forward), batch, settings)


def _by_segments(method: object, batch: Batch, settings: PeerSettings) -> Tensor:
    """Explain view by view, each from a generator of its own; Captum loops over the views of a batch anyway."""
    segments = squares(batch.images.shape[-2], batch.images.shape[-1], settings.segments).to(batch.images.device)
    found = []
    for number, key in enumerate(batch.keys):
        one = batch.one(number)
        with torch.no_grad(), own_randomness(key, one.images.device):
            attribution = method.attribute(  # type: ignore[attr-defined]
                one.images,
                one.backgrounds,
                target=one.targets,
                feature_mask=segments,
                n_samples=settings.segment_samples,
                perturbations_per_eval=COPIES,
            )
        found.append(attribution[:, :1].detach().float())
    return torch.cat(found)


def squares(height: int, width: int, along: int) -> Tensor:
    """Return a grid of `along` x `along` segments (1, 1, h, w), numbered from 0 by rows; views smaller than that have fewer."""
    row, column = (torch.arange(length) * along // length for length in (height, width))
    numbers: Tensor = (row[:, None] * along + column).unique(return_inverse=True)[1]
    return numbers[None, None]


@torch.no_grad()
def rise(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Mean of random smooth masks, weighted by the class's probability (Petsiuk et al. 2018, arXiv 1806.07421)."""
    maps = torch.zeros_like(batch.images[:, :1])
    for number, key in enumerate(batch.keys):
        one, lot = batch.one(number), generator(key)
        for start in range(0, settings.rise_masks, COPIES):
            masks = random_masks(COPIES, (one.images.shape[-2], one.images.shape[-1]), settings.rise_cells, lot).to(maps.device)
            blends = torch.addcmul(one.backgrounds, masks, one.images - one.backgrounds)
            p = forward(blends).softmax(1)[:, one.targets[0]]
            taken = min(COPIES, settings.rise_masks - start)  # the last batch keeps its shape
            maps[number] += (p[:taken, None, None, None] * masks[:taken]).sum(0)
    return maps / (settings.rise_masks * KEPT)


def random_masks(count: int, size: tuple[int, int], cells: int, lot: torch.Generator) -> Tensor:
    """Return masks (count, 1, h, w) in [0, 1], 1 = kept: a random grid, brought to size bilinearly and shifted at random."""
    h, w = size
    of_cell = -(-h // cells), -(-w // cells)
    grid = (torch.rand(count, 1, cells + 1, cells + 1, generator=lot) < KEPT).float()
    large = F.interpolate(grid, [(cells + 1) * side for side in of_cell], mode="bilinear", align_corners=False)
    top, left = (torch.randint(side, (count, 1), generator=lot) for side in of_cell)
    rows, columns = top + torch.arange(h), left + torch.arange(w)
    return large[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


def deletion_mask(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Find the smallest smooth region whose deletion takes the class away (Fong & Vedaldi 2017, arXiv 1704.03296).

    The mask m, 1 = kept, lies on a grid of 1/4 of the view and is brought to size bilinearly; Adam at 0.1 from m = 1/2 on
    (from 1 a certain classifier has no slope to follow)

        p_y(b + m * (x - b)) + area * mean(1 - m) + roughness * mean |grad m|
    """
    grid = [max(2, -(-length // 4)) for length in batch.images.shape[-2:]]
    coarse = torch.full((len(batch.images), 1, *grid), 0.5, device=batch.images.device).requires_grad_()
    optimiser = torch.optim.Adam([coarse], lr=0.1)
    for _ in range(settings.mask_steps):
        mask = F.interpolate(coarse, batch.images.shape[-2:], mode="bilinear", align_corners=False)
        logits = forward(torch.addcmul(batch.backgrounds, mask, batch.images - batch.backgrounds))
        p = target_probability(logits, batch.targets)
        rough = sum(coarse.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (-2, -1))
        loss = p + settings.mask_area * (1 - mask).mean((1, 2, 3)) + settings.mask_roughness * rough
        (coarse.grad,) = torch.autograd.grad(loss.sum(), [coarse])
        optimiser.step()
        with torch.no_grad():
            coarse.clamp_(0, 1)
    return 1 - F.interpolate(coarse.detach(), batch.images.shape[-2:], mode="bilinear", align_corners=False)
