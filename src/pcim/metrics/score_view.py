"""Everything that is measured of the maps of one view, a row a method, metric and substitute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pcim import metrics
from pcim.attribution.peers import backgrounds_given, blur_map
from pcim.config.methods import CONTROLS, method_read
from pcim.core.vocabulary import BLURRED, OBJECTS_MASK, OTHER_VIEW
from pcim.metrics.imputation import fill_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jaxtyping import Float, Int64
    from numpy.typing import NDArray

    from pcim.classifiers.classifier import Classifier
    from pcim.config.methods import Background
    from pcim.config.stages import EvaluateSettings
    from pcim.core.identity import ViewKey


CELLS = 16
"""Cells along a view's height, of which random sets are removed (`metrics.removals`)."""

TOP_SHARE = 0.05
"""Share of a view that `top_k_intersection` takes for the top of a map."""

MetricValues = tuple[str, str, Tensor | float, Tensor]
"""Metric, substitute ("" where none), chance (NaN where none) and value of every map."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One view to score: raw pixels (channel, y, x), the explained class, the methods' maps (y, x), >= 0.

    `objects` (y, x) is True where the biology is; None where nothing says so. `other` is the map of a view of another well, a control.
    `read` is the method with whose map all others are compared (None: PCIM or the first); where the view has none of it, there is no
    agreement.
    """

    key: ViewKey
    pixels: NDArray[Any]
    target: str
    maps: Mapping[str, NDArray[np.floating]]
    objects: NDArray[np.bool_] | None
    other: NDArray[np.floating] | None = None
    read: str | None = None


def score(classifier: Classifier, case: Case, settings: EvaluateSettings, background: Background) -> tuple[Rows, Rows]:
    """Score one view's maps and their controls; a row a method, metric and substitute, and a row a method and curve.

    `background` is the setting that the methods were given: fidelity with a substitute of that kind is scored in-sample. Curves are
    given of the methods' own maps: `shares` of the pixels moved, and the target's probability after `deletion` and `insertion`.
    """
    images, target = classifier.normalise(case.pixels[np.newaxis]), classifier.class_index([case.target])
    contract, named = classifier.contract.input, case.key.columns()
    scores, curves = score_images(
        classifier, images, target, case, settings, lambda method: backgrounds_given(method, background, contract)
    )
    return [named | row for row in scores], [named | row for row in curves]


def score_images(  # noqa: PLR0913, PLR0917 - what scores rest on
    classify: metrics.Classify,
    images: Float[Tensor, "1 c h w"],
    target: Int64[Tensor, " 1"],
    case: Case,
    settings: EvaluateSettings,
    given: Callable[[str], set[str]],
) -> tuple[Rows, Rows]:
    """Score as `score` does, on the image that the classifier is fed.

    The rows do not name the view. `given` returns the kinds of background that a method was given.
    """
    named = with_controls(case, settings)
    maps = torch.from_numpy(np.stack(list(named.values())).astype(np.float32)).to(images.device)
    seen = {method: given(method.removesuffix(BLURRED)) for method in named}
    curves, fidelity = _fidelity(classify, images, target, case.key, maps, settings)
    measured = [
        *_localization(maps, case.objects),
        *_complexity(maps, list(named), case.read or method_read(list(named))),
        *fidelity,
    ]
    scores = [
        {
            "method": method,
            "metric": metric,
            "substitute": substitute,
            "seen": substitute in seen[method],
            "value": value,
            "chance": chance,
        }
        for metric, substitute, level, values in measured
        for method, value, chance in zip(named, values.tolist(), _as_list(level, len(named)), strict=True)
    ]
    return scores, list(_curve_rows(curves, list(case.maps)))


def _curve_rows(curves: Mapping[str, metrics.Curves], methods: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the curves of the first maps, which are those of the methods, substitute by substitute."""
    for substitute, found in curves.items():
        shares = np.array(found.shares, np.float32)
        deletion, insertion = (curve.float().cpu().numpy() for curve in (found.deletion, found.insertion))
        for number, method in enumerate(methods):
            known = {"method": method, "substitute": substitute, "shares": shares}
            yield known | {"deletion": deletion[number], "insertion": insertion[number]}


def with_controls(case: Case, settings: EvaluateSettings) -> dict[str, NDArray[np.floating]]:
    """Return the maps and, after them, what every one of them must beat: itself without its detail, and maps that never ask.

    A gain that the blurred map reaches too is no evidence for the map's detail, and fidelity favours blurry maps.
    """
    maps = dict(case.maps)
    sigma_px = settings.control_blur * case.pixels.shape[-2]
    for method, attribution in case.maps.items():
        if method not in CONTROLS:
            stack = torch.from_numpy(np.asarray(attribution, np.float32))[None, None]
            maps[method + BLURRED] = blur_map(stack, sigma_px)[0, 0].numpy()
    if case.objects is not None and case.objects.any():
        maps[OBJECTS_MASK] = case.objects.astype(np.float32)
    if case.other is not None:
        maps[OTHER_VIEW] = case.other
    return maps


def _as_list(level: Tensor | float, length: int) -> list[float]:
    return level.tolist() if isinstance(level, Tensor) else [level] * length


def _localization(maps: Tensor, objects: NDArray[np.bool_] | None) -> Iterator[MetricValues]:
    """Score where the maps (method, y, x) lie."""
    if objects is None:
        return
    masks = torch.from_numpy(objects).to(maps.device).expand_as(maps)
    k = max(1, round(TOP_SHARE * maps[0].numel()))
    values = {
        "relevance_mass_accuracy": metrics.relevance_mass_accuracy(maps, masks),
        "relevance_rank_accuracy": metrics.relevance_rank_accuracy(maps, masks),
        "pointing_game": metrics.pointing_game(maps, masks),
        "top_k_intersection": metrics.top_k_intersection(maps, masks, k),
        "iou": metrics.iou(maps, masks),
        "auroc": metrics.auroc(maps, masks),
        "auprc": metrics.auprc(maps, masks),
    }
    for metric, of_maps in values.items():
        yield metric, "", metrics.chance(masks, metric), of_maps


def _complexity(maps: Tensor, names: list[str], read: str) -> Iterator[MetricValues]:
    """Score over how much of the view the maps (method, y, x) are spread, and how far they agree with the map that is read."""
    for metric in (metrics.gini, metrics.entropy, metrics.effective_area):
        yield metric.__name__, "", float("nan"), metric(maps)
    if read in names:
        yield "agreement", "", 0.0, metrics.agreement(maps, maps[names.index(read)].expand_as(maps))


def _fidelity(  # noqa: PLR0913, PLR0917 - what scores rest on
    classify: metrics.Classify, images: Tensor, target: Tensor, view: ViewKey, maps: Tensor, settings: EvaluateSettings
) -> tuple[dict[str, metrics.Curves], list[MetricValues]]:
    """Score whether the classifier follows the maps (method, y, x), with every substitute; the curves, and what is read from them."""
    key = torch.tensor([view.number("ties")], device=images.device)
    views, ties = torch.zeros(len(maps), dtype=torch.long, device=maps.device), key.expand(len(maps))
    probe = metrics.Probe(classify, images, target, settings.batch_size)
    fills: dict[str, metrics.Fill] = {kind: fill_of(images, key, kind, settings.blur) for kind in settings.substitutes}
    asked: dict[str, Any] = {"keys": ties, "steps": settings.steps}
    fixed = {kind: fill for kind, fill in fills.items() if kind != "road"}
    curves = metrics.curves(probe, maps, views, fixed, **asked) if fixed else {}
    measured = [one for kind, found in curves.items() for one in _of_curves(kind, found)]
    if "road" in fills:  # at even shares alone, as its authors do: every image costs a solve
        curves |= metrics.curves(probe, maps, views, {"road": fills["road"]}, shares=(), **asked)
        measured.append(("road", "road", 0.0, metrics.road(curves["road"])))
    kind = "noise" if "noise" in fills else settings.substitutes[0]
    cell_px = max(1, round(images.shape[-2] / CELLS))
    removals = metrics.removals(probe, fills[kind], keys=key, sets=settings.sets, cell_px=cell_px)
    return curves, [*measured, *_of_removals(kind, maps, views, removals)]


def _of_curves(kind: str, found: metrics.Curves) -> Iterator[MetricValues]:
    """Read every metric of the curves with one substitute."""
    yield "deletion_auc", kind, float("nan"), metrics.deletion_auc(found)
    yield "insertion_auc", kind, float("nan"), metrics.insertion_auc(found)
    yield "morf_lerf", kind, 0.0, metrics.morf_lerf(found).gain
    yield "comprehensiveness", kind, float("nan"), metrics.comprehensiveness(found)
    yield "sufficiency", kind, float("nan"), metrics.sufficiency(found)


def _of_removals(kind: str, maps: Tensor, views: Tensor, removals: metrics.Removals) -> Iterator[MetricValues]:
    """Read every metric of the random sets."""
    middle = removals.sizes[len(removals.sizes) // 2]
    yield "sensitivity_n", kind, 0.0, metrics.sensitivity_n(maps, views, removals)
    yield "faithfulness_correlation", kind, 0.0, metrics.faithfulness_correlation(maps, views, removals, middle)
    yield "infidelity", kind, 1.0, metrics.infidelity(maps, views, removals)
