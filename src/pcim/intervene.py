"""Intervene: the job that exchanges regions between the explained views of a classifier, over all its plates.

It needs forward passes across wells, so it is a job of its own in `evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pcim.chunks import Box
from pcim.exchanges import COLUMNS, Subject, exchange_regions
from pcim.fitting import fit, fit_mask
from pcim.intensities import Known
from pcim.interventions import Scene
from pcim.jobs import log, read_tables, rows_of, write_table
from pcim.mapplates import MapPlate
from pcim.metrics import ranking
from pcim.models import Classifier, load_classifier, pick_device
from pcim.plate import KEY_COLUMNS, ViewKey
from pcim.regions import widen
from pcim.stores import FieldImage
from pcim.views import explained_views, read_regions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.config import EvaluateSettings, Region
    from pcim.source import Source


def intervene(  # noqa: PLR0913 - a job's inputs
    *,
    fields: Sequence[str],
    calls: Sequence[str],
    ledgers: Sequence[str],
    stores: Mapping[str, Source],
    model: Path,
    table: str,
    regions: Mapping[str, Region],
    objects: str | None,
    halo_px: float,
    maps: Mapping[str, str],
    settings: EvaluateSettings,
    trusted_packages: Sequence[str],
    intensities: Sequence[str],
    gpus: int,
    revision: int,
) -> None:
    """Exchange regions between the explained views of one classifier, over all its plates, and write the table.

    `maps` is plate -> the plate of maps of which the highest pixels are exchanged.
    """
    classifier = load_classifier(model, trusted_packages, pick_device(gpus))
    plate_maps = read_tables(fields)
    explained = explained_views(ledgers, plate_maps)
    called = read_tables(calls)
    keys = list(KEY_COLUMNS)
    views = explained.merge(called[[*keys, "call", "probabilities"]], on=keys, validate="one_to_one")
    known = {str(plate): Known.of(of, _of_plate(intensities, str(plate))) for plate, of in plate_maps.groupby("plate")}
    sample = _sample(views, settings.intervention_views)
    reader = _Reader(classifier, stores, maps, regions, objects, halo_px, known, settings)
    of_fields = sample.groupby(["plate", "path"], sort=False)
    subjects = [subject for _, of_field in of_fields for subject in reader.subjects(rows_of(of_field))]
    rows = exchange_regions(classifier, subjects, objects, settings)
    probabilities = {str(s.key): dict(zip(classifier.contract.classes, s.probabilities, strict=True)) for s in subjects}
    for row in rows:
        row["p_before"] = float(probabilities[str(ViewKey.of(row))][row["partner_call"]])
    log.info("%s: %d views, %d exchanges", table, len(subjects), len(rows))
    write_table(pd.DataFrame(rows, columns=COLUMNS).assign(revision=revision), table)


def _of_plate(intensities: Sequence[str], plate: str) -> list[str]:
    """Return the table of intensities of one plate, ``.../ingest/{plate}/intensities/{model}.parquet``, where it has one."""
    return [path for path in intensities if Path(path).parts[-3] == plate]


def _sample(views: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many views, drawn by each view's own number."""
    lots = [ViewKey.of(row).number("interventions") for row in rows_of(views)]
    return views.assign(lot=lots).nsmallest(most, "lot").sort_values(list(KEY_COLUMNS))


@dataclass(frozen=True)
class _Reader:
    """Reads the pixels, regions and maps of the views that take part."""

    classifier: Classifier
    stores: Mapping[str, Source]
    maps: Mapping[str, str]
    regions: Mapping[str, Region]
    objects: str | None
    halo_px: float
    known: Mapping[str, Known]
    settings: EvaluateSettings

    def subjects(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Subject]:
        """Read a field once and yield its views, `rows` of the explained views with their calls."""
        plate, path = str(rows[0]["plate"]), str(rows[0]["path"])
        image, size = FieldImage.open(self.stores[plate], path), self.classifier.contract.input.size
        whole = self.known[plate].scaled(path, image.read(self.classifier.contract.input.channels))
        regions = read_regions(image, self.regions)
        boxes = {str(row["view"]): Box.of(row) for row in rows}
        maps = MapPlate(Path(self.maps[plate])).read_views(path, boxes)
        for row in rows:
            key, seen = ViewKey.of(row), boxes[str(row["view"])].slices
            cut = {name: mask[seen] for name, mask in regions.items()}
            inside = {name: fit_mask(mask, size) for name, mask in cut.items()}
            halo = fit_mask(widen(cut[self.objects], self.halo_px), size) if self.objects else np.zeros(size, bool)
            scene = Scene(fit(whole[:, *seen], size), halo, self.settings.blur * size[0])
            top = highest(np.nan_to_num(maps[key.view].sum(0)), self.settings.map_top, key.number("ties"))
            yield Subject(key, row["call"], row["probabilities"], scene, inside, top)


def highest(attribution: NDArray[np.floating], share: float, key: int) -> NDArray[np.bool_]:
    """Return the highest `share` of a map's pixels (at least one), ties broken by the view's key."""
    values = torch.from_numpy(np.ascontiguousarray(attribution, np.float32))
    order = ranking(values[None], torch.tensor([key]))[0, : max(1, round(share * values.numel()))]
    top = np.zeros(values.numel(), bool)
    top[order.numpy()] = True
    return top.reshape(attribution.shape)
