"""Peers that follow the gradient of the class's logit to the pixels.

Most are Captum's, behind a thin adapter.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from pcim.attribution.peers.batch import Batch, generator, own_randomness
from pcim.attribution.peers.hook_checks import refuse_functional_relu, refuse_shared_relu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcim.classifiers.forward import Forward
    from pcim.config.methods import PeerSettings

log = logging.getLogger("pcim")
# Beyond this share of the logit's change DeepLift's contributions no longer add up to it: max pooling, foreign activations.
_GAP = 0.1


def saliency(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Gradient of the logit (Simonyan et al. 2014, arXiv 1312.6034)."""
    from captum.attr import Saliency

    return _plain(Saliency(forward).attribute(_leaf(batch.images), target=batch.targets, abs=False))


def input_x_gradient(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Gradient times image (Shrikumar et al. 2016, arXiv 1605.01713)."""
    from captum.attr import InputXGradient

    return _plain(InputXGradient(forward).attribute(_leaf(batch.images), target=batch.targets))


def integrated_gradients(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Mean gradient from the background to the image, times their difference (Sundararajan et al. 2017, arXiv 1703.01365)."""
    from captum.attr import IntegratedGradients

    return _plain(
        IntegratedGradients(forward).attribute(
            batch.images,
            batch.backgrounds,
            target=batch.targets,
            n_steps=settings.ig_steps,
            internal_batch_size=4 * len(batch.images),
        )
    )


def gradient_shap(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Integrated gradients at random points of the way to the background (Lundberg & Lee 2017, arXiv 1705.07874)."""
    from captum.attr import GradientShap

    found = []
    for number, key in enumerate(batch.keys):
        one = batch.one(number)
        with own_randomness(key, one.images.device):
            found.append(GradientShap(forward).attribute(one.images, one.backgrounds, n_samples=settings.shap_samples, target=one.targets))
    return _plain(torch.cat(found))


def deep_lift(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Contributions to the difference from the background (Shrikumar et al. 2017, arXiv 1704.02685), the rescale rule.

    Raises
    ------
    ValueError
        Where a ReLU is a function, or one module serves twice: the hooks would miss it and the map would be wrong in silence.
    """
    from captum.attr import DeepLift

    network = _network(forward)
    refuse_functional_relu(network, batch.images[:1], "deep_lift")
    refuse_shared_relu(network, batch.images[:1], "deep_lift")
    with _silence_hook_warning():
        found: Any = DeepLift(network).attribute(
            _leaf(batch.images), batch.backgrounds, target=batch.targets, return_convergence_delta=True
        )
    attribution, gap = _plain(found[0]), found[1].detach().abs()
    explained = attribution.sum((1, 2, 3)).abs().clamp(min=1e-6)
    if bool((gap > _GAP * explained).any()):
        share = float((gap / explained).max())
        log.warning("deep_lift: contributions miss up to %.0f%% of the logit's change (pooling or activations)", 100 * share)
    return attribution


def guided_backprop(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Gradient that passes a ReLU only where it is positive (Springenberg et al. 2015, arXiv 1412.6806).

    Raises
    ------
    ValueError
        Where a ReLU is a function or there is none: the result would be the plain gradient under another name.
    """
    from captum.attr import GuidedBackprop

    network = _network(forward)
    refuse_functional_relu(network, batch.images[:1], "guided_backprop")
    if not any(isinstance(module, nn.ReLU) for module in network.modules()):
        raise ValueError("guided_backprop: the network has no nn.ReLU module; it would be the plain gradient (saliency)")
    with _silence_hook_warning():
        return _plain(GuidedBackprop(network).attribute(_leaf(batch.images), target=batch.targets))


def smooth_grad(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:
    """Mean gradient over noisy copies of the view (Smilkov et al. 2017, arXiv 1706.03825), its noise drawn by its key."""
    lots = [generator(key) for key in batch.keys]
    spread = (batch.images.amax((1, 2, 3), keepdim=True) - batch.images.amin((1, 2, 3), keepdim=True)).mul(settings.smooth_noise)
    total = torch.zeros_like(batch.images)
    for _ in range(settings.smooth_samples):
        noise = torch.stack([torch.randn(batch.images.shape[1:], generator=lot) for lot in lots]).to(total.device)
        noisy = Batch(batch.images + spread * noise, batch.targets, batch.backgrounds, batch.keys)
        total += saliency(forward, noisy, settings)
    return total / settings.smooth_samples


def grad_cam(forward: Forward, batch: Batch, settings: PeerSettings) -> Tensor:  # noqa: ARG001 - one signature
    """Last convolution's features, weighted by their mean gradient (Selvaraju et al. 2017, arXiv 1610.02391), bilinear up.

    Raises
    ------
    ValueError
        Where the network has no `Conv2d`.
    """
    from captum.attr import LayerGradCam

    network = _network(forward)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ValueError(f"grad_cam: {type(network).__name__} has no Conv2d layer")
    images = _leaf(batch.images)  # frozen parameters: only the input can carry the gradient
    coarse = LayerGradCam(network, convolutions[-1]).attribute(images, target=batch.targets)
    return F.interpolate(_plain(coarse), batch.images.shape[-2:], mode="bilinear", align_corners=False)


@contextlib.contextmanager
def _silence_hook_warning() -> Iterator[None]:
    """Silence Captum's announcement that it hooks the network for the time of a call: it takes the hooks off again."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting .*hooks", category=UserWarning)
        yield


def _network(forward: Forward) -> nn.Module:
    if forward.network is None or forward.kind != "module":
        raise TypeError(f"layers can be hooked in a torch.nn.Module only; this classifier is of kind {forward.kind!r}")
    return forward.network


def _leaf(images: Tensor) -> Tensor:
    """Return the same pixels as a leaf of their own: the caller's tensor never carries a gradient."""
    return images.detach().clone().requires_grad_()


def _plain(attribution: Tensor) -> Tensor:
    """Return an attribution without its graph, which would keep the whole pass in memory, in float32."""
    return attribution.detach().float()
