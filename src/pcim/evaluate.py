"""Evaluate: how faithful every map is to the classifier, and how much of it lies in the objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pcim import metrics
from pcim.attribute.backgrounds import make_background
from pcim.attribute.methods import backgrounds_given
from pcim.chunks import Box
from pcim.fitting import fit, fit_mask
from pcim.intensities import Known
from pcim.jobs import log, progress, rows_of, sole_writer, write_table
from pcim.mapplates import MapPlate
from pcim.plate import KEY_COLUMNS, ViewKey
from pcim.stores import FieldImage
from pcim.views import explained_views, read_regions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pcim.config import Background, EvaluateSettings, Region
    from pcim.jobs import ChunkJob
    from pcim.models import Classifier

LOCALIZATION = {
    "relevance_mass_accuracy": metrics.relevance_mass_accuracy,
    "relevance_rank_accuracy": metrics.relevance_rank_accuracy,
    "pointing_game": metrics.pointing_game,
    "auprc": metrics.auprc,
}
FIDELITY = ("deletion_auc", "insertion_auc")
Measured = tuple[str, str, float, torch.Tensor]
"""Metric, substitute ("" where none), chance (NaN where none), and a value a method."""

COLUMNS = (*KEY_COLUMNS, "method", "metric", "substitute", "seen", "value", "chance")


@dataclass(frozen=True)
class Case:
    """One view to score: raw pixels (channel, y, x), the explained class, the methods' maps (y, x), >= 0.

    `objects` (y, x) is True where the biology is; None where nothing says so.
    """

    key: ViewKey
    pixels: NDArray[Any]
    target: str
    maps: Mapping[str, NDArray[np.floating]]
    objects: NDArray[np.bool_] | None


def score(
    classifier: Classifier, case: Case, settings: EvaluateSettings, background: Background
) -> list[dict[str, Any]]:
    """Score one view's maps; a row a method, metric and substitute.

    `background` is the setting that the methods were given: fidelity with a substitute of that kind is scored in-sample.
    """
    maps = torch.from_numpy(np.stack(list(case.maps.values())).astype(np.float32)).to(classifier.device)
    given = {method: backgrounds_given(method, background, classifier.contract.input) for method in case.maps}
    measured = _localization(maps, case.objects) + _fidelity(classifier, case, maps, settings)
    return [
        case.key.columns()
        | {
            "method": method,
            "metric": metric,
            "substitute": substitute,
            "seen": substitute in given[method],
            "value": value,
            "chance": chance,
        }
        for metric, substitute, chance, values in measured
        for method, value in zip(case.maps, values.tolist(), strict=True)
    ]


def _localization(maps: Tensor, objects: NDArray[np.bool_] | None) -> list[Measured]:
    """Score where the maps (method, y, x) lie."""
    if objects is None:
        return []
    masks = torch.from_numpy(objects).to(maps.device).expand_as(maps)
    area = float(objects.mean())
    return [(metric, "", area, function(maps, masks)) for metric, function in LOCALIZATION.items()]


def _fidelity(classifier: Classifier, case: Case, maps: Tensor, settings: EvaluateSettings) -> list[Measured]:
    """Score deletion and insertion of the maps (method, y, x) with every substitute."""
    image = classifier.normalise(case.pixels[np.newaxis])
    images = image.expand(len(maps), -1, -1, -1)
    targets = classifier.class_index([case.target] * len(maps))
    ties = torch.tensor([case.key.number("ties")] * len(maps), device=classifier.device)
    measured: list[Measured] = []
    for kind in settings.substitutes:
        substitutes = make_background(image, kind, settings.blur).expand_as(images)
        curves = metrics.perturbation_curves(
            classifier,
            images,
            maps,
            targets,
            substitutes,
            steps=settings.steps,
            keys=ties,
            batch_size=settings.batch_size,
        )
        areas = (metrics.area_under(curve, maps[0].numel()) for curve in curves)
        measured += [(metric, kind, float("nan"), values) for metric, values in zip(FIDELITY, areas, strict=True)]
    return measured


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
        classifier = job.load_classifier()
        seen_fields = pd.read_parquet(fields)
        explained, known = explained_views(ledgers, seen_fields), Known.of(seen_fields, job.intensities)
        stores = {method: MapPlate(Path(place)) for method, place in maps.items()}
        rows: list[dict[str, Any]] = []
        bar = progress(explained.groupby(list(KEY_COLUMNS)).ngroups, f"evaluate {job.store.name}")
        for path, of_field in explained.groupby("path", sort=True):
            image = FieldImage.open(job.store, str(path))
            pixels = known.scaled(str(path), image.read(classifier.contract.input.channels))
            mask = read_regions(image, regions)[objects] if objects else None
            boxes = {str(row["view"]): Box.of(row) for row in rows_of(of_field)}
            of_methods = {method: stores[method].read_views(str(path), boxes) for method in of_field["method"].unique()}
            for _, views in of_field.groupby(list(KEY_COLUMNS), sort=True):
                view = rows_of(views)[0]
                seen, size = Box.of(view).slices, classifier.contract.input.size
                inside = None if mask is None else fit_mask(mask[seen], size)
                of_view = {m: np.nan_to_num(of_methods[m][view["view"]].sum(0)) for m in views["method"]}
                case = Case(ViewKey.of(view), fit(pixels[:, *seen], size), view["target"], of_view, inside)
                rows += score(classifier, case, settings, background)
                bar.update()
        bar.close()
        log.info("%s: %d values", table, len(rows))
        write_table(pd.DataFrame(rows, columns=COLUMNS).assign(revision=job.revision), table)
