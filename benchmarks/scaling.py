"""How the cost grows: with the batch, with the pixels of a view, and what the literal stack of pixel channels would cost.

``python benchmarks/scaling.py [--quick] [--write]``, from the repository's root; some minutes on one core.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
from harness import Row, options, paired_ratio, report, seconds
from speed import DEVICE, Work, peak_bytes

from pcim import PCIM
from pcim.attribution.blending import keep

EXPONENT_BAR = 1.1
SIDES = (32, 64, 128, 256, 512)
BATCHES = {"cpu": (1, 2, 4, 8, 16, 32, 64), "cuda": (1, 8, 64, 256, 512)}
NETWORK = "small CNN"


def step_seconds(batch: int, side: int, repeats: int) -> float:
    """Return the median time of a step."""
    step = Work.of(NETWORK, batch, side).step()
    step()
    return statistics.median(seconds(step) for _ in range(repeats))


def map_seconds(side: int, repeats: int) -> float:
    """Return the median time of a whole call for four views, its blurred background and its record included."""
    work = Work.of(NETWORK, 4, side)
    explainer = PCIM(work.network, batch_size=4)
    return statistics.median(seconds(lambda: explainer.attribute(work.images, work.targets)) for _ in range(repeats))


def exponent(sides: tuple[int, ...], costs: list[float]) -> float:
    """Return the slope of log(cost) over log(pixels): 1 = linear in the pixels."""
    return float(np.polyfit(np.log(np.square(sides)), np.log(costs), 1)[0])


def stacked(images: torch.Tensor, backgrounds: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Blend literally: one channel a pixel, P x P numbers a view."""
    difference = (images - backgrounds).flatten(2)
    isolated = difference[..., None] * torch.eye(difference.shape[-1], device=images.device)
    return backgrounds + (weights.flatten(2)[..., None] * isolated).sum(2).view(images.shape)


def stack_ratio(side: int, repeats: int) -> float:
    """Return the time of the literal stack and its gradient over that of the fused layer."""
    images = torch.rand(1, 1, side, side, device=DEVICE)
    weights = torch.rand(1, 1, side, side, device=DEVICE).requires_grad_()

    def run(blend: object) -> None:
        torch.autograd.grad(blend(images, torch.zeros_like(images), weights).sum(), [weights])  # type: ignore[operator]

    return paired_ratio(lambda: run(stacked), lambda: run(keep), repeats)


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form takes three sizes and fewer turns."""
    repeats, sides = (3, SIDES[:3]) if quick else (9, SIDES)
    batches = BATCHES[DEVICE][:4] if quick else BATCHES[DEVICE]
    rows, alone = [], step_seconds(1, 64, repeats)
    for batch in batches[1:]:
        ratio = step_seconds(batch, 64, repeats) / batch / alone
        rows.append(Row(f"time a view in a batch of {batch} / alone, 64 x 64", ratio, "x", None, "lower"))
    span = f"{sides[0]} to {sides[-1]} px, batch 4"
    for what, cost in (
        ("step", lambda side: step_seconds(4, side, repeats)),
        ("whole map", lambda side: map_seconds(side, 3)),
    ):
        growth = exponent(sides, [cost(side) for side in sides])
        rows.append(Row(f"exponent of a {what}'s time over the pixels, {span}", growth, "", EXPONENT_BAR, "lower"))
    # From 128 px on: what is loaded once, some megabytes, hides the memory of smaller views.
    large = tuple(side for side in sides if side >= 128)  # noqa: PLR2004
    if len(large) > 1:
        memory = [float(peak_bytes("step", NETWORK, 16, side)) for side in large]
        growth = exponent(large, memory)
        rows.append(
            Row(
                f"exponent of a step's peak memory, {large[0]} to {large[-1]} px, batch 16",
                growth,
                "",
                EXPONENT_BAR,
                "lower",
            )
        )
    for side in (16, 32, 64)[: 2 if quick else 3]:
        rows.append(
            Row(
                f"the literal stack / the fused layer, {side} x {side}, time",
                stack_ratio(side, repeats),
                "x",
                None,
                "lower",
            )
        )
    report("scaling" if DEVICE == "cpu" else "scaling_gpu", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
