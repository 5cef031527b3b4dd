"""What each choice of the default preset is worth: one is changed at a time, on the split that the choices were made on.

``python benchmarks/ablation.py [--quick] [--write]``, from the repository's root; a quarter of an hour on one core. Nothing here
was looked at on the split that quality.py tests on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from harness import Row, options, report
from materials import SCENES, Material, material
from scoring import GIVEN, fidelity, localization
from tqdm import tqdm

from pcim.attribution import optimiser, optimiser_step
from pcim.attribution.blending import drop, keep
from pcim.attribution.optimiser import Blend, learn, read_out
from pcim.composites.baselines import two_backgrounds
from pcim.composites.gaussian_blur import gaussian_blur
from pcim.config.methods import PcimSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from torch import Tensor

IMAGES = 16
LEARNT: dict[str, dict[str, Any]] = {
    "default": {},
    "background: mean for both": {"background": "mean"},
    "background: blur for both": {"background": "blur"},
    "area 8": {"area": 8.0},
    "area 30": {"area": 30.0},
    "10 steps of 1/7": {"steps": 10, "learning_rate": 1 / 7},
    "14 steps of 1/10": {"steps": 14, "learning_rate": 1 / 10},
    "30 steps of 1/22": {"steps": 30, "learning_rate": 1 / 22},
    "no stop rule": {"SETTLED": -1.0},
    "momentum 0": {"momentum": 0.0},
    "momentum 0.8": {"momentum": 0.8},
    "smooth 0.7 px": {"smooth_px": 0.7},
    "smooth 2 px": {"smooth_px": 2.0},
    "steps nearly of the sign": {"SOFTNESS": 0.05},
    "softer steps": {"SOFTNESS": 2.0},
}
READ: dict[str, Callable[[Blend, Tensor], Tensor]] = {
    "read-out: the raw weights": lambda blend, _: blend.weights,
    "read-out: w |x - b|": lambda blend, contrast: blend.weights * contrast,
    "read-out: evidence alone, absolute": lambda blend, _: gaussian_blur(_summed(blend).abs(), 1.0, edges="symmetric"),
    "read-out: evidence alone, positive": lambda blend, _: gaussian_blur(_summed(blend).clamp(min=0), 1.0, edges="symmetric"),
    "read-out: head without evidence": lambda blend, contrast: read_out(blend.weights, torch.ones_like(blend.evidence), contrast).sum(
        1, keepdim=True
    ),
}
READ_WITH: dict[str, dict[str, float]] = {
    "read-out: no tail": {"TAIL": 0.0},
    "read-out: tail without evidence against": {"AGAINST": 0.0},
    "read-out: tail with all evidence against": {"AGAINST": 1.0},
    "read-out: no threshold": {"THRESHOLD": 0.0},
}


def _summed(blend: Blend) -> Tensor:
    return blend.evidence.sum(1, keepdim=True)


@contextmanager
def changed(module: ModuleType, **constants: float) -> Iterator[None]:
    """Set a module's constants for the time of a variant."""
    kept = {name: getattr(module, name) for name in constants}
    for name, value in constants.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def read(blend: Blend, contrast: Tensor, **constants: float) -> Tensor:
    """Read the maps out, with other constants of `pcim.attribution.optimiser` where they are given."""
    with changed(optimiser, **constants):
        return read_out(blend.weights, blend.evidence, contrast).sum(1, keepdim=True)


def learnt(given: Material, background: str = "auto", **choices: Any) -> tuple[Blend, Tensor]:
    """Return the blend under other choices, and the contrast |x - b| to the background of drop."""
    backgrounds = two_backgrounds(given.images, background, 0.125)  # type: ignore[arg-type]
    constants = {name: choices.pop(name) for name in ("SETTLED", "SOFTNESS") if name in choices}
    with changed(optimiser_step, **constants):
        blend = learn(given.classifier, given.images, backgrounds, given.targets, PcimSettings(**choices), len(given.images))
    return blend, (given.images - backgrounds[1]).abs().sum(1, keepdim=True)


def plain_loop(given: Material, steps: int) -> Tensor:
    """Return the maps of the loop that this preset replaced: Adam on alpha with w = alpha^2, half the grid, |x - b| w."""
    images, background = given.images, torch.zeros_like(given.images)
    h, w = images.shape[-2:]
    alpha = torch.ones(len(images), 1, -(-h // 2), -(-w // 2)).requires_grad_()
    optimiser = torch.optim.Adam([alpha], lr=0.05)

    def weights() -> Tensor:
        return gaussian_blur(F.interpolate(alpha.square(), (h, w), mode="bilinear", align_corners=False), 1.0, edges="reflect")

    for _ in range(steps):
        blend = weights()
        of_keep = given.classifier(keep(images, background, blend))
        of_drop = given.classifier(drop(images, background, blend))
        necessary = of_drop.logsumexp(1) - of_drop.scatter(1, given.targets[:, None], float("-inf")).logsumexp(1)
        loss = F.cross_entropy(of_keep, given.targets, reduction="none") + necessary + 30 * blend.mean((1, 2, 3))
        (alpha.grad,) = torch.autograd.grad(loss.sum(), [alpha])
        optimiser.step()
    return (weights().detach() * (images - background).abs()).sum(1, keepdim=True)


def maps_of(given: Material) -> dict[str, Tensor]:
    """Return every variant's maps (n, 1, h, w)."""
    maps = {}
    for name, choices in LEARNT.items():
        blend, contrast = learnt(given, **choices)
        maps[name] = read(blend, contrast)
        if name == "default":
            maps |= {what: reading(blend, contrast) for what, reading in READ.items()}
            maps |= {what: read(blend, contrast, **constants) for what, constants in READ_WITH.items()}
    return maps | {f"the plain loop, {steps} steps": plain_loop(given, steps) for steps in (20, 100)}


def main(*, quick: bool, write: bool) -> None:
    """Score every variant; the quick form takes one set and network."""
    scores: dict[str, list[tuple[float, float]]] = {}
    for name in tqdm(SCENES[:1] if quick else SCENES, desc="sets and networks"):
        given = material(name, "tune", 4 if quick else IMAGES)
        for variant, maps in maps_of(given).items():
            fit = fidelity(given.classifier, given, maps[:, 0], GIVEN).mean()
            scores.setdefault(variant, []).append((float(fit), float(localization(maps[:, 0], given.masks).nanmean())))
    rows = []
    for variant, values in scores.items():
        for measure, value in zip(("fidelity", "localization"), np.mean(values, axis=0), strict=True):
            rows.append(Row(f"{variant}: {measure}", float(value), "score", None, "higher"))
    report("ablation", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
