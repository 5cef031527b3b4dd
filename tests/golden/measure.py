"""The numbers that must not move in silence: a few of each stage, on one fixed view.

``python tests/golden/measure.py`` writes golden.json anew; do that when a revision was raised on purpose.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "src")]


def measure() -> dict[str, dict[str, object]]:
    """Return stage -> its revision and its numbers."""
    from makers import CHANNELS, SIZE, spot_field, write_model

    from pcim.aggregate import region_shares
    from pcim.attribute.methods import explain_each
    from pcim.chunks import Box
    from pcim.config import AttributeSettings, EvaluateSettings, IngestSettings
    from pcim.meanmaps import ObjectMaps, find_windows
    from pcim.method_settings import PeerSettings
    from pcim.models import load_classifier, pick_device
    from pcim.plate import ViewKey
    from pcim.quality import _contrast, _fine_share, illumination, judge
    from pcim.regions import partition
    from pcim.revisions import REVISIONS
    from pcim.scoring import Case, score

    pixels = spot_field(np.random.default_rng(4), SIZE, (20, 30))
    mask = np.zeros(SIZE, bool)
    mask[17:24, 27:34] = True
    with tempfile.TemporaryDirectory() as folder:
        classifier = load_classifier(write_model(Path(folder)), ["makers"], pick_device(0))
    images = classifier.normalise(pixels[np.newaxis])
    target = classifier.class_index(["spot"])
    settings = AttributeSettings(peers=PeerSettings(occlusion_px=8, rise_masks=100), batch_size=1)
    methods = ("pcim", "pcim_literal", "integrated_gradients", "occlusion", "rise", "smooth_grad", "edge",
               "contrast", "random")  # fmt: skip
    maps = {
        name: next(iter(explain_each(classifier, name, images, target, [1], settings)))[1].channel_maps[0].numpy()
        for name in methods
    }
    case = Case(ViewKey("p", "A", "1", "0", "0_0"), pixels, "spot", {k: m.sum(0) for k, m in maps.items()}, mask)
    scores, _ = score(classifier, case, EvaluateSettings(steps=6, batch_size=4), "mean")
    shares = region_shares(maps["pcim"], CHANNELS, partition({"spots": mask}))
    windows = find_windows(mask.astype(np.uint8), {case.key: Box(0, 0, *SIZE)}, side=9, most=1)
    around = ObjectMaps(9, CHANNELS)
    around.add("pcim", {"call": "spot"}, windows[case.key.view], maps["pcim"].sum(0) / maps["pcim"].sum(), pixels)
    verdict = judge(pixels, CHANNELS, IngestSettings()).verdict == "ok"
    numbers = {
        "ingest": [
            float(verdict),
            *(f(plane.astype(np.float32)) for plane in pixels for f in (_contrast, _fine_share)),
            *(value for plane in pixels for value in illumination(plane)),
        ],
        "classify": classifier.logits_of(pixels[np.newaxis], 2)[0].tolist(),
        "attribute": [value for m in maps.values() for value in _blocks(m)],
        "aggregate": [
            *(value for share in shares for value in (share.share, share.lift)),
            *around.dataset()["object_map"].sum("x").values[0].astype(float).tolist(),
        ],
        "evaluate": [row["value"] for row in scores],
    }
    return {stage: {"revision": REVISIONS[stage], "numbers": values} for stage, values in numbers.items()}


def _blocks(attribution: np.ndarray) -> list[float]:
    """Return the sums of a map's 12 px blocks, as shares of the whole."""
    flat = attribution.sum(0)
    blocks = flat.reshape(flat.shape[0] // 12, 12, flat.shape[1] // 12, 12).sum((1, 3)) / flat.sum()
    return [float(value) for value in blocks.ravel()]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(measure(), indent=1) + "\n")
