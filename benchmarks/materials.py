"""What the quality benchmark explains: scenes whose causal pixels are known, and the example's plates with their labels."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import yaml
from networks import NETWORKS, trained
from scenes import SETS, make

from pcim.classifiers.classifier import load_classifier, pick_device
from pcim.config.config import Config
from pcim.core.plate_source import Source
from pcim.plates.field_image import FieldImage
from pcim.views.reader import read_regions
from pcim.views.views_with_maps import explained_views

if TYPE_CHECKING:
    from torch import Tensor

SCENES = tuple(f"{name}/{network}" for name in SETS for network in NETWORKS)
PLATES = ("bbbc013_translocation", "bbbc010_rows", "bbbc010_columns")
RESULTS = Path("results/demo")
CONFIG = Path("config/config.yaml")


@dataclass(frozen=True)
class Material:
    """n images (n, c, h, w), normalised, what they are explained as, what makes them so, and who judges the maps.

    `masks` (n, h, w) are empty where nothing makes the class. `units` are what a bootstrap resamples: the image, or its well.
    `judge` is a second classifier of the same question, trained apart; None where there is none.
    """

    name: str
    images: Tensor
    targets: Tensor
    masks: Tensor
    units: list[str]
    classifier: Any
    judge: Any | None

    def first(self, n: int) -> Material:
        """Return the first n images."""
        parts = (self.images[:n], self.targets[:n], self.masks[:n], self.units[:n])
        return Material(self.name, *parts, self.classifier, self.judge)


@cache
def material(name: str, split: str, n: int) -> Material:
    """Return n scenes of a split, ``set/network``; or the explained views of a classifier of the example's campaign."""
    torch.set_num_threads(1)
    return _of_plate(name) if name in PLATES else _of_scenes(name, split, n)


def _of_scenes(name: str, split: str, n: int) -> Material:
    kind, network = name.split("/")
    scenes, names = make(kind, split, n), list(NETWORKS)
    classifier = trained(kind, network)
    targets = classifier(scenes.images).argmax(1)
    shown = scenes.masks & (targets == 1)[:, None, None]  # a scene that was called plain has no reason to point at
    judge = trained(kind, names[(names.index(network) + 1) % len(names)])
    return Material(name, scenes.images, targets, shown, [str(number) for number in range(n)], classifier, judge)


def _of_plate(name: str) -> Material:
    """Read the views that the example campaign explains; Snakemake runs it first where it has not been run."""
    if not (RESULTS / "report/index.html").exists():
        subprocess.run([sys.executable, "-m", "snakemake"], check=True)
    config = Config.model_validate(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))
    entry = config.classifiers[name]
    classifier = load_classifier(entry.model, ["pcim"], pick_device(0))
    ledgers = [str(path) for path in sorted((RESULTS / "attribute" / name / "pcim").rglob("*.parquet"))]
    plate = entry.plates[0]
    views = explained_views(ledgers, pd.read_parquet(next((RESULTS / "ingest" / plate).glob("*.parquet"))))
    stores = pd.read_csv(config.plates, sep="\t").set_index("plate")["path"]
    pixels, masks = [], []
    for view in views.to_dict("records"):
        image = FieldImage.open(Source(stores[plate]), str(view["path"]))
        here = slice(view["top"], view["top"] + view["height"]), slice(view["left"], view["left"] + view["width"])
        pixels.append(image.read(classifier.contract.input.channels)[:, *here])
        masks.append(read_regions(image, entry.regions)[str(entry.objects)][here])
    images, targets = classifier.normalise(np.stack(pixels)), classifier.class_index(list(views["target"]))
    return Material(name, images, targets, torch.from_numpy(np.stack(masks)), list(views["well"]), classifier, None)
