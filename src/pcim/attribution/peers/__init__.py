"""The methods that PCIM is measured against, under the same call.

They are Captum's where Captum has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pcim.attribution.peers import controls, gradients, perturbations
from pcim.attribution.peers.batch import Batch, Method
from pcim.attribution.peers.controls import blur_map
from pcim.classifiers.forward import as_forward, checked_images, given_targets, key_of, resolve_targets
from pcim.composites.baselines import background_kind, two_backgrounds
from pcim.config.methods import NEEDS, PeerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

    from pcim.classifiers.contract import InputContract
    from pcim.classifiers.forward import OutputKind
    from pcim.config.methods import Background


__all__ = ["METHODS", "Batch", "Method", "Peer", "blur_map"]

METHODS: dict[str, Method] = {
    "saliency": Method(gradients.saliency, "absolute"),
    "input_x_gradient": Method(gradients.input_x_gradient, "absolute"),
    "integrated_gradients": Method(gradients.integrated_gradients, "absolute", compares=True),
    "gradient_shap": Method(gradients.gradient_shap, "absolute", compares=True),
    "deep_lift": Method(gradients.deep_lift, "absolute", compares=True),
    "guided_backprop": Method(gradients.guided_backprop, "absolute"),
    "smooth_grad": Method(gradients.smooth_grad, "absolute"),
    "grad_cam": Method(gradients.grad_cam, "positive"),
    "occlusion": Method(perturbations.occlusion, "positive", compares=True),
    "kernel_shap": Method(perturbations.kernel_shap, "positive", compares=True),
    "lime": Method(perturbations.lime, "positive", compares=True),
    "rise": Method(perturbations.rise, "positive", compares=True),
    "deletion_mask": Method(perturbations.deletion_mask, "positive", compares=True),
    "random": Method(controls.random, "positive"),
    "edge": Method(controls.edge, "positive"),
    "contrast": Method(controls.contrast, "positive"),
}
"""Every peer and control by its name in the config."""


class Peer:
    """One of `METHODS`, called as `pcim.PCIM` is.

    Parameters
    ----------
    method
        A name of `METHODS`.
    classifier, scores
        As for `pcim.PCIM`.
    background
        What deleted pixels become and what integrals start from: ``mean`` (0), ``blur``, a number or a tensor.
    blur
        Standard deviation of that blur, as a share of the image's height.
    settings
        The peers' own choices.
    batch_size
        Views at a time, the last batch filled up: maps are then equal bit for bit in any company. None: all at once.

    Raises
    ------
    ValueError
        When the method is unknown.
    TypeError
        When the method needs a gradient or layers that this classifier does not show; names the methods that are left.
    """

    def __init__(  # noqa: PLR0913 - a public constructor with defaults
        self,
        method: str,
        classifier: Any,
        *,
        background: Background | float | Tensor = "mean",
        blur: float = 0.125,
        settings: PeerSettings | None = None,
        scores: OutputKind = "logits",
        batch_size: int | None = None,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; allowed: {', '.join(METHODS)}")
        self.name, self.method = method, METHODS[method]
        self.forward = as_forward(classifier, scores=scores)
        self.background, self.blur, self.batch_size = background, blur, batch_size
        self._classes = self.forward.classes
        self.settings = settings or PeerSettings()
        offered = {"nothing", "scores"}
        offered |= {"gradient"} if self.forward.differentiable else set()
        offered |= {"layers"} if self.forward.kind == "module" else set()
        if NEEDS[method] not in offered:
            left = ", ".join(name for name in METHODS if NEEDS[name] in offered)
            kind = self.forward.kind
            raise TypeError(f"{method} needs {NEEDS[method]}; a classifier of kind {kind!r} shows none; allowed: {left}")

    def attribute(
        self,
        images: Float[Tensor, "b c h w"],
        target: int | Sequence[int] | Tensor | None = None,
        *,
        keys: Sequence[int] | None = None,
    ) -> Float[Tensor, "b 1 h w"]:
        """Return the attribution maps (b, 1, h, w), >= 0, higher = more important. Arguments and errors as `PCIM.learn`."""
        return self.channel_maps(images, target, keys=keys).sum(1, keepdim=True)

    def channel_maps(
        self,
        images: Float[Tensor, "b c h w"],
        target: int | Sequence[int] | Tensor | None = None,
        *,
        keys: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the maps a channel (b, c, h, w), or (b, 1, h, w) where the method has one for all, >= 0."""
        signed = self.signed_maps(images, target, keys=keys)
        return signed.abs() if self.method.sign == "absolute" else signed.clamp(min=0)

    def signed_maps(
        self,
        images: Float[Tensor, "b c h w"],
        target: int | Sequence[int] | Tensor | None = None,
        *,
        keys: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the method's own signed answer (b, c or 1, h, w): > 0 speaks for the class."""
        images = checked_images(images)
        size = self.batch_size or len(images)
        keys = [key_of(image) for image in images] if keys is None else list(keys)
        if len(keys) != len(images):
            raise ValueError(f"{len(keys)} keys for {len(images)} images; allowed: one each")
        with self.forward.frozen_state():
            targets = self._targets(target, images, size)
            backgrounds = two_backgrounds(images, self.background, self.blur)[1]
            every = Batch(images, targets, backgrounds, keys)
            parts = [
                self.method.function(self.forward, part, self.settings)
                for part in (every.part(start, size) for start in range(0, len(images), size))
            ]
        return torch.cat(parts)[: len(images)].float()

    def _targets(self, target: int | Sequence[int] | Tensor | None, images: Tensor, size: int) -> Tensor:
        """Return the class of each image; no pass is made for given ones, but one of one image where their range is not known yet."""
        if target is None:
            return resolve_targets(None, self.forward.in_batches(images, size, checked=True))
        self._classes = self._classes or self.forward.in_batches(images[:1], 1, checked=True).shape[1]
        return given_targets(target, len(images), self._classes, images.device)


def backgrounds_given(method: str, chosen: Background, contract: InputContract | None) -> set[str]:
    """Return the kinds of background that a method was given: fidelity with the same substitute is scored in-sample."""
    if method in {"pcim", "randomised_model"}:
        return {"mean", "blur"} if chosen == "auto" else {chosen}
    if method in METHODS and METHODS[method].compares:
        return {background_kind(chosen, contract)}
    return set()
