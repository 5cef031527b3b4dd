"""The job that exchanges regions between the explained views of a classifier, over all its plates.

It needs forward passes across wells, so it is a job of its own in `evaluate`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.classifiers.classifier import Classifier, load_classifier, pick_device
from pcim.classifiers.contract import load_contract
from pcim.composites.region_swap import Scene
from pcim.core.identity import KEY_COLUMNS, ViewKey
from pcim.core.tiling import Box
from pcim.interventions.experiment import COLUMNS, Subject, exchange_regions
from pcim.metrics.pixel_ranks import highest_pixels
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.field_image import FieldImage
from pcim.runtime.job_log import log
from pcim.runtime.progress import progress
from pcim.runtime.provenance import pixels_of, record
from pcim.runtime.resume import ResultCache, fingerprint
from pcim.runtime.tables import read_tables, rows_of
from pcim.views.intensity import FieldRecords
from pcim.views.reader import read_regions
from pcim.views.regions import widen
from pcim.views.resize import fit, fit_mask
from pcim.views.views_with_maps import explained_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcim.config.classifier import Region
    from pcim.config.stages import EvaluateSettings
    from pcim.core.plate_source import Source


DEPENDS_ON = {"blur", "batch_size", "partners", "frame", "map_top"}
"""Settings of the stage on which an exchange depends, beside which views take part."""


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
    contract, plate_maps, keys = load_contract(model), read_tables(fields), list(KEY_COLUMNS)
    called = read_tables(calls)[[*keys, "call", "probabilities"]]
    explained = explained_views(ledgers, plate_maps).merge(called, on=keys, validate="one_to_one")
    known = {str(plate): FieldRecords.from_tables(of, _of_plate(intensities, str(plate))) for plate, of in plate_maps.groupby("plate")}
    sample = _sample(explained, settings.intervention_views)
    marks = _fingerprints(
        sample,
        {
            "model": contract.depends_on(),
            "settings": settings.model_dump(mode="json", include=DEPENDS_ON),
            "regions": {name: region.model_dump(mode="json") for name, region in regions.items()},
            "objects": [objects, halo_px],
            "views": _taking_part(sample, plate_maps, known),
            "revision": revision,
        },
    )
    kept = ResultCache(table)
    earlier = kept.find()
    found = {key: earlier[mark][0] for key, mark in marks.items() if mark in earlier}
    log.info("%d of %d views have exchanged already", len(found), len(marks))
    rows = [row for of_view in found.values() for row in of_view]
    if len(found) < len(marks):
        classifier = load_classifier(model, trusted_packages, pick_device(gpus))
        reader = _Reader(classifier, stores, maps, regions, objects, halo_px, known, settings)
        of_fields = sample.groupby(["plate", "path"], sort=False)
        subjects = [subject for _, of_field in of_fields for subject in reader.subjects(rows_of(of_field))]
        bar = progress(len(subjects), "interventions", kept=len(found), device=classifier.named_device)

        def keep(key: str, made: list[dict[str, Any]]) -> None:
            kept.add({marks[key]: [made]})
            bar.update(1)

        with bar:
            rows = exchange_regions(classifier, subjects, objects, settings, known=found, keep=keep)
    log.info("%s: %d views, %d exchanges", table, len(sample), len(rows))
    told = _with_p_before(rows, sample, contract.classes)
    frame = pd.DataFrame([row | {"fingerprint": marks[str(ViewKey.from_row(row))]} for row in told], columns=COLUMNS)
    kept.write(
        frame.assign(revision=revision),
        made=record(
            "evaluate",
            revision,
            classifier=contract.model_dump(mode="json"),
            settings=settings.model_dump(mode="json", include=DEPENDS_ON | {"intervention_views"}) | {"halo_px": halo_px},
            regions={name: region.model_dump(mode="json") for name, region in regions.items()},
            objects_region=objects,
            pixels=pixels_of(zip(plate_maps["plate"] + "/" + plate_maps["path"], plate_maps["digest"], strict=True)),
        ),
    )


def _fingerprints(sample: pd.DataFrame, shared: Mapping[str, Any]) -> dict[str, str]:
    """Return view -> the fingerprint of its exchanges, which depend on what is `shared`, all views that take part in it."""
    every = fingerprint(shared)
    return {str(key): fingerprint({"exchanges": every, "view": str(key)}) for key in map(ViewKey.from_row, rows_of(sample))}


def _with_p_before(rows: Sequence[dict[str, Any]], sample: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Add to each exchange the probability, before it, of the class that its partner was called."""
    probabilities = {str(ViewKey.from_row(row)): dict(zip(classes, row["probabilities"], strict=True)) for row in rows_of(sample)}
    return [row | {"p_before": float(probabilities[str(ViewKey.from_row(row))][row["partner_call"]])} for row in rows]


def _taking_part(sample: pd.DataFrame, fields: pd.DataFrame, known: Mapping[str, FieldRecords]) -> list[list[Any]]:
    """Return what is known of the views that exchange, in plain form: each may depend on all, by partners and means."""
    digests = {(row["plate"], row["path"]): row["digest"] for row in rows_of(fields)}
    return [
        [
            str(ViewKey.from_row(row)),
            astuple(Box.from_row(row)),
            digests[row["plate"], row["path"]],
            known[row["plate"]].ends.get(row["path"]),
            row["call"],
            [float(p) for p in row["probabilities"]],
            row["digest"],
            row["fingerprint"],
        ]
        for row in rows_of(sample)
    ]


def _of_plate(intensities: Sequence[str], plate: str) -> list[str]:
    """Return the table of intensities of one plate, ``.../ingest/{plate}/intensities/{model}.parquet``, where it has one."""
    return [path for path in intensities if Path(path).parts[-3] == plate]


def _sample(views: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many views, drawn by each view's own number."""
    lots = [ViewKey.from_row(row).number("interventions") for row in rows_of(views)]
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
    known: Mapping[str, FieldRecords]
    settings: EvaluateSettings

    def subjects(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Subject]:
        """Read a field once and yield its views, `rows` of the explained views with their calls."""
        plate, path = str(rows[0]["plate"]), str(rows[0]["path"])
        image, size = FieldImage.open(self.stores[plate], path), self.classifier.contract.input.size
        whole = self.known[plate].scale(path, image.read(self.classifier.contract.input.channels))
        regions = read_regions(image, self.regions)
        boxes = {str(row["view"]): Box.from_row(row) for row in rows}
        maps = AttributionPlate(Path(self.maps[plate])).read_views(path, boxes)
        for row in rows:
            key, seen = ViewKey.from_row(row), boxes[str(row["view"])].slices
            cut = {name: mask[seen] for name, mask in regions.items()}
            inside = {name: fit_mask(mask, size) for name, mask in cut.items()}
            halo = fit_mask(widen(cut[self.objects], self.halo_px), size) if self.objects else np.zeros(size, bool)
            scene = Scene(fit(whole[:, *seen], size), halo, self.settings.blur * size[0])
            top = highest_pixels(np.nan_to_num(maps[key.view].sum(0)), self.settings.map_top, key.number("ties"))
            yield Subject(key, row["call"], row["probabilities"], scene, inside, top)
