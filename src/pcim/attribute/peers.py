"""PCIM and its peers under one signature, and the controls that never ask the classifier.

Every method returns maps >= 0 where higher = more important. Integrated gradients, Grad-CAM and occlusion are Captum's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from pcim.attribute.backgrounds import background_kind, black, make_background
from pcim.attribute.learning import Preset, learn

if TYPE_CHECKING:
    from pcim.config import AttributeSettings
    from pcim.models import Classifier


@dataclass(frozen=True)
class Batch:
    """Views to explain: normalised images (b, c, h, w), their targets (b,) and one fixed number each (b,)."""

    images: Tensor
    targets: Tensor
    numbers: list[int]


@dataclass(frozen=True)
class Attribution:
    """A method's answer: maps a channel (b, c or 1, h, w), >= 0; arrays stored beside the map; values for the ledger (b,)."""

    channel_maps: Tensor
    background: Tensor
    beside: dict[str, Tensor] = field(default_factory=dict)
    record: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0


MethodFunction = Callable[["Classifier", Batch, "AttributeSettings"], Attribution]


def _pcim(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:
    background = _default_background(classifier, batch, settings)
    return _learned(classifier, batch, background, Preset.default(settings.pcim))


def _pcim_literal(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:  # noqa: ARG001
    return _learned(classifier, batch, black(batch.images, classifier.contract.input), Preset.literal())


def _learned(classifier: Classifier, batch: Batch, background: Tensor, preset: Preset) -> Attribution:
    learned = learn(classifier, batch.images, background, batch.targets, preset)
    record = {name: getattr(learned, name) for name in ("loss_first", "loss_last", "p_keep", "p_drop")}
    return Attribution(learned.channel_maps, background, {"weights": learned.weights}, record, learned.steps)


def _default_background(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Tensor:
    kind = background_kind(settings.background, classifier.contract.input)
    return make_background(batch.images, kind, settings.blur)


def _integrated_gradients(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:
    from captum.attr import IntegratedGradients

    background = _default_background(classifier, batch, settings)
    attribution = IntegratedGradients(classifier).attribute(
        batch.images,
        background,
        target=batch.targets,
        n_steps=settings.ig_steps,
        internal_batch_size=4 * len(batch.images),
    )
    return Attribution(attribution.detach().abs().float(), background)


def _grad_cam(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:
    from captum.attr import LayerGradCam

    convolutions = [module for module in classifier.network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ValueError(f"grad_cam: {classifier.contract.architecture} has no Conv2d layer")
    images = batch.images.requires_grad_()  # frozen parameters: only the input can carry the gradient
    coarse = LayerGradCam(classifier.network, convolutions[-1]).attribute(
        images, target=batch.targets, relu_attributions=True
    )
    batch.images.requires_grad_(False)
    maps = F.interpolate(coarse.detach(), batch.images.shape[-2:], mode="bilinear", align_corners=False)
    return Attribution(maps, _default_background(classifier, batch, settings))


def _occlusion(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:
    from captum.attr import Occlusion

    background, side = _default_background(classifier, batch, settings), settings.occlusion_px
    channels = batch.images.shape[1]
    with torch.no_grad():
        attribution = Occlusion(classifier).attribute(
            batch.images,
            sliding_window_shapes=(channels, side, side),
            strides=(channels, side // 2, side // 2),
            baselines=background,
            target=batch.targets,
            perturbations_per_eval=8,
        )
    return Attribution(attribution[:, :1].clamp(min=0).float(), background)


def _random(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:
    maps = torch.empty_like(batch.images[:, :1])
    for place, number in zip(maps, batch.numbers, strict=True):
        generator = torch.Generator().manual_seed(number)  # on the CPU, so that every device gives the same map
        place.copy_(torch.rand(place.shape, generator=generator))
    return Attribution(maps, _default_background(classifier, batch, settings))


def _edge(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:
    channels = batch.images.shape[1]
    sobel = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]], device=batch.images.device)
    kernels = torch.stack([sobel, sobel.T])[:, None].repeat(channels, 1, 1, 1)  # (2c, 1, 3, 3)
    gradients = F.conv2d(F.pad(batch.images, (1, 1, 1, 1), mode="replicate"), kernels, groups=channels)
    size = batch.images.shape
    magnitude = gradients.view(size[0], channels, 2, *size[-2:]).square().sum(2).sqrt()
    return Attribution(magnitude, _default_background(classifier, batch, settings))


def _contrast(classifier: Classifier, batch: Batch, settings: AttributeSettings) -> Attribution:
    median = batch.images.flatten(2).median(dim=2).values[..., None, None]
    return Attribution((batch.images - median).abs(), _default_background(classifier, batch, settings))


METHOD_FUNCTIONS: dict[str, MethodFunction] = {
    "pcim": _pcim,
    "pcim_literal": _pcim_literal,
    "integrated_gradients": _integrated_gradients,
    "grad_cam": _grad_cam,
    "occlusion": _occlusion,
    "random": _random,
    "edge": _edge,
    "contrast": _contrast,
}
"""Every method by its name in the config; a test compares the names with `pcim.config.METHODS`."""
