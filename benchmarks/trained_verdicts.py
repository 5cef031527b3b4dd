"""Verdicts on planted campaigns whose classifiers are trained: nobody says what the network reads, only what there is to read.

``python benchmarks/trained_verdicts.py [--quick] [--write]``, from the repository's root. The scenes are those of `verdicts`: either the
cells tell the
class, or a mark in a corner, a gradient, an offset or the place of the rim does, and the cells tell nothing. A small CNN starts from
random weights and is trained on 128 wells of the campaign; 12 to 39 others are called, exchanged and read. A network that calls less than
0.9 of them rightly has not learnt the class: its campaign is counted apart and the next number is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from harness import Row, options, report
from torch import nn
from verdicts import CLASSES, PLANTED, SETTINGS, reading_of, scene

from pcim.architectures import small_cnn
from pcim.classifiers.classifier import Classifier
from pcim.report.analysis.intervals import proportion_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pcim.report.wording.verdict import ClassifierVerdict

TRAINING_WELLS, STEPS, BATCH, WIDTH, FASTEST = 128, 120, 16, 8, 1e-2
LEARNT = 0.9  # of the held-out wells
SEEDS = 1000  # campaigns of a kind are numbered below it; other numbers are for trying things out


@dataclass(frozen=True)
class Trained:
    """A campaign with a network of its own: its accuracy on the held-out wells, and what is read from the exchanges."""

    accuracy: float
    reading: ClassifierVerdict


def campaign(kind: str, seed: int) -> Trained:
    """Make a campaign's training wells and held-out wells, train on the first, and read the exchanges of the others."""
    number = list(PLANTED).index(kind)
    rng = np.random.default_rng([seed, number, TRAINING_WELLS])
    strength, noise, count = rng.uniform(0.8, 1.5), rng.uniform(4, 12), int(rng.integers(12, 40))
    wells = [scene(rng, kind, bool(n % 2), strength, noise) for n in range(TRAINING_WELLS + count)]
    images = np.stack([image for image, _, _ in wells])[:, np.newaxis]
    classifier = train(images[:TRAINING_WELLS], np.arange(TRAINING_WELLS) % 2, 10 * seed + number)
    calls = classifier.logits_of(images[TRAINING_WELLS:], SETTINGS.batch_size).argmax(1)
    right = calls == np.arange(TRAINING_WELLS, len(images)) % 2
    return Trained(float(right.mean()), reading_of(classifier, wells[TRAINING_WELLS:]))


def train(images: NDArray[Any], labels: NDArray[Any], seed: int) -> Classifier:
    """Train a small CNN on raw views (n, 1, h, w) as they are, neither turned nor relit, with one-cycle AdamW; returns it frozen."""
    mean, std = float(images.mean()), float(images.std())
    views, targets = torch.from_numpy((images - mean) / std), torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = small_cnn(1, len(CLASSES), WIDTH)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, FASTEST, total_steps=STEPS)
        for _ in range(STEPS):
            drawn = torch.randint(len(views), (BATCH,))
            loss = nn.functional.cross_entropy(network(views[drawn]), targets[drawn])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval().requires_grad_(False)
    contract: Any = SimpleNamespace(classes=list(CLASSES), input=SimpleNamespace(channels=["grey"], mean=[mean], std=[std]))
    return Classifier(network, contract, torch.device("cpu"))


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form makes 10 campaigns of each kind."""
    torch.set_num_threads(1)
    count, rows, accuracies = 10 if quick else 100, [], []
    for kind, planted in PLANTED.items():
        learnt: list[Trained] = []
        tried = 0
        while len(learnt) < count and tried < SEEDS:
            found, tried = campaign(kind, tried), tried + 1
            learnt += [found] if found.accuracy >= LEARNT else []
        for said in sorted({one.reading.verdict for one in learnt} - {planted.verdict}):
            wrong = sum(one.reading.verdict == said for one in learnt)
            rows.append(Row(f"trained {kind}: said instead: {said}", wrong / count, "", None, "lower"))
        right = sum(one.reading.verdict == planted.verdict for one in learnt)
        share = proportion_interval(right, count)
        name = f"trained {kind}: {planted.verdict}"
        rows.append(Row(name, share.share, "", 0.95, "higher", share.low, share.high, count))
        rows.append(Row(f"trained {kind}: had not learnt, drawn again", tried - len(learnt), "campaigns", None, "lower"))
        accuracies += [one.accuracy for one in learnt]
        print(rows[-2].name, right, "of", count, "; drawn again:", tried - len(learnt), flush=True)
    rows.append(Row("accuracy on held-out wells, mean", float(np.mean(accuracies)), "", None, "higher"))
    report("trained_verdicts", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
