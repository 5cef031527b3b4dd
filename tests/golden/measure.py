"""The numbers that must not move in silence: a few of each stage, on one fixed view.

``python tests/golden/measure.py`` writes golden.json anew; do that when a revision was raised on purpose.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "src")]


class View:
    """The fixed view, its classifier, and the maps that most methods make of it."""

    METHODS = (
        "pcim",
        "pcim_literal",
        "integrated_gradients",
        "occlusion",
        "rise",
        "smooth_grad",
        "edge",
        "contrast",
        "random",
    )

    def __init__(self) -> None:
        from makers import SIZE, spot_field, write_model

        from pcim.classifiers.classifier import load_classifier, pick_device
        from pcim.core.identity import ViewKey

        rng = np.random.default_rng(4)
        self.pixels = spot_field(rng, SIZE, (20, 30))
        self.plain = spot_field(rng, SIZE, None)
        self.mask = np.zeros(SIZE, bool)
        self.mask[17:24, 27:34] = True
        self.key = ViewKey("p", "A", "1", "0", "0_0")
        with tempfile.TemporaryDirectory() as folder:
            self.classifier = load_classifier(write_model(Path(folder)), ["makers"], pick_device(0))

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        from pcim.attribution.explain import explain_each
        from pcim.config.methods import PeerSettings
        from pcim.config.stages import AttributeSettings

        images = self.classifier.normalise(self.pixels[np.newaxis])
        target = self.classifier.class_index(["spot"])
        settings = AttributeSettings(peers=PeerSettings(occlusion_px=8, rise_masks=100), batch_size=1)
        return {
            name: next(iter(explain_each(self.classifier, name, images, target, [1], settings)))[1]
            .channel_maps[0]
            .numpy()
            for name in self.METHODS
        }

    @cached_property
    def asked(self) -> np.ndarray:
        """The map of a classifier that gives no gradients, from its scores alone."""
        from pcim import PCIM

        images = self.classifier.normalise(self.pixels[np.newaxis])
        score = self.classifier.network
        explainer = PCIM(lambda batch: score(torch.from_numpy(batch)).detach().numpy(), budget=200, batch_size=8)
        return explainer.learn(images, self.classifier.class_index(["spot"])).channel_maps[0].numpy()


def _convert(view: View) -> list[float]:
    from pcim.plates.writer import mean_of_four

    halved = mean_of_four(view.pixels)
    return [float(value) for value in (*halved[:, ::6, ::6].ravel(), *mean_of_four(halved.astype(np.float32))[:, 5, 5])]


def _ingest(view: View) -> list[float]:
    from makers import CHANNELS

    from pcim.config.stages import IngestSettings
    from pcim.plates.quality import _contrast, _fine_share, illumination, judge
    from pcim.views.intensity import count_values, percentile
    from pcim.views.objects import middles

    pixels = view.pixels
    return [
        float(judge(pixels, CHANNELS, IngestSettings()).verdict == "ok"),
        *(f(plane.astype(np.float32)) for plane in pixels for f in (_contrast, _fine_share)),
        *(value for plane in pixels for value in illumination(plane)),
        *(percentile(count_values(plane), percent, "uint16") for plane in pixels for percent in (1, 50, 99)),
        *(float(value) for _, *middle in middles(view.mask.astype(np.uint8)) for value in middle),
    ]


def _classify(view: View) -> list[float]:
    return list(view.classifier.logits_of(view.pixels[np.newaxis], 2)[0].tolist())


def _attribute(view: View) -> list[float]:
    every = [*view.maps.values(), view.asked]
    return [value for maps in every for value in (*_blocks(maps), *_faint(maps), *_by_channel(maps))]


def _aggregate(view: View) -> list[float]:
    from makers import CHANNELS, SIZE

    from pcim.core.tiling import Box
    from pcim.stages.aggregate.mean_maps import ObjectMaps, find_windows
    from pcim.stages.aggregate.shares import region_shares
    from pcim.views.regions import partition

    maps = view.maps["pcim"]
    shares = region_shares(maps, CHANNELS, partition({"spots": view.mask}))
    windows = find_windows(view.mask.astype(np.uint8), {view.key: Box(0, 0, *SIZE)}, side=9, most=1)
    around = ObjectMaps(9, CHANNELS)
    around.add("pcim", {"call": "spot"}, windows[view.key.view], maps.sum(0) / maps.sum(), view.pixels)
    return [
        *(value for share in shares for value in (share.share, share.lift)),
        *around.dataset()["object_map"].sum("x").values[0].astype(float).tolist(),
    ]


def _evaluate(view: View) -> list[float]:
    from pcim.composites.region_swap import Scene
    from pcim.config.stages import EvaluateSettings
    from pcim.core.identity import ViewKey
    from pcim.interventions.experiment import Subject, exchange_regions
    from pcim.metrics.score_view import Case, score
    from pcim.stages.compare import compare_maps
    from pcim.views.regions import partition

    settings = EvaluateSettings(steps=6, batch_size=4, partners=1)
    case = Case(view.key, view.pixels, "spot", {name: maps.sum(0) for name, maps in view.maps.items()}, view.mask)
    scores, _ = score(view.classifier, case, settings, "mean")
    regions = partition({"spots": view.mask})
    subjects = [
        Subject(key, call, [0.5, 0.5], Scene(pixels, view.mask, 4.0), regions)
        for key, call, pixels in (
            (view.key, "spot", view.pixels),
            (ViewKey("p", "A", "2", "0", "0_0"), "plain", view.plain),
        )
    ]
    exchanged = exchange_regions(view.classifier, subjects, "spots", settings)
    alike = compare_maps(view.maps["pcim"], view.maps["edge"], view.key)
    return [*(row["value"] for row in scores), *(row["p_after"] for row in exchanged), *alike.values()]


def _report(view: View) -> list[float]:
    from pcim.report.analysis.intervals import cluster_bootstrap_mean, holm, proportion_interval
    from pcim.report.analysis.permutation_tests import effects

    values = view.pixels[1, ::6, ::6].ravel().astype(float)
    wells = [number % 8 for number in range(len(values))]
    interval, share = cluster_bootstrap_mean(values, wells, draws=500), proportion_interval(7, 9)
    rows = {"row": np.arange(len(values)) % 4}
    tested = effects(values, rows, np.zeros(len(values), int), draws=500, seed=0)
    return [
        interval.mean,
        interval.low,
        interval.high,
        share.low,
        share.high,
        *holm([0.01, 0.04, 0.03]),
        *tested["row"],
    ]


STAGES = {
    "convert": _convert,
    "ingest": _ingest,
    "classify": _classify,
    "attribute": _attribute,
    "aggregate": _aggregate,
    "evaluate": _evaluate,
    "report": _report,
}


def measure(stages: Iterable[str] = tuple(STAGES)) -> dict[str, dict[str, object]]:
    """Return stage -> its revision and its numbers."""
    from pcim.revisions import REVISIONS

    view = View()
    return {stage: {"revision": REVISIONS[stage], "numbers": STAGES[stage](view)} for stage in stages}


def _blocks(attribution: np.ndarray) -> list[float]:
    """Return the sums of a map's 12 px blocks, as shares of the whole."""
    flat = attribution.sum(0)
    blocks = flat.reshape(flat.shape[0] // 12, 12, flat.shape[1] // 12, 12).sum((1, 3)) / flat.sum()
    return [float(value) for value in blocks.ravel()]


def _faint(attribution: np.ndarray) -> list[float]:
    """Return quantiles of a map on a logarithmic scale: what blocks of a map of one bright spot do not show."""
    flat = attribution.sum(0) / attribution.sum(0).mean()
    return [float(value) for value in np.log10(np.quantile(flat, (0.1, 0.5, 0.9, 0.99)) + 1e-6)]


def _by_channel(attribution: np.ndarray) -> list[float]:
    return [float(value) for value in attribution.sum((1, 2)) / attribution.sum()]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(measure(), indent=1) + "\n")
