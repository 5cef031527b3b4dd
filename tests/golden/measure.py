"""The numbers that must not move in silence: a few of each stage, by name, on one fixed view.

``python tests/golden/measure.py`` writes golden.json anew; do that when a revision was raised on purpose. Where numbers came or
went, run ``python tests/golden/spread.py`` too: it says how far each may move without a reason.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

Numbers = dict[str, float]
"""Numbers by name."""

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
SPREAD = HERE / "spread.json"
ROUNDING = {"occlusion quantile 0", "occlusion quantile 1"}
"""Numbers that are left out: far from the spot occlusion is the difference of two nearly equal logits."""

sys.path[:0] = [str(HERE.parent / "helpers"), str(HERE.parents[1] / "src")]


class SoftDetector(torch.nn.Module):
    """Sees a bright spot, mostly in the second channel, and every pixel counts a little.

    The detector of the planted campaign takes a maximum. Where two places are nearly equal, the last bit decides which of them has the
    gradient; where nothing is seen, nothing has any, and the ranks of a map are those of rounding. This one takes a soft maximum, whose
    gradient has no jumps. Nor is it certain: it calls the view a spot with p = 0.96, and a plain view with p = 0.04.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel = torch.nn.Parameter(torch.tensor([0.3, 1.0]).view(1, 2, 1, 1).expand(1, 2, 5, 5) / 25)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of (plain, spot)."""
        seen = torch.nn.functional.conv2d(images, self.kernel, padding=2)
        spot = torch.logsumexp(2 * seen, (1, 2, 3)) - 9.6
        return torch.stack([-spot, spot], 1)


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
    NEARLY_TIED = ("pcim_literal", "occlusion", "contrast")
    """Methods whose maps have pixels that differ by rounding alone: metrics of their ranks hang on the processor."""

    def __init__(self) -> None:
        from planted_campaign import SIZE, spot_field, write_model

        from pcim.classifiers.classifier import load_classifier, pick_device
        from pcim.core.identity import ViewKey

        rng = np.random.default_rng(4)
        self.pixels = spot_field(rng, SIZE, (20, 30))
        self.plain = spot_field(rng, SIZE, None)
        self.mask = np.zeros(SIZE, bool)
        self.mask[17:24, 27:34] = True
        self.key = ViewKey("p", "A", "1", "0", "0_0")
        with tempfile.TemporaryDirectory() as folder:
            loaded = load_classifier(write_model(Path(folder)), ["planted_campaign"], pick_device(0))
        self.classifier = replace(loaded, network=SoftDetector().eval().requires_grad_(False))

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        from pcim.attribution.explain import explain_each
        from pcim.config.methods import PeerSettings
        from pcim.config.stages import AttributeSettings

        images = self.classifier.normalise(self.pixels[np.newaxis])
        target = self.classifier.class_index(["spot"])
        settings = AttributeSettings(peers=PeerSettings(occlusion_px=8, rise_masks=100), batch_size=1)
        return {
            name: next(iter(explain_each(self.classifier, name, images, target, [1], settings)))[1].channel_maps[0].numpy()
            for name in self.METHODS
        }

    @cached_property
    def asked(self) -> np.ndarray:
        """The map of a classifier that gives no gradients, from its scores alone."""
        from pcim import PCIM

        images = self.classifier.normalise(self.pixels[np.newaxis])
        score = self.classifier.network
        explainer = PCIM(lambda batch: score(torch.from_numpy(batch)).detach().numpy(), budget=200, batch_size=8)
        return explainer.learn(images, self.classifier.class_index(["spot"]), keys=[1]).channel_maps[0].numpy()


def _convert(view: View) -> Numbers:
    from pcim.plates.ngff_writer import mean_of_four

    halved = mean_of_four(view.pixels)
    quartered = mean_of_four(halved.astype(np.float32))
    return _named("halved", halved[:, ::6, ::6]) | _named("quartered", quartered[:, 5, 5])


def _ingest(view: View) -> Numbers:
    from planted_campaign import CHANNELS

    from pcim.config.stages import IngestSettings
    from pcim.plates.quality import _contrast, _fine_share, illumination, judge
    from pcim.views.intensity import count_values, percentile
    from pcim.views.objects import middles

    found = {"is ok": float(judge(view.pixels, CHANNELS, IngestSettings()).verdict == "ok")}
    for channel, plane in zip(CHANNELS, view.pixels, strict=True):
        found |= {f"{channel} {f.__name__}": f(plane.astype(np.float32)) for f in (_contrast, _fine_share)}
        found |= _named(f"{channel} illumination", illumination(plane))
        counts = count_values(plane)
        found |= {f"{channel} percentile {percent}": percentile(counts, percent, "uint16") for percent in (1, 50, 99)}
    return found | _named("middle", [middle for _, *middle in middles(view.mask.astype(np.uint8))])


def _classify(view: View) -> Numbers:
    return _named("logit", view.classifier.logits_of(view.pixels[np.newaxis], 2)[0])


def _attribute(view: View) -> Numbers:
    found: Numbers = {}
    for method, maps in {**view.maps, "pcim from scores": view.asked}.items():
        found |= _named(f"{method} block", _blocks(maps))
        found |= _named(f"{method} quantile", _faint(maps))
        found |= _named(f"{method} channel", maps.sum((1, 2)) / maps.sum())
    return {name: value for name, value in found.items() if name not in ROUNDING}


def _aggregate(view: View) -> Numbers:
    from planted_campaign import CHANNELS, SIZE

    from pcim.core.tiling import Box
    from pcim.stages.aggregate.mean_maps import ObjectMaps, find_windows
    from pcim.stages.aggregate.shares import region_shares
    from pcim.views.regions import partition

    maps = view.maps["pcim"]
    windows = find_windows(view.mask.astype(np.uint8), {view.key: Box(0, 0, *SIZE)}, side=9, most=1)
    around = ObjectMaps(9, CHANNELS)
    around.add("pcim", {"call": "spot"}, windows[view.key.view], maps.sum(0) / maps.sum(), view.pixels)
    found: Numbers = {}
    for share in region_shares(maps, CHANNELS, partition({"spots": view.mask})):
        found |= {f"{share.region} {share.channel} {name}": getattr(share, name) for name in ("share", "lift")}
    return found | _named("object map row", around.dataset()["object_map"].sum("x").values[0])


def _evaluate(view: View) -> Numbers:
    from pcim.composites.region_swap import Scene
    from pcim.config.stages import EvaluateSettings
    from pcim.core.identity import ViewKey
    from pcim.interventions.experiment import Subject, exchange_regions
    from pcim.metrics.score_view import Case, score
    from pcim.stages.compare import compare_maps
    from pcim.views.regions import partition

    settings = EvaluateSettings(steps=6, batch_size=4, partners=1)
    ranked = {name: maps.sum(0) for name, maps in view.maps.items() if name not in view.NEARLY_TIED}
    case = Case(view.key, view.pixels, "spot", ranked, view.mask)
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
    return {
        **{f"{row['method']} {row['metric']} {row['substitute']}".rstrip(): row["value"] for row in scores},
        **{f"{row['call_before']} view, {row['region']}, {row['kind']}": row["p_after"] for row in exchanged},
        **{f"pcim and edge {name}": value for name, value in alike.items()},
    }


def _report(view: View) -> Numbers:
    from pcim.report.analysis.intervals import cluster_bootstrap_mean, holm, proportion_interval
    from pcim.report.analysis.permutation_tests import effects

    values = view.pixels[1, ::6, ::6].ravel().astype(float)
    wells = [number % 8 for number in range(len(values))]
    interval, share = cluster_bootstrap_mean(values, wells, draws=500), proportion_interval(7, 9)
    rows = {"row": np.arange(len(values)) % 4}
    tested = effects(values, rows, np.zeros(len(values), int), draws=500, seed=0)
    return {
        "mean": interval.mean,
        "mean low": interval.low,
        "mean high": interval.high,
        "proportion low": share.low,
        "proportion high": share.high,
        **_named("holm", holm([0.01, 0.04, 0.03])),
        **_named("effect of row", tested["row"]),
    }


STAGES = {
    "convert": _convert,
    "ingest": _ingest,
    "classify": _classify,
    "attribute": _attribute,
    "aggregate": _aggregate,
    "evaluate": _evaluate,
    "report": _report,
}


def measure(stages: Iterable[str] = tuple(STAGES), view: View | None = None) -> dict[str, dict[str, Any]]:
    """Return stage -> its revision and its numbers by name."""
    from pcim.revisions import REVISIONS

    view = view or View()
    return {stage: {"revision": REVISIONS[stage], "numbers": STAGES[stage](view)} for stage in stages}


def _named(what: str, values: Any) -> Numbers:
    """Return every number of an array by what it is and its place there."""
    return {" ".join((what, *map(str, at))): float(value) for at, value in np.ndenumerate(np.asarray(values))}


def _blocks(attribution: np.ndarray) -> np.ndarray:
    """Return the sums of a map's 12 px blocks, as shares of the whole."""
    flat = attribution.sum(0)
    return flat.reshape(flat.shape[0] // 12, 12, flat.shape[1] // 12, 12).sum((1, 3)) / flat.sum()


def _faint(attribution: np.ndarray) -> np.ndarray:
    """Return quantiles of a map on a logarithmic scale: what blocks of a map of one bright spot do not show."""
    flat = attribution.sum(0) / attribution.sum(0).mean()
    return np.log10(np.quantile(flat, (0.1, 0.5, 0.9, 0.99)) + 1e-6)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(measure(), indent=1) + "\n")
