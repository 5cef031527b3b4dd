"""The metrics' speed: one method's whole default set beside the same metrics in Quantus, forward passes, and the bootstrap.

``python benchmarks/metrics.py [--quick] [--write]``, from the repository's root; it needs the tests' environment (Quantus 0.6.0). 16 views
of 1 x 64 x 64, a small network, one thread, on the CPU; with a GPU, on that too.
"""

from __future__ import annotations

import resource
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from harness import Row, options, paired_ratio, report
from scipy.ndimage import gaussian_filter

from pcim import metrics
from pcim.composites.baselines import make_background
from pcim.metrics.random_removal import log_sizes
from pcim.report.analysis.intervals import bootstrap_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

np.trapz = np.trapezoid  # type: ignore[attr-defined]  # noqa: NPY201 - Quantus needs it, and NumPy 2.4 has it no more
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

VIEWS, SIDE, BATCH, STEPS, SETS, CELL_PX = 16, 64, 64, 10, 20, 4
FEW_WELLS = 40
"""From so many wells on intervals must hold what they promise."""
INNER = 11
"""Points of a curve between its ends: 10 to 90 % of the pixels, 1 % and 5 %."""


def network() -> nn.Module:
    """Return a small network of four convolutions, two classes."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inward, outward in ((1, 8), (8, 16), (16, 32), (32, 32)):
        layers += [torch.nn.Conv2d(inward, outward, 3, stride=2, padding=1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(32 * 16, 2)).eval()


def material() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return views (n, 1, h, w), smooth maps (n, h, w), masks and targets."""
    lot = np.random.default_rng(0)
    views, maps = gaussian_filter(lot.normal(size=(2, VIEWS, SIDE, SIDE)), (0, 0, 2, 2)).astype(np.float32)
    masks = gaussian_filter(lot.normal(size=(VIEWS, SIDE, SIDE)), (0, 4, 4)) > 0
    return (
        torch.from_numpy(views)[:, None],
        torch.from_numpy(maps - maps.min()),
        torch.from_numpy(masks),
        torch.arange(VIEWS) % 2,
    )


def ours(classify: Callable[[Tensor], Tensor], parts: tuple[Tensor, ...]) -> None:
    """Compute the default set of one method on every view."""
    views, maps, masks, targets = parts
    numbers = torch.arange(len(views), device=views.device)
    probe = metrics.Probe(classify, views, targets, BATCH)
    fills: dict[str, metrics.Fill] = {
        "mean": metrics.FixedFill(views, torch.zeros_like(views)),
        "blur": metrics.FixedFill(views, make_background(views, "blur", 0.06)),
        "noise": metrics.FixedFill(views, metrics.noise_matched(views, numbers)),
        "road": metrics.ImputedFill(views, numbers),
    }
    found = metrics.curves(probe, maps, numbers, fills, keys=numbers, steps=STEPS)
    for kind, curves in found.items():
        read = (
            metrics.deletion_auc,
            metrics.insertion_auc,
            metrics.morf_lerf,
            metrics.comprehensiveness,
            metrics.sufficiency,
        )
        for metric in (metrics.road,) if kind == "road" else read:
            metric(curves)
    taken = metrics.removals(probe, fills["noise"], keys=numbers, sets=SETS, cell_px=CELL_PX)
    metrics.sensitivity_n(maps, numbers, taken)
    metrics.infidelity(maps, numbers, taken)
    metrics.faithfulness_correlation(maps, numbers, taken, taken.sizes[3])
    for located in (
        metrics.relevance_mass_accuracy, metrics.relevance_rank_accuracy, metrics.pointing_game, metrics.iou, metrics.auroc, metrics.auprc,
    ):  # fmt: skip
        located(maps, masks)
    metrics.top_k_intersection(maps, masks, SIDE * SIDE // 20)
    for spread in (metrics.gini, metrics.entropy, metrics.effective_area):
        spread(maps)


def theirs(model: nn.Module, parts: tuple[Tensor, ...]) -> None:
    """Compute what Quantus has of that set, with as many perturbations: its curves in both orders for three substitutes."""
    views, maps, masks, targets = (part.cpu().numpy() for part in parts)
    plain: dict[str, Any] = {"disable_warnings": True, "display_progressbar": False, "normalise": False, "abs": False}
    step = {"features_in_step": SIDE * SIDE // 8}  # it must divide the view: fewer steps than ours
    subset = {"nr_runs": SETS * len(log_sizes((SIDE // CELL_PX) ** 2)), "subset_size": 23 * CELL_PX**2}
    flips = [quantus.PixelFlipping(**plain, **step, perturb_baseline=0.0) for _ in range(3)]
    road = quantus.ROAD(**plain, percentages=list(range(10, 100, 10)))
    removal = [
        quantus.SensitivityN(**plain, features_in_step=SIDE * SIDE // 128, n_max_percentage=1.0, perturb_baseline=0.0),
        quantus.FaithfulnessCorrelation(**plain, **subset, perturb_baseline=0.0),
        quantus.Infidelity(**plain, n_perturb_samples=1, perturb_patch_sizes=[CELL_PX]),
    ]
    located = [
        quantus.RelevanceMassAccuracy(**plain), quantus.RelevanceRankAccuracy(**plain), quantus.PointingGame(**plain),
        quantus.AUC(**plain), quantus.TopKIntersection(**plain, k=SIDE * SIDE // 20),
    ]  # fmt: skip
    spread = [quantus.Sparseness(**plain), quantus.Complexity(**plain)]
    told = {"model": model, "x_batch": views, "y_batch": targets, "channel_first": True, "batch_size": VIEWS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for metric in flips:
            metric(**told, a_batch=maps[:, None].copy())
            metric(**told, a_batch=maps.max() - maps[:, None])
        for metric in (road, *removal, *spread):
            metric(**told, a_batch=maps[:, None].copy())
        for metric in located:
            metric(**told, a_batch=maps[:, None].copy(), s_batch=masks[:, None])


def passes_over_minimum(model: nn.Module, parts: tuple[Tensor, ...]) -> float:
    """Return the images that the classifier was given over those that the default set needs, per call filled up to whole batches."""
    asked = 0

    def counting(images: Tensor) -> Tensor:
        nonlocal asked
        asked += len(images)
        logits: Tensor = model(images)
        return logits

    ours(counting, parts)
    whole = [VIEWS, 4 * VIEWS * (2 * INNER + 1), VIEWS * SETS * len(log_sizes((SIDE // CELL_PX) ** 2))]
    return asked / sum(-(-images // BATCH) * BATCH for images in whole)


def bootstrap(views: int, columns: int) -> tuple[float, float]:
    """Return the seconds of a bootstrap of so many views, nine a well, and the process's peak memory, GB."""
    values = np.random.default_rng(0).normal(size=(views, columns))
    start = time.perf_counter()
    bootstrap_means(values, np.arange(views) // 9)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def covered(kind: str, wells: int, runs: int) -> float:
    """Return how often the 95 % interval holds the truth, over `runs` data sets of six views a well; they are the columns of one table."""
    lot, of_wells, shape = np.random.default_rng(wells), np.repeat(np.arange(wells), 6), (6 * wells, runs)
    if kind == "normal values":
        values, truth = lot.normal(size=(wells, runs))[of_wells] + lot.normal(size=shape), 0.0
    elif kind == "calls":
        values, truth = (lot.random(shape) < lot.beta(2, 2, size=(wells, runs))[of_wells]).astype(float), 0.5
    else:
        values, truth = lot.gamma(1.0, size=(wells, runs))[of_wells] + 0.5 * lot.gamma(1.0, size=shape), 1.5
    found = bootstrap_means(values, of_wells, draws=4000, seed=1)
    return float(((found.low <= truth) & (truth <= found.high)).mean())


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form has one turn and a bootstrap of 10 000 views."""
    torch.set_num_threads(1)
    model, parts, turns = network(), material(), 1 if quick else 5
    rows = [
        Row("default set of one method, Quantus / ours, CPU: "
            "time", paired_ratio(lambda: theirs(model, parts), lambda: ours(model, parts), turns), "x", 5.0, "higher"),
        Row("forward passes of the default set / the minimum", passes_over_minimum(model, parts), "x", 1.0, "lower"),
    ]  # fmt: skip
    if torch.cuda.is_available():
        there, moved = network().cuda(), tuple(part.cuda() for part in parts)

        def on_gpu() -> None:
            ours(there, moved)
            torch.cuda.synchronize()

        ratio = paired_ratio(lambda: theirs(model, parts), on_gpu, turns)
        rows.append(Row("default set of one method, Quantus on the CPU / ours on the GPU: time", ratio, "x", 50.0, "higher"))
    seconds, gigabytes = bootstrap(10_000 if quick else 100_000, 100)
    size = "10 000" if quick else "100 000"
    rows += [
        Row(f"bootstrap of {size} views x 10 methods x 10 metrics, 10 000 draws", seconds, "s", 60.0, "lower"),
        Row("peak memory of the process", gigabytes, "GB", 4.0, "lower"),
    ]
    runs, worst = 100 if quick else 4000, 0.0
    for kind in ("normal values", "calls", "exponential values"):
        for wells in (5, 8, 12, 20, 40, 80):
            share = covered(kind, wells, runs)
            rows.append(Row(f"coverage of 95 %, {kind}, {wells} wells", share, "", None, "higher"))
            worst = max(worst, abs(share - 0.95) if wells >= FEW_WELLS else 0.0)
    rows.append(Row(f"largest distance from 95 % with {FEW_WELLS} wells or more", worst, "", 0.02, "lower"))
    report("metrics", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
