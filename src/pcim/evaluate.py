"""Evaluate: how faithful every map is to the classifier, and how much of it lies in the objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pcim import metrics
from pcim.attribute.backgrounds import background_kind, make_background
from pcim.jobs import log, progress, sole_writer, write_table
from pcim.models import Classifier, load_classifier, pick_device
from pcim.plate import KEY_COLUMNS, ViewKey
from pcim.stores import FieldImage, MapPlate
from pcim.views import explained_views, read_regions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pcim.config import Background, EvaluateSettings, Method, Region
    from pcim.jobs import ChunkJob

LOCALIZATION = {
    "relevance_mass_accuracy": metrics.relevance_mass_accuracy,
    "relevance_rank_accuracy": metrics.relevance_rank_accuracy,
    "pointing_game": metrics.pointing_game,
    "auprc": metrics.auprc,
}
FIDELITY = ("deletion_auc", "insertion_auc")
WITH_BACKGROUND: tuple[Method, ...] = ("pcim", "integrated_gradients", "occlusion")
"""Methods that compare with `attribute.background`: fidelity against the same substitute is scored in-sample."""

COLUMNS = (*KEY_COLUMNS, "method", "metric", "substitute", "seen", "value", "chance")


def score_view(
    classifier: Classifier,
    image: NDArray[Any],
    target: str,
    maps: Mapping[str, NDArray[np.floating]],
    objects: NDArray[np.bool_] | None,
    key: ViewKey,
    settings: EvaluateSettings,
    background: str,
) -> list[dict[str, Any]]:
    """Score one view's maps (method -> (y, x)); a row a method, metric and substitute.

    `image` is raw (channel, y, x); `objects` (y, x) is True where the biology is, None where nothing says so; `background`
    is the kind that the methods with one were given.
    """
    names = list(maps)
    stack = torch.from_numpy(np.stack([maps[name] for name in names]).astype(np.float32)).to(classifier.device)
    rows = _fidelity(classifier, image, target, names, stack, key, settings, background)
    if objects is not None:
        masks = torch.from_numpy(objects).to(classifier.device).expand_as(stack)
        area = float(objects.mean())
        for metric, function in LOCALIZATION.items():
            values = function(stack, masks).tolist()
            rows += [
                {"method": name, "metric": metric, "substitute": "", "seen": False, "value": value, "chance": area}
                for name, value in zip(names, values, strict=True)
            ]
    return [key.columns() | row for row in rows]


def _fidelity(  # noqa: PLR0913 - what a curve depends on
    classifier: Classifier,
    image: NDArray[Any],
    target: str,
    names: Sequence[str],
    maps: Tensor,
    key: ViewKey,
    settings: EvaluateSettings,
    background: str,
) -> list[dict[str, Any]]:
    """Score deletion and insertion of one view's maps (method, y, x) with every substitute."""
    images = classifier.normalise(image[np.newaxis])
    copies = images.expand(len(names), -1, -1, -1)
    targets = classifier.class_index([target] * len(names))
    ties = torch.tensor([key.number("ties")] * len(names), device=classifier.device)
    rows = []
    for kind in settings.substitutes:
        substitutes = make_background(images, kind, settings.blur).expand_as(copies)
        curves = metrics.perturbation_curves(
            classifier, copies, maps, targets, substitutes, steps=settings.steps, keys=ties, batch_size=settings.batch_size
        )
        for metric, curve in zip(FIDELITY, curves, strict=True):
            areas = metrics.area_under(curve, maps[0].numel()).tolist()
            rows += [
                {
                    "method": name,
                    "metric": metric,
                    "substitute": kind,
                    "seen": kind == background and name in WITH_BACKGROUND,
                    "value": area,
                    "chance": float("nan"),
                }
                for name, area in zip(names, areas, strict=True)
            ]
    return rows


def evaluate_chunk(  # noqa: PLR0913 - a job's inputs
    job: ChunkJob,
    *,
    fields: str,
    ledgers: Sequence[str],
    maps: Mapping[str, str],
    table: str,
    regions: Mapping[str, Region],
    objects: str | None,
    background: Background,
    settings: EvaluateSettings,
) -> None:
    """Score every map of a chunk; `maps` are the methods' plates of maps."""
    with sole_writer(table):
        classifier = load_classifier(job.model, job.trusted_packages, pick_device(job.gpus))
        kind = background_kind(background, classifier.contract.input)
        explained = explained_views(ledgers, pd.read_parquet(fields))
        stores = {method: MapPlate(Path(place)) for method, place in maps.items()}
        rows: list[dict[str, Any]] = []
        bar = progress(explained.groupby(list(KEY_COLUMNS)).ngroups, f"evaluate {job.store.name}")
        for path, of_field in explained.groupby("path", sort=True):
            image = FieldImage.open(job.store / str(path))
            pixels = image.read(classifier.contract.input.channels)
            mask = read_regions(image, regions)[objects] if objects else None
            of_methods = {m: np.nan_to_num(stores[m].read(str(path)).sum(0)) for m in of_field["method"].unique()}
            for _, views in of_field.groupby(list(KEY_COLUMNS), sort=True):
                view = views.iloc[0]
                seen = slice(view["top"], view["top"] + view["height"]), slice(view["left"], view["left"] + view["width"])
                of_view = {m: of_methods[m][seen] for m in views["method"]}
                key = ViewKey(view["plate"], view["row"], view["column"], view["field"], view["view"])
                inside = None if mask is None else mask[seen]
                rows += score_view(classifier, pixels[:, *seen], view["target"], of_view, inside, key, settings, kind)
                bar.update()
        bar.close()
        log.info("%s: %d values", table, len(rows))
        write_table(pd.DataFrame(rows, columns=COLUMNS).assign(revision=job.revision), table)
