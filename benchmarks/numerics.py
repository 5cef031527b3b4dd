"""How far do maps move when only the arithmetic does: threads, batch, oneDNN, instruction set? `pcim reproduce` allows so much.

Each variant is a process of its own, as instruction sets are chosen once. Run from the repository's root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from harness import Row, options, report

from pcim.attribution.explain import classifier_for, explain_each
from pcim.classifiers.classifier import load_classifier, pick_device
from pcim.config.config import Config
from pcim.core.identity import ViewKey
from pcim.core.plate_source import Source
from pcim.core.tiling import Box
from pcim.operations.map_differences import LOGITS, how_far, least_correlation
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage

CLASSIFIERS = {"bbbc013_translocation": "bbbc013", "bbbc010_rows": "bbbc010"}
VARIANTS: dict[str, dict[str, str]] = {
    "as a job computes": {},
    "two threads": {"PCIM_THREADS": "2"},
    "half the batch": {"PCIM_BATCH": "4"},
    "without oneDNN": {"PCIM_ONEDNN": "0"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "no vector instructions": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
"""What changes: variables of the environment."""


def compute(views: int) -> dict[str, Any]:
    """Return logits and every method's maps (view, channel, y, x) of some views of each classifier, in units of their mean."""
    config = Config.model_validate(yaml.safe_load(Path("config/config.yaml").read_text()))
    batch = int(os.environ.get("PCIM_BATCH", config.attribute.batch_size))
    settings = config.attribute.model_copy(update={"batch_size": batch})
    found: dict[str, Any] = {}
    for name, plate in CLASSIFIERS.items():
        classifier = load_classifier(config.classifiers[name].model, ["pcim"], pick_device(0))
        torch.set_num_threads(int(os.environ.get("PCIM_THREADS", "1")))
        torch.backends.mkldnn.enabled = os.environ.get("PCIM_ONEDNN", "1") == "1"
        source, contract = Source(f"example/plates/{plate}.zarr"), classifier.contract.input
        wells = ngff.read_plate(source.place).wells
        raw, keys = [], []
        for well in wells[:: len(wells) // views][:views]:
            (field, *_) = ngff.read_well(source.place, well, None)
            pixels = FieldImage.open(source, f"{well.path}/{field}").read(contract.channels)
            raw.append(pixels[:, *Box(0, 0, *contract.size).slices])
            keys.append(ViewKey(plate, well.row, well.column, field, "0_0"))
        logits = classifier.logits_of(raw, config.classify.batch_size)
        found[f"{name}/logits"] = logits
        images, targets = classifier.normalise(raw), torch.from_numpy(logits.argmax(1))
        for method in settings.methods:
            maps = np.zeros(0)
            numbers = [key.number(method) for key in keys]
            asked = classifier_for(method, classifier)
            for items, one in explain_each(asked, method, images, targets, numbers, settings):
                part = one.channel_maps.numpy()
                maps = maps if maps.size else np.zeros((len(raw), *part.shape[1:]))
                maps[items] = part
            found[f"{name}/{method}"] = maps / maps.sum(1, keepdims=True).mean((2, 3), keepdims=True)
    return found


def computed_as(variant: str, views: int, folder: Path) -> dict[str, Any]:
    """Run a variant in a process of its own and return what it computed."""
    out = folder / f"{variant}.npz"
    command = [sys.executable, __file__, "--compute", str(views), str(out)]
    subprocess.run(command, check=True, env=os.environ | VARIANTS[variant])
    with np.load(out) as stored:
        return dict(stored)


def main(*, quick: bool, write: bool) -> None:
    """Compare every variant with the first."""
    with tempfile.TemporaryDirectory() as folder:
        all_of = {variant: computed_as(variant, 2 if quick else 8, Path(folder)) for variant in VARIANTS}
    first, *others = all_of
    rows = []
    for variant in others:
        for name, before in all_of[first].items():
            now = all_of[variant][name]
            if name.endswith("/logits"):
                rows.append(Row(f"{variant}: {name}, largest difference", np.abs(before - now).max(), "", LOGITS, "lower"))
                continue
            distances = [how_far(*pair) for pair in zip(before, now, strict=True)]
            n = len(distances)
            rows.append(
                Row(
                    f"{variant}: {name}, lowest Pearson",
                    min(p for _, p in distances),
                    "",
                    least_correlation(name.partition("/")[2]),
                    "higher",
                    n=n,
                )
            )
            rows.append(Row(f"{variant}: {name}, largest difference", max(d for d, _ in distances), "means", None, "lower", n=n))
    report("numerics", rows, quick, write)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--compute"]:
        np.savez(sys.argv[3], **compute(int(sys.argv[2])))
    else:
        given = options(__doc__ or "")
        main(quick=given.quick, write=given.write)
