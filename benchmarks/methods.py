"""What a map costs: PCIM with its stop rule against integrated gradients, RISE and every other peer, at equal batch.

``python benchmarks/methods.py [--quick] [--write]``, from the repository's root; some minutes on one core. It also shows that
the stop rule costs no quality, and what the stage adds, from files to files.
"""

from __future__ import annotations

import itertools
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from harness import Row, options, paired_ratio, report
from materials import SCENES, Material, material
from scoring import UNSEEN, fidelity, localization

from pcim import PCIM
from pcim.attribution import optimiser_step
from pcim.attribution.peers import METHODS, Peer
from pcim.classifiers.classifier import load_classifier, pick_device
from pcim.config.methods import PeerSettings
from pcim.config.stages import AttributeSettings, ClassifySettings, IngestSettings
from pcim.core.plate_source import Source
from pcim.plates.field_image import FieldImage
from pcim.runtime.job_log import log_to
from pcim.stages.attribute.job import attribute_chunk
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.classify import classify_chunk
from pcim.stages.ingest import ingest_plate

if TYPE_CHECKING:
    import torch

BATCH = 16
IN_FULL = PeerSettings(rise_masks=2000)
BARS = {"integrated_gradients": 2.0, "rise": 0.2}
QUALITY_BAR = 0.99
MODEL, SOURCE = Path("example/models/bbbc010_rows/model.yaml"), Source("example/plates/bbbc010.zarr")
WELLS = [f"D{column:02d}" for column in range(1, 9)]


def against_peers(given: Material, repeats: int) -> list[Row]:
    """Return PCIM's time a map over each peer's, in turns."""
    explainer, rows = PCIM(given.classifier, batch_size=BATCH), []

    def ours() -> None:
        explainer.attribute(given.images, given.targets)

    for method in METHODS:
        try:
            peer = Peer(method, given.classifier, settings=IN_FULL, batch_size=BATCH)
            run = partial(peer.attribute, given.images, given.targets, keys=list(range(BATCH)))
            ratio = paired_ratio(ours, run, 1 if method in {"rise", "kernel_shap", "lime"} else repeats)
        except ValueError as refusal:
            print(f"{given.name}: {refusal}")
            continue
        rows.append(Row(f"{given.name}, batch {BATCH}: PCIM / {method}, time a map", ratio, "x", BARS.get(method), "lower"))
    return rows


def score(given: Material, maps: torch.Tensor) -> float:
    """Return (fidelity + localization) / 2 of maps (n, 1, h, w)."""
    fit = fidelity(given.classifier, given, maps[:, 0], UNSEEN).mean()
    return float((fit + localization(maps[:, 0], given.masks).nanmean()) / 2)


def stop_rule(names: list[str], n: int) -> list[Row]:
    """Return what stopping early saves and what it costs, over the run that never stops before its last step."""
    stopped, full, taken = [], [], []
    for name in names:
        given = material(name, "test", n)
        learned = PCIM(given.classifier, batch_size=BATCH).learn(given.images, given.targets)
        stopped.append(score(given, learned.maps))
        taken.append(float(learned.steps.float().mean()))
        threshold, optimiser_step.SETTLED = optimiser_step.SETTLED, -1.0
        full.append(score(given, PCIM(given.classifier, batch_size=BATCH).attribute(given.images, given.targets)))
        optimiser_step.SETTLED = threshold
    share = float(np.mean(stopped) / np.mean(full))
    return [
        Row(
            f"score with the stop rule / of the full run, {len(names)} scenes and networks",
            share,
            "x",
            QUALITY_BAR,
            "higher",
        ),
        Row("steps taken, mean, of at most 20", float(np.mean(taken)), "steps", None, "lower"),
    ]


def stage_ratio(folder: Path, repeats: int) -> float:
    """Return the time of the stage, as a job runs it from files to files, over the method on the same views in memory."""
    settings = AttributeSettings(batch_size=8)
    fields, calls = str(folder / "fields.parquet"), str(folder / "calls.parquet")
    chunk = ChunkJob(SOURCE, WELLS, MODEL, ["pcim"], [], 0.0, gpus=0, workers=1, revision=1)
    classifier, runs = load_classifier(MODEL, ["pcim"], pick_device(0)), itertools.count()
    read = [FieldImage.open(SOURCE, f"{well[0]}/{well[1:]}/0").read(classifier.contract.input.channels) for well in WELLS]
    images = classifier.normalise(np.stack(read))

    def stage() -> None:
        place = folder / str(next(runs))
        maps, ledger = str(place / "maps.zarr"), str(place / "ledger.parquet")
        attribute_chunk(chunk, fields=fields, calls=calls, method="pcim", maps=maps, ledger=ledger, settings=settings)
        shutil.rmtree(place)

    def method() -> Any:
        return PCIM(classifier, batch_size=8).learn(images)

    with log_to(folder / "log"):
        ingest_plate(
            plate="bbbc010", store=SOURCE, platemap=Path("example/platemaps/bbbc010.csv"), table=fields,
            settings=IngestSettings(), workers=1, revision=1,
        )  # fmt: skip
        classify_chunk(chunk, fields=fields, table=calls, settings=ClassifySettings())
        return paired_ratio(stage, method, repeats)


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form takes one network and fewer turns."""
    names = ["fluo/cnn"] if quick else ["fluo/cnn", "fluo/resnet", "multi/mixer"]
    rows = [row for name in names for row in against_peers(material(name, "test", BATCH), 1 if quick else 3)]
    rows += stop_rule(list(SCENES)[:1] if quick else list(SCENES), 16)
    with TemporaryDirectory() as folder:
        ratio = stage_ratio(Path(folder), 1 if quick else 5)
    # Without a bar here: reading, compressing, writing and syncing are no part of the method.
    rows.append(Row("the stage, files to files / the method in memory, 8 whole wells", ratio, "x", None, "lower"))
    report("methods", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
