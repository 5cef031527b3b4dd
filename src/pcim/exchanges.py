"""The exchanges of a classifier: regions change places between views of different calls, and the calls are counted.

Maps propose, interventions decide. It needs forward passes across wells, so it is a job of its own in `evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from pcim.chunks import Box
from pcim.fitting import fit, fit_mask
from pcim.intensities import Known
from pcim.interventions import control_region, exchange, partners
from pcim.jobs import log, progress, rows_of, sole_writer, write_table
from pcim.models import Classifier, load_classifier, pick_device
from pcim.plate import KEY_COLUMNS, ViewKey
from pcim.regions import widen
from pcim.stores import FieldImage
from pcim.views import explained_views, read_regions, read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.config import EvaluateSettings, Region
    from pcim.source import Source

COLUMNS = (
    *KEY_COLUMNS, "partner", "partner_well", "region", "kind", "area", "call_before", "partner_call", "call_after", "follows",
    "p_before", "p_after",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A view that takes part: its identity, its call, its raw pixels (channel, y, x), its regions and widened objects."""

    key: ViewKey
    call: str
    probabilities: Sequence[float]
    pixels: NDArray[Any]
    regions: Mapping[str, NDArray[np.bool_]]
    objects: NDArray[np.bool_]

    @property
    def well(self) -> str:
        """The well with its plate."""
        return f"{self.key.plate}/{self.key.well}"


def exchange_regions(
    classifier: Classifier, subjects: Sequence[Subject], objects: str | None, settings: EvaluateSettings
) -> list[dict[str, Any]]:
    """Exchange every region of every view with its partners; a row a view, partner, region and kind.

    Kind ``exchange`` is the region's own exchange, ``control`` that of a disc of the same area elsewhere (where one fits).
    """
    by_key = {str(subject.key): subject for subject in subjects}
    chosen = partners(
        list(by_key), [s.call for s in subjects], [s.well for s in subjects], per_view=settings.partners, seed=0
    )
    rows: list[dict[str, Any]] = []
    made: list[NDArray[np.float32]] = []
    bar = progress(len(subjects), "interventions")
    for key, others in chosen.items():
        for other in others:
            for row, image in _exchanges(by_key[key], by_key[other], objects, settings):
                rows.append(row)
                made.append(image)
        bar.update()
        _classify_made(classifier, rows, made, settings.batch_size, last=False)
    _classify_made(classifier, rows, made, settings.batch_size, last=True)
    bar.close()
    return rows


def _exchanges(
    receiver: Subject, donor: Subject, objects: str | None, settings: EvaluateSettings
) -> Iterator[tuple[dict[str, Any], NDArray[np.float32]]]:
    """Yield (row without its outcome, image) for every region of one pair of views."""
    sigma = settings.blur * receiver.pixels.shape[-2]
    pair = {
        **receiver.key.columns(),
        "partner": str(donor.key),
        "partner_well": donor.well,
        "call_before": receiver.call,
        "partner_call": donor.call,
    }
    views = (receiver.pixels, donor.pixels)
    for name in receiver.regions:
        regions = (receiver.regions[name], donor.regions[name])
        masks = (receiver.objects, donor.objects)
        done = exchange(*views, *regions, *masks, is_objects=name == objects, sigma_px=sigma)
        area = float(done.union.mean())
        yield pair | {"region": name, "kind": "exchange", "area": area}, done.image
        disc = control_region(done.union)
        if disc is not None:
            control = exchange(*views, disc, disc, *masks, is_objects=False, sigma_px=sigma)
            yield pair | {"region": name, "kind": "control", "area": area}, control.image


def _classify_made(
    classifier: Classifier, rows: list[dict[str, Any]], made: list[NDArray[np.float32]], batch_size: int, *, last: bool
) -> None:
    """Classify the images made so far, in whole batches (the rest at the end), and complete their rows."""
    ready = len(made) if last else len(made) // batch_size * batch_size
    if ready == 0:
        return
    classes = classifier.contract.classes
    first = len(rows) - len(made)
    scores = softmax(classifier.logits_of(made[:ready], batch_size), axis=1)
    for row, probabilities in zip(rows[first : first + ready], scores, strict=True):
        after = classes[int(probabilities.argmax())]
        partner = classes.index(row["partner_call"])
        row |= {"call_after": after, "follows": after == row["partner_call"], "p_after": float(probabilities[partner])}
    del made[:ready]


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
    settings: EvaluateSettings,
    trusted_packages: Sequence[str],
    intensities: Sequence[str],
    gpus: int,
    revision: int,
) -> None:
    """Exchange regions between the explained views of one classifier, over all its plates, and write the table."""
    with sole_writer(table):
        classifier = load_classifier(model, trusted_packages, pick_device(gpus))
        plate_maps = read_tables(fields)
        explained = explained_views(ledgers, plate_maps)
        called = read_tables(calls)
        keys = list(KEY_COLUMNS)
        views = explained.merge(called[[*keys, "call", "probabilities"]], on=keys, validate="one_to_one")
        known = {
            str(plate): Known.of(of, _of_plate(intensities, str(plate))) for plate, of in plate_maps.groupby("plate")
        }
        sample = _sample(views, settings.intervention_views)
        subjects = _subjects(classifier, sample, stores, regions, objects, halo_px, known)
        rows = exchange_regions(classifier, subjects, objects, settings)
        probabilities = {
            str(s.key): dict(zip(classifier.contract.classes, s.probabilities, strict=True)) for s in subjects
        }
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


def _subjects(  # noqa: PLR0913, PLR0917 - what a subject is made of
    classifier: Classifier,
    views: pd.DataFrame,
    stores: Mapping[str, Source],
    regions: Mapping[str, Region],
    objects: str | None,
    halo_px: float,
    known: Mapping[str, Known],
) -> list[Subject]:
    """Read the pixels and regions of the views that take part."""
    subjects = []
    for row in rows_of(views):
        image = FieldImage.open(stores[row["plate"]], row["path"])
        seen = Box.of(row).slices
        size = classifier.contract.input.size
        pixels = fit(
            known[row["plate"]].scaled(row["path"], image.read(classifier.contract.input.channels))[:, *seen], size
        )
        cut = {name: mask[seen] for name, mask in read_regions(image, regions).items()}
        inside = {name: fit_mask(mask, size) for name, mask in cut.items()}
        halo = fit_mask(widen(cut[objects], halo_px), size) if objects else np.zeros(pixels.shape[1:], bool)
        subjects.append(Subject(ViewKey.of(row), row["call"], row["probabilities"], pixels, inside, halo))
    return subjects
