"""What a map costs: PCIM's loop against the bare network, and every method against integrated gradients.

``python benchmarks/bench_attribute.py [--quick]``; run it from the repository's root.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from harness import Row, paired_ratio, report

from pcim.attribute.backgrounds import make_background
from pcim.attribute.blending import keep
from pcim.attribute.learning import Preset, learn
from pcim.attribute.peers import METHOD_FUNCTIONS, Batch
from pcim.config import AttributeSettings, PcimSettings
from pcim.models import load_classifier, pick_device
from pcim.stores import FieldImage

WELLS = [f"D/{column:02d}/0" for column in range(1, 9)]


def main(*, quick: bool) -> None:
    """Measure on eight whole wells of the example."""
    classifier = load_classifier(Path("example/models/bbbc010_rows/model.yaml"), ["pcim"], pick_device(0))
    fields = [FieldImage.open(Path("example/plates/bbbc010.zarr") / well) for well in WELLS]
    images = classifier.normalise(np.stack([field.read(classifier.contract.input.channels) for field in fields]))
    with torch.no_grad():
        targets = classifier(images).argmax(1)
    steps, repeats = (10, 3) if quick else (50, 7)
    preset = Preset.default(PcimSettings(steps=steps))
    backgrounds = make_background(images, "blur", 0.125)

    def bare() -> None:
        """Do the network's part of the loop alone: forward and input-backward of keep and drop, as one batch."""
        both = torch.cat([keep(images, backgrounds, torch.ones_like(images)), backgrounds])
        for _ in range(steps):
            both = both.detach().requires_grad_()
            torch.autograd.grad(classifier(both).logsumexp(1).sum(), [both])

    loop = paired_ratio(lambda: learn(classifier, images, backgrounds, targets, preset), bare, repeats)
    # The blend, the smoothing and Adam are a few passes over the pixels; next to a network this small (a millisecond a
    # view) they cannot vanish. The bar is what is worth an alarm, not the aim of the attribution core.
    rows = [Row("PCIM's loop / bare forward + input-backward", loop, "x", 2.0, "lower")]
    settings = AttributeSettings(pcim=PcimSettings(steps=10 if quick else 100))
    batch = Batch(images, targets, list(range(len(images))))

    def run(method: str) -> None:
        METHOD_FUNCTIONS[method](classifier, batch, settings)

    for method in ("pcim", "pcim_literal", "grad_cam", "occlusion"):
        ratio = paired_ratio(lambda m=method: run(m), lambda: run("integrated_gradients"), 1 if quick else 3)
        rows.append(Row(f"{method} / integrated gradients", ratio, "x", None, "lower"))
    report("attribute", rows, quick=quick)


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
