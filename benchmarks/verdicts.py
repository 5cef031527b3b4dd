"""Verdicts on planted campaigns: how often the exchanges say rightly what a classifier reads, when that is known.

``python benchmarks/verdicts.py [--quick] [--write]``, from the repository's root. Wells with cells in a round, lit area; each campaign's
classifier reads
one thing, by construction: the cells' brightness (the biology), a mark in a corner, a gradient of illumination, the offset of the
whole view, or where the well's rim lies. Contrast, noise, cells, wells and steepness of the classifier are drawn for each campaign.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from harness import Row, options, report
from scipy.special import softmax

from pcim.composites.region_swap import Scene
from pcim.config.stages import EvaluateSettings
from pcim.core.identity import ViewKey
from pcim.interventions.experiment import COLUMNS, Subject, exchange_regions
from pcim.report.analysis import findings
from pcim.report.analysis.intervals import proportion_interval
from pcim.report.wording.verdict import ClassifierVerdict, VerdictWord, read_classifier
from pcim.views.regions import boundary_region, partition, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    View = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]

SIDE, RIM_PX, HALO_PX = 48, 4.0, 1.0
CLASSES = ("low", "high")
SETTINGS = EvaluateSettings()
Y, X = np.mgrid[:SIDE, :SIDE]


@dataclass(frozen=True)
class Planted:
    """What a campaign's classifier reads, as a function of images (n, h, w): half of its `step` tells the classes apart. And the truth."""

    read: Callable[[NDArray[np.float32]], NDArray[np.floating]]
    step: float
    verdict: VerdictWord


def _cells(images: NDArray[np.float32]) -> NDArray[np.floating]:
    flat = images.reshape(len(images), -1)
    return np.sort(flat, axis=1)[:, -40:].mean(1) - np.median(flat, axis=1)


def _rim(images: NDArray[np.float32]) -> NDArray[np.floating]:
    middle = images[:, 16:32]
    return np.median(middle[:, :, -6:], axis=(1, 2)) - np.median(middle[:, :, :6], axis=(1, 2))


PLANTED = {
    "none": Planted(_cells, 100.0, "looks at the biology"),
    "corner": Planted(lambda images: images[:, :5, :5].mean((1, 2)), 60.0, "looks elsewhere"),
    "gradient": Planted(
        lambda images: np.median(images[:, :, 28:38], axis=(1, 2)) - np.median(images[:, :, 10:20], axis=(1, 2)), 40.0, "looks elsewhere"
    ),
    "offset": Planted(lambda images: np.median(images, axis=(1, 2)), 40.0, "looks elsewhere"),
    "rim": Planted(_rim, 60.0, "looks elsewhere"),
}  # fmt: skip


def scene(rng: np.random.Generator, planted: str, high: bool, strength: float, noise: float) -> View:
    """Return a view (h, w), its cells and its lit area; only what is `planted` differs between the classes."""
    sign = 1 if high else -1
    shift = 3 * sign if planted == "rim" else 0
    lit = (Y - SIDE / 2) ** 2 + (X - SIDE / 2 - shift) ** 2 < 21.5**2
    image = np.where(lit, 200.0, 120.0)
    if planted == "gradient":
        image += strength * sign * 20 * (X - SIDE / 2) / 18
    image += strength * sign * 20 * (planted == "offset")
    if planted == "corner" and high:
        image[:5, :5] += strength * 60
    cells = np.zeros((SIDE, SIDE), bool)
    for _ in range(int(rng.integers(4, 8))):
        y, x = rng.integers(15, SIDE - 15, 2)
        disc = (Y - y) ** 2 + (X - x) ** 2 < 3.2**2
        bright = 150 + strength * 50 * sign if planted == "none" else rng.uniform(80, 220)
        image[disc] = 200 + bright + rng.normal(0, 10)
        cells |= disc
    return (image + rng.normal(0, noise, image.shape)).astype(np.float32), cells, lit


class Reader:
    """A classifier of two classes that reads what was planted, and nothing else."""

    named_device = ("cpu", "")

    def __init__(self, planted: Planted, threshold: float, steepness: float) -> None:
        self.planted, self.threshold, self.steepness = planted, threshold, steepness
        self.contract = SimpleNamespace(classes=list(CLASSES), input=SimpleNamespace(channels=["grey"]))

    def logits_of(self, raw: Sequence[NDArray[Any]], batch_size: int) -> NDArray[np.floating]:  # noqa: ARG002 - a classifier's call
        """Return the logits of views (1, h, w)."""
        z = (self.planted.read(np.stack(list(raw))[:, 0]) - self.threshold) * self.steepness
        return np.stack([-z, z], axis=1) / 2


def verdict_of(kind: str, seed: int, wells: int | None = None) -> VerdictWord:
    """Make a campaign, exchange its regions, and return what is read from them."""
    rng, planted = np.random.default_rng([seed, list(PLANTED).index(kind)]), PLANTED[kind]
    strength, noise, count = rng.uniform(0.8, 1.5), rng.uniform(4, 12), wells or int(rng.integers(12, 40))
    made = [scene(rng, kind, bool(number % 2), strength, noise) for number in range(count)]
    values = planted.read(np.stack([image for image, _, _ in made]))
    threshold = (np.median(values[1::2]) + np.median(values[::2])) / 2
    return reading_of(Reader(planted, float(threshold), rng.uniform(4, 12) / planted.step), made).verdict


def reading_of(classifier: Any, made: Sequence[View]) -> ClassifierVerdict:
    """Let a classifier call views, one a well, exchange their regions, and return what is read from the calls that follow."""
    scores = classifier.logits_of([image[np.newaxis] for image, _, _ in made], SETTINGS.batch_size)
    subjects = []
    for number, ((image, cells, lit), logits) in enumerate(zip(made, scores, strict=True)):
        regions = partition({"cells": cells, "rim": boundary_region(lit.astype(int), RIM_PX)})
        view = Scene(image[np.newaxis], widen(cells, HALO_PX), SETTINGS.blur * SIDE)
        key = ViewKey("p", "ABCDEFGH"[number % 8], str(number // 8 + 1), "0", "0_0")
        subjects.append(Subject(key, CLASSES[int(logits.argmax())], softmax(logits).tolist(), view, regions))
    return read_exchanges(exchange_regions(classifier, subjects, "cells", SETTINGS), "cells")


def read_exchanges(rows: Sequence[dict[str, Any]], objects: str) -> ClassifierVerdict:
    """Return what is read from exchanges alone: no maps, no accuracy, two classes called."""
    nothing = pd.DataFrame(columns=["method", "region", "share", "area", "lift", "lift_low", "lift_high"])
    accuracy = pd.DataFrame(columns=["wells", "unit", "correct", "n", "low", "majority"])
    table = pd.DataFrame(rows, columns=COLUMNS)
    return read_classifier(
        regions=nothing, exchanges=findings.exchange_table(table, draws=1000), accuracy=accuracy,
        backgrounds=pd.DataFrame(columns=["target", "n", "p"]), calls=2, objects=objects,
    )  # fmt: skip


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form makes 10 campaigns of each kind."""
    count, rows = 10 if quick else 100, []
    for kind, planted in PLANTED.items():
        right = sum(verdict_of(kind, seed) == planted.verdict for seed in range(count))
        share = proportion_interval(right, count)
        rows.append(Row(f"planted {kind}: {planted.verdict}", share.share, "", 0.95, "higher", share.low, share.high, count))
    few = sum(verdict_of(kind, seed, wells=3) == "cannot tell" for kind in PLANTED for seed in range(count // 5))
    rows.append(Row("three wells: cannot tell", few / (count // 5 * len(PLANTED)), "", 0.95, "higher"))
    report("verdicts", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
