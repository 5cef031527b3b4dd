"""The backgrounds that a pixel becomes at weight 0, or when a metric deletes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.composites.gaussian_blur import gaussian_blur

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
    return gaussian_blur(images, blur * images.shape[-2], edges="reflect")


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
