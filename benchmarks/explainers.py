"""Every method of the benchmark as one function: a material in, signed attributions out; and the readings all are offered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pcim import PCIM
from pcim.attribution.peers import METHODS, Peer
from pcim.classifiers.forward import Forward
from pcim.composites.gaussian_blur import gaussian_blur
from pcim.config.methods import PeerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from materials import Material
    from torch import Tensor

# Forward passes of the peers that are paid by them; the table of equal budgets shows RISE with more.
BUDGETS = PeerSettings(rise_masks=1000, segment_samples=250)
BATCH = 16
SIGMAS = (0.0, 1.0, 2.0, 4.0)
READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "absolute": lambda signed: signed.abs().sum(1, keepdim=True),
    "positive": lambda signed: signed.sum(1, keepdim=True).clamp(min=0),
    "above the median": lambda signed: _above_median(signed.sum(1, keepdim=True)),
}
CONTROLS = ("random", "edge", "contrast")


def _above_median(maps: Tensor) -> Tensor:
    return (maps - maps.flatten(1).median(1).values.view(-1, 1, 1, 1)).clamp(min=0)


@dataclass(frozen=True)
class Variant:
    """How a method is run and read: what it compares with, which part of its answer is the map, and how it is smoothed."""

    background: str
    reading: str
    sigma: float

    def read(self, signed: Tensor) -> Tensor:
        """Return maps (n, h, w), >= 0."""
        return gaussian_blur(READINGS[self.reading](signed), self.sigma, edges="reflect")[:, 0]


def _peer(method: str, material: Material, background: str, settings: PeerSettings = BUDGETS) -> Tensor:
    peer = Peer(method, material.classifier, background=background, settings=settings, batch_size=BATCH)
    return peer.signed_maps(material.images, material.targets, keys=list(range(len(material.images))))


def _pcim(material: Material, background: str, **choices: Any) -> Tensor:
    return PCIM(material.classifier, background=background, batch_size=BATCH, **choices).attribute(material.images, material.targets)


def as_black_box(classifier: Any) -> Forward:
    """Return a classifier of which only the scores are seen."""

    def scores(images: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = classifier(images)
        return answer

    return Forward(scores, "callable")


def _without_gradient(material: Material, background: str, budget: int) -> Tensor:
    explainer = PCIM(as_black_box(material.classifier), background=background, budget=budget, batch_size=32)
    return explainer.learn(material.images, material.targets, keys=list(range(len(material.images)))).maps


def _occlusion_within(material: Material, background: str, budget: int) -> Tensor:
    """Occlude with the smallest square, moved by half of it, that needs at most so many forward passes."""
    h, w = material.images.shape[-2:]
    for side in range(2, min(h, w), 2):
        if ((h - side) // (side // 2) + 1) * ((w - side) // (side // 2) + 1) < budget:
            return _peer("occlusion", material, background, BUDGETS.model_copy(update={"occlusion_px": side}))
    raise ValueError(f"{budget} forward passes are too few for {h} x {w} px")


EXPLAINERS: dict[str, Callable[[Material, str], Tensor]] = {
    "pcim": _pcim,
    "pcim_literal": partial(_pcim, preset="literal"),
    **{name: partial(_peer, name) for name in METHODS},
}
AT_EQUAL_COST: dict[str, Callable[[Material, str], Tensor]] = {
    f"{name} {budget}": partial(function, budget=budget)
    for budget in (500, 1000, 2000)
    for name, function in {
        "pcim without a gradient": _without_gradient,
        "rise": lambda material, background, budget: _peer("rise", material, background, BUDGETS.model_copy(update={"rise_masks": budget})),
        "occlusion": _occlusion_within,
    }.items()
}
PEERS = tuple(name for name in METHODS if name not in CONTROLS)


def backgrounds_of(method: str) -> tuple[str, ...]:
    """Return the backgrounds that a method is offered; one where it has none or knows its own."""
    name = method.rpartition(" ")[0] or method
    if name in METHODS:
        return ("mean", "blur") if METHODS[name].compares else ("mean",)
    return ("mean",) if name == "pcim_literal" else ("auto",)
