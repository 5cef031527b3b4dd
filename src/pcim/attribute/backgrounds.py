"""Backgrounds: what a pixel becomes at weight 0, and what a deleted pixel becomes in a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.attribute.blending import gaussian_blur

if TYPE_CHECKING:
    from pcim.config import Background
    from pcim.contract import InputContract


def make_background(
    images: Float[Tensor, "b c h w"], kind: Literal["mean", "blur"], blur: float
) -> Float[Tensor, "b c h w"]:
    """Return the background of normalised views: the training mean (0), or each view blurred by `blur` of its height.

    The mean is the training set's, from model.yaml, never the campaign's: an added plate must not change a map.
    """
    if kind == "mean":
        return torch.zeros_like(images)
    return gaussian_blur(images, blur * images.shape[-2])


def background_kind(chosen: Background, contract: InputContract) -> Literal["mean", "blur"]:
    """Return the kind of background that a setting means: ``auto`` is the mean for tiles, a heavy blur for whole fields.

    A light blur keeps a smooth gradient in the background and hides a shortcut that lies in it; the mean fails on one class
    of whole wells.
    """
    if chosen == "auto":
        return "blur" if contract.view == "field" else "mean"
    return chosen


def black(images: Float[Tensor, "b c h w"], contract: InputContract) -> Float[Tensor, "b c h w"]:
    """Return intensity 0 as the network sees it: the background of the literal preset."""
    pairs = zip(contract.mean, contract.std, strict=True)
    values = torch.tensor([-mean / std for mean, std in pairs], dtype=images.dtype, device=images.device)
    return values[:, None, None].expand_as(images)
