"""Verdicts on real plates where it is known what a classifier reads.

Networks are trained on worms without their wells, and on wells without their worms.

``python benchmarks/contrasts.py [--quick] [--write]``, from the repository's root, on the example's plate of BBBC010 at a quarter of the
resolution. `bg_only`: every well without its own worms, under the worms of a well drawn anew each time; the class is that of the well, so
the
worms cannot tell it. `worm_only`: every well's worms in the emptied well of another, drawn anew; the class is that of the worms. Emptied
wells are
smoothed. Both networks start from the example's `bbbc010_rows` and are trained on rows A and C, as it was; row D, composed the same way,
is called, exchanged and read with the regions of the example's config. The
example's own classifiers are read beside them, with their held-out wells as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import yaml
from harness import Row, options, report
from scipy.ndimage import gaussian_filter
from scipy.special import softmax
from torch import nn
from verdicts import SETTINGS, read_exchanges

from pcim.classifiers.classifier import load_classifier, pick_device
from pcim.composites.region_swap import Scene, exchange_objects, without_objects
from pcim.config.config import Config
from pcim.core.identity import ViewKey
from pcim.core.plate_source import Source
from pcim.core.tiling import tile_field
from pcim.interventions.experiment import COLUMNS, Subject, exchange_regions
from pcim.plates.field_image import FieldImage
from pcim.report.analysis import findings
from pcim.views.reader import read_regions
from pcim.views.regions import boundary_region, partition, widen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pcim.classifiers.classifier import Classifier
    from pcim.report.wording.verdict import ClassifierVerdict, VerdictWord

EXAMPLE = Path(__file__).parents[1] / "example"
CLASSES = ("dead", "live")
EXPECTED: dict[str, VerdictWord] = {"bg_only": "looks elsewhere", "worm_only": "looks at the biology"}
EXAMPLES: dict[str, VerdictWord] = {
    "bbbc013_translocation": "looks at the biology",
    "bbbc010_rows": "looks at the biology",
    "bbbc010_columns": "looks elsewhere",
}
RIM_PX = 6.0  # as in the example's config
HALO_PX = 2.0  # so that no fringe of a worm stays in the emptied well
SMOOTH_PX = 3.0  # debris and the outlines that worms leave go, the rim and the light stay
STEPS, BATCH, FASTEST = {"bg_only": 150, "worm_only": 400}, 16, 3e-3
VIEWS_A_WELL = 2


@dataclass(frozen=True)
class Well:
    """A well of BBBC010: its name, its class, its scene (raw bright field and worms with their halo), its worms, and its lit area."""

    name: str
    label: str
    scene: Scene
    worms: NDArray[np.bool_]
    lit: NDArray[np.integer]


@dataclass(frozen=True)
class Seen:
    """A view to be called: the well whose class it has, what the class is, its pixels with its objects, and its regions."""

    key: ViewKey
    label: str
    scene: Scene
    regions: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Contrast:
    """A network of known habits: its accuracy on `views` held-out views, the exchanges' table, and what is read from it."""

    accuracy: float
    views: int
    table: pd.DataFrame
    reading: ClassifierVerdict


def read_wells(rows: str) -> list[Well]:
    """Read the wells of some rows of BBBC010 from the repository's plate."""
    layout = pd.read_csv(EXAMPLE / "platemaps/bbbc010.csv", dtype=str)
    plate, wells = Source(str(EXAMPLE / "plates/bbbc010.zarr")), []
    for name, label in zip(layout["well_position"], layout["label"], strict=True):
        if name[0] not in rows:
            continue
        field = FieldImage.open(plate, f"{name[0]}/{name[1:]}/0")
        pixels, worms = field.read(["Brightfield"]).astype(np.float32), field.read_label("worms") != 0
        objects, sigma_px = widen(worms, HALO_PX), SETTINGS.blur * pixels.shape[1]
        smooth = gaussian_filter(without_objects(pixels, objects, sigma_px), (0, SMOOTH_PX, SMOOTH_PX))
        scene = Scene(np.where(objects, pixels, smooth), objects, sigma_px)
        wells.append(Well(name, str(label), scene, worms, field.read_label("well")))
    return wells


def compose(kind: str, well: Well, other: Well, number: int = 0) -> Seen:
    """Return the well under the other's worms (`bg_only`), or its worms in the other, emptied (`worm_only`), as its field `number`."""
    background, worms = (well, other) if kind == "bg_only" else (other, well)
    regions = partition({"worms": worms.worms, "rim": boundary_region(background.lit, RIM_PX)})
    scene = Scene(exchange_objects(background.scene, worms.scene).image, worms.scene.objects, worms.scene.sigma_px)
    return Seen(ViewKey("bbbc010", well.name[0], well.name[1:], str(number), "0_0"), well.label, scene, regions)


def train(kind: str, wells: Sequence[Well], steps: int, seed: int) -> Classifier:
    """Train a small CNN on compositions drawn anew for every batch, both classes alike.

    Views of worms are moved and mirrored; wells stay where they are, because that is what tells them apart.
    """
    rng = np.random.default_rng([seed, len(kind)])
    of_class = [[well for well in wells if well.label == name] for name in CLASSES]
    classifier = load_classifier(EXAMPLE / "models/bbbc010_rows/model.yaml", ["pcim"], pick_device(0))
    network, told = classifier.network.requires_grad_(True).train(), classifier.contract.input
    mean, std = told.mean[0], told.std[0]
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, FASTEST, total_steps=steps)
    for _ in range(steps):
        labels = rng.integers(0, len(CLASSES), BATCH)
        drawn = [of_class[label][rng.integers(len(of_class[label]))] for label in labels]
        images = np.stack([compose(kind, well, wells[rng.integers(len(wells))]).scene.pixels for well in drawn])
        images = np.stack([moved(image, rng) for image in images]) if kind == "worm_only" else images
        logits = network(torch.from_numpy((images - mean) / std))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval().requires_grad_(False)
    return classifier


def moved(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a view (1, h, w) moved by up to 12 px and mirrored."""
    top, left = rng.integers(0, 25, 2)
    padded = np.pad(image, ((0, 0), (12, 12), (12, 12)), mode="edge")
    cut = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
    mirrored = cut[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    return np.ascontiguousarray(mirrored)


def contrast(kind: str, steps: int, seed: int = 0) -> Contrast:
    """Train one contrast on rows A and C, and read the exchanges of row D, each well composed with two of that row."""
    classifier, held_out = train(kind, read_wells("AC"), steps, seed), read_wells("D")
    rng = np.random.default_rng([seed, len(kind), 1])
    views = [
        compose(kind, well, held_out[other], number)
        for well in held_out
        for number, other in enumerate(rng.choice(len(held_out), VIEWS_A_WELL, replace=False))
    ]
    return read_views(classifier, views, "worms")


def example(name: str) -> Contrast:
    """Read the exchanges of one of the example's classifiers: of its held-out wells, or of all where the config selects no split."""
    entry = Config.model_validate(yaml.safe_load((EXAMPLE / "../config/config.yaml").read_text())).classifiers[name]
    classifier = load_classifier(EXAMPLE.parent / entry.model, ["pcim"], pick_device(0))
    told, plate = classifier.contract.input, entry.plates[0]
    layout = pd.read_csv(EXAMPLE / f"platemaps/{plate}.csv", dtype=str, keep_default_na=False)
    selected = layout[layout[entry.split] == "test"] if entry.select and entry.select.where else layout
    views = []
    for well, label in zip(selected["well_position"], selected["label"], strict=True):
        field = FieldImage.open(Source(str(EXAMPLE / f"plates/{plate}.zarr")), f"{well[0]}/{well[1:]}/0")
        seen = tile_field(field.shape, told.size)[0].slices
        regions = {region: mask[seen] for region, mask in read_regions(field, entry.regions).items()}
        objects = widen(regions[entry.objects], entry.halo_px)
        scene = Scene(field.read(told.channels)[:, *seen], objects, SETTINGS.blur * told.size[0])
        views.append(Seen(ViewKey(plate, well[0], well[1:], "0", "0_0"), label, scene, regions))
    return read_views(classifier, views, entry.objects)


def read_views(classifier: Classifier, views: Sequence[Seen], objects: str) -> Contrast:
    """Let a classifier call views, exchange their regions, and read what follows."""
    scores = classifier.logits_of([view.scene.pixels for view in views], SETTINGS.batch_size)
    calls = [classifier.contract.classes[number] for number in scores.argmax(1)]
    subjects = [
        Subject(view.key, call, softmax(logits).tolist(), view.scene, view.regions)
        for view, call, logits in zip(views, calls, scores, strict=True)
    ]
    known = [call == view.label for call, view in zip(calls, views, strict=True) if view.label]
    rows = exchange_regions(classifier, subjects, objects, SETTINGS)
    table = findings.exchange_table(pd.DataFrame(rows, columns=COLUMNS), draws=1000)
    return Contrast(float(np.mean(known)), len(views), table, read_exchanges(rows, objects))


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form trains one network of each kind in place of five."""
    torch.set_num_threads(1)
    rows = []
    for kind, expected in EXPECTED.items():
        found = [contrast(kind, STEPS[kind], seed) for seed in range(1 if quick else 5)]
        right = sum(one.reading.verdict == expected for one in found)
        rows += [
            Row(f"{kind}: {expected}", right / len(found), "", 1.0, "higher", n=len(found)),
            Row(f"{kind}: accuracy, held out", float(np.mean([one.accuracy for one in found])), "", None, "higher"),
        ]
        for region in ("worms", "rim", "surroundings"):
            follows = np.mean([one.table.set_index("region").loc[region, "follows"] for one in found])
            rows.append(Row(f"{kind}: calls that follow the {region}", float(follows), "", None, "higher"))
    for name, expected in EXAMPLES.items():
        told = example(name)
        print(name, told.reading.verdict, told.reading.headline, sep=": ")
        rows.append(Row(f"{name}: {expected}", float(told.reading.verdict == expected), "", 1.0, "higher"))
    report("contrasts", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
