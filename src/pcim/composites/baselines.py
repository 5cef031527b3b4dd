"""Backgrounds: what a pixel becomes at weight 0, and what a deleted pixel becomes in a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

if TYPE_CHECKING:
    from pcim.classifiers.contract import InputContract
    from pcim.config.methods import Background
    from pcim.config.stages import Substitute

Backgrounds = tuple[Tensor, Tensor]
"""The background that keep lies over and the one that drop sinks into, (b, c, h, w) each."""


def make_background(images: Float[Tensor, "b c h w"], kind: Substitute, blur: float) -> Float[Tensor, "b c h w"]:
    """Return normalised views without what is in them.

    ``mean`` is the training mean (0), ``blur`` each view blurred by `blur` of its height, ``median`` each channel's median of
    the view. The mean is the training set's, from model.yaml, never the campaign's: an added plate must not change a map.
    """
    if kind == "mean":
        return torch.zeros_like(images)
    if kind == "median":
        return images.flatten(2).median(dim=2).values[..., None, None].expand_as(images)
    return gaussian_blur(images, blur * images.shape[-2])


def two_backgrounds(images: Float[Tensor, "b c h w"], chosen: Background | float | Tensor, blur: float) -> Backgrounds:
    """Return the backgrounds of keep and of drop for PCIM.

    ``auto``: keep lies over the view's own blur, drop sinks into the training mean. What a classifier needs to see must
    stand out from its surroundings; what it must not see any more must really be gone, and a blur leaves a ghost of it.
    ``mean`` and ``blur`` use one kind for both, a number or a tensor (that broadcasts to the images) stands for itself.

    Raises
    ------
    ValueError
        When a tensor does not broadcast to the images, or a word is unknown.
    """
    if isinstance(chosen, Tensor | float | int):
        background = torch.as_tensor(chosen, dtype=images.dtype, device=images.device)
        try:
            background = background.expand_as(images)
        except RuntimeError as error:
            raise ValueError(
                f"background is {tuple(background.shape)}; allowed: what broadcasts to images {tuple(images.shape)}"
            ) from error
        return background, background
    if chosen not in {"auto", "mean", "blur"}:
        raise ValueError(f"background is {chosen!r}; allowed: 'auto', 'mean', 'blur', a number or a tensor")
    of_keep = make_background(images, "mean" if chosen == "mean" else "blur", blur)
    return of_keep, of_keep if chosen == "blur" else make_background(images, "mean", blur)


def background_kind(chosen: Background, contract: InputContract | None) -> Literal["mean", "blur"]:
    """Return the kind of background that a peer compares with: ``auto`` is a heavy blur for whole fields, the mean for all else.

    A light blur keeps a smooth gradient in the background and hides a shortcut that lies in it; the mean fails on one class
    of whole wells.
    """
    if chosen == "auto":
        return "blur" if contract is not None and contract.view == "field" else "mean"
    return chosen


def black(images: Float[Tensor, "b c h w"], contract: InputContract) -> Float[Tensor, "b c h w"]:
    """Return intensity 0 as the network sees it: the background of the literal preset."""
    pairs = zip(contract.mean, contract.std, strict=True)
    values = torch.tensor([-mean / std for mean, std in pairs], dtype=images.dtype, device=images.device)
    return values[:, None, None].expand_as(images)


def gaussian_blur(images: Float[Tensor, "b c h w"], sigma_px: float) -> Float[Tensor, "b c h w"]:
    """Blur by a Gaussian of `sigma_px` (0 returns the input), edges reflected; the kernel ends at 3 sigma.

    For backgrounds and substitutes: of any width, once a view.
    """
    if sigma_px <= 0:
        return images
    for axis in (-2, -1):
        images = _blur_axis(images, sigma_px, axis)
    return images


def _blur_axis(images: Tensor, sigma_px: float, axis: int) -> Tensor:
    radius = min(max(1, round(3 * sigma_px)), images.shape[axis] - 1)
    position = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (position / sigma_px) ** 2)
    kernel /= kernel.sum()
    padding = (0, 0, radius, radius) if axis == -2 else (radius, radius, 0, 0)  # noqa: PLR2004 - the y axis
    shape = (1, 1, -1, 1) if axis == -2 else (1, 1, 1, -1)  # noqa: PLR2004
    b, c = images.shape[:2]
    wide = F.pad(images, padding, mode="reflect").reshape(b * c, 1, *_grown(images, radius, axis))
    return F.conv2d(wide, kernel.reshape(shape)).reshape(images.shape)


def _grown(images: Tensor, radius: int, axis: int) -> tuple[int, int]:
    h, w = images.shape[-2:]
    return (h + 2 * radius, w) if axis == -2 else (h, w + 2 * radius)  # noqa: PLR2004
