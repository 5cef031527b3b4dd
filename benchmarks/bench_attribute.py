"""What a map costs: PCIM's loop against the bare network, the stage against the loop, every method against another.

``python benchmarks/bench_attribute.py [--quick] [--write]``, from the repository's root; some minutes on one core.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from harness import Row, options, paired_ratio, report

from pcim.attribute.backgrounds import make_background
from pcim.attribute.blending import keep
from pcim.attribute.learning import Preset, learn
from pcim.attribute.peers import METHOD_FUNCTIONS, Batch
from pcim.attribute.stage import attribute_chunk
from pcim.classify import classify_chunk
from pcim.config import METHODS, AttributeSettings, ClassifySettings, IngestSettings
from pcim.ingest import ingest_plate
from pcim.jobs import ChunkJob, log_to
from pcim.models import Classifier, load_classifier, pick_device
from pcim.stores import FieldImage

if TYPE_CHECKING:
    from torch import Tensor

MODEL = Path("example/models/bbbc010_rows/model.yaml")
PLATE = Path("example/plates/bbbc010.zarr")
WELLS = [f"D{column:02d}" for column in range(1, 9)]
BATCH = 8
SETTINGS = AttributeSettings(batch_size=BATCH)

# The blend, its smoothing and Adam are passes over the pixels of one channel, in front of a network of millions of
# multiplications a view: a third on top is what they may cost beside the smallest network that is worth explaining.
LOOP_BAR = 1.3
# Reading, checking the contract, the four recorded probabilities, compressing, writing and syncing.
STAGE_BAR = 1.2
# The passes that the defaults ask for, 100 steps of two images or of one against 50 of integrated gradients, times the loop.
METHOD_BARS = {"pcim": 100 * 2 / 50 * LOOP_BAR, "pcim_literal": 100 / 50 * LOOP_BAR}


@dataclass(frozen=True)
class Bench:
    """The eight whole wells of the example that everything is measured on: one batch, with its background and targets."""

    classifier: Classifier
    images: Tensor
    backgrounds: Tensor
    targets: Tensor

    @classmethod
    def load(cls) -> Bench:
        """Read the wells; one thread, as every job of the workflow on a CPU."""
        classifier = load_classifier(MODEL, ["pcim"], pick_device(0))
        fields = [FieldImage.open(PLATE / well[0] / well[1:] / "0") for well in WELLS]
        images = classifier.normalise(np.stack([f.read(classifier.contract.input.channels) for f in fields]))
        with torch.no_grad():
            targets = classifier(images).argmax(1)
        return cls(classifier, images, make_background(images, "blur", SETTINGS.blur), targets)

    def learn(self) -> None:
        """Run PCIM's loop and nothing else."""
        learn(self.classifier, self.images, self.backgrounds, self.targets, Preset.default(SETTINGS.pcim))

    def bare(self) -> None:
        """Do the network's part of that loop alone: forward and input-backward of keep and drop, as one batch."""
        both = torch.cat([keep(self.images, self.backgrounds, torch.ones_like(self.images)), self.backgrounds])
        for _ in range(SETTINGS.pcim.steps):
            both = both.detach().requires_grad_()
            torch.autograd.grad(self.classifier(both).logsumexp(1).sum(), [both])

    def run(self, method: str) -> None:
        """Explain the batch by one method."""
        METHOD_FUNCTIONS[method](self.classifier, Batch(self.images, self.targets, list(range(BATCH))), SETTINGS)


def stage_ratio(bench: Bench, folder: Path, repeats: int) -> float:
    """Return the cost of the stage, as a job runs it from files to files, over the loop on the same views."""
    fields, calls = str(folder / "fields.parquet"), str(folder / "calls.parquet")
    chunk = ChunkJob(PLATE, WELLS, MODEL, ["pcim"], [], 0.0, gpus=0, workers=1, revision=1)
    platemap = Path("example/platemaps/bbbc010.csv")
    runs = itertools.count()

    def stage() -> None:
        """Explain the chunk into a folder of its own: nothing is finished already."""
        place = folder / str(next(runs))
        maps, ledger = str(place / "maps.zarr"), str(place / "ledger.parquet")
        attribute_chunk(chunk, fields=fields, calls=calls, method="pcim", maps=maps, ledger=ledger, settings=SETTINGS)
        shutil.rmtree(place)

    with log_to(folder / "log"):
        ingest_plate(
            plate="bbbc010", store=PLATE, platemap=platemap, table=fields, settings=IngestSettings(), workers=1, revision=1
        )  # fmt: skip
        classify_chunk(chunk, fields=fields, table=calls, settings=ClassifySettings())
        return paired_ratio(stage, bench.learn, repeats)


def main(*, quick: bool, write: bool) -> None:
    """Measure with the default numbers of steps; the quick form only repeats less, so that its rows mean the same."""
    bench, repeats = Bench.load(), 1 if quick else 5
    loop = paired_ratio(bench.learn, bench.bare, repeats)
    rows = [Row("PCIM's loop / bare forward + input-backward", loop, "x", LOOP_BAR, "lower")]
    with TemporaryDirectory() as folder:
        stage = stage_ratio(bench, Path(folder), repeats)
    rows.append(Row("the stage, files to files / PCIM's loop", stage, "x", STAGE_BAR, "lower"))
    for method in METHODS:
        if method != "integrated_gradients":
            ratio = paired_ratio(partial(bench.run, method), partial(bench.run, "integrated_gradients"), repeats)
            rows.append(Row(f"{method} / integrated gradients", ratio, "x", METHOD_BARS.get(method), "lower"))
    report("attribute", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
