"""Attribution from Python. `attribute_plate` sends views of a plate through the stages' own functions, without a campaign."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pcim.attribution.maps import Maps
from pcim.classifiers.classifier import as_a_job
from pcim.config.base import CALL
from pcim.config.fault_messages import nearest
from pcim.config.stages import AttributeSettings, ClassifySettings, IngestSettings
from pcim.core.identity import FIELD_COLUMNS, ViewKey
from pcim.core.tiling import Box
from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.field_image import FieldImage
from pcim.plates.inspect_field import inspect_field, key_columns, settle_absence
from pcim.plates.inventory import fields_of
from pcim.plates.vendors import OMEZARR
from pcim.revisions import REVISIONS
from pcim.runtime.journal import Journal
from pcim.runtime.locks import sole_writer
from pcim.runtime.tables import rows_of, write_table
from pcim.stages.attribute.job import LEDGER_COLUMNS, explain, select_views
from pcim.stages.attribute.spool import Spool
from pcim.stages.attribute.tasks import AttributeJob
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.classify import classify_views
from pcim.stages.intensities import measure_intensities
from pcim.stages.objects import find_objects
from pcim.views.intensity import FieldRecords
from pcim.views.objects import read_objects
from pcim.views.reader import read_views
from pcim.views.view import views_of_wells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pcim.api.plate import Plate
    from pcim.classifiers.classifier import Classifier
    from pcim.config.classifier import Crops
    from pcim.views.view import View


def attribute_plate(  # noqa: PLR0913 - a public function with defaults
    plate: Plate,
    classifier: Classifier,
    *,
    wells: Sequence[str] | None = None,
    fields: Sequence[str] | None = None,
    method: str = "pcim",
    target: str | Sequence[str] = CALL,
    settings: AttributeSettings | None = None,
    accept: Sequence[str] = (),
    crops: Crops | None = None,
    out: str | Path | None = None,
) -> Maps:
    """Explain views of a plate: the maps that the workflow stores for the same views, plate name, classifier and settings, bit by bit.

    Fields are checked, cut into the classifier's views, classified and explained by the functions of the workflow's stages; the
    source plate is only read. What cannot be explained is a row of the ledger with its reason. All maps are held in memory, so a
    whole screen is the workflow's work. On a CPU it computes on one thread, as a job does.

    Parameters
    ----------
    plate, classifier
        From `open_plate` and `load_classifier`.
    wells, fields
        Which wells, ``A01`` (None: all), and in them which fields (None: all).
    method
        ``pcim``, ``pcim_literal``, a peer or a control, as `attribute.methods` of the config.
    target
        ``call`` (what the classifier says of each view), a class's name, or several of these: a map each.
    settings
        The config's `attribute`, from which views are also selected; its defaults where none is given.
    accept
        Verdicts on quality that are recorded and passed all the same, as `ingest.accept` of the config.
    crops
        What a classifier of crops is shown: ``Crops(label="nuclei")``.
    out
        Where the maps are kept too: a plate of maps, OME-Zarr 0.5, with the ledger beside it as Parquet. Views that are finished
        there are not computed again; where none is given, nothing is left on disk.

    Returns
    -------
    Maps
        Maps (n, 1, h, w) of the classifier's size, in units of the view's mean attribution, in the order of the ledger's rows
        with status ``ok``, on the CPU.

    Raises
    ------
    ValueError
        When a choice is not what is allowed, or `out` is in the way; a pydantic.ValidationError where it is a setting.
    KeyError
        When the plate has no such well or field.
    """
    targets = [target] if isinstance(target, str) else list(target)
    told = (settings or AttributeSettings()).model_dump() | {"methods": [method], "targets": targets}
    asked = AttributeSettings.model_validate(told)
    _check(plate, classifier, asked, crops)
    with as_a_job(classifier.device), tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"{plate.name}_{method}.zarr" if out is None else _free(Path(out), plate)
        ledger = place.with_suffix(".parquet")
        with sole_writer(ledger):
            seen = _SelectedFields.of(plate, classifier, wells, fields, accept, crops, Path(folder))
            maps = AttributionPlate(place)
            table = _explain_views(plate, classifier, seen, asked, maps, ledger)
            return _read(plate, classifier, seen, table, maps)


def _check(plate: Plate, classifier: Classifier, settings: AttributeSettings, crops: Crops | None) -> None:
    """Refuse what the workflow would refuse before its first job."""
    contract, faults = classifier.contract, []
    if plate.source.format != OMEZARR:
        faults.append(
            f"plate {plate.name} is an export ({plate.source.format}); allowed: OME-Zarr; the workflow converts it: open "
            f"results/{{campaign}}/ingest/{plate.name}/plate.zarr"
        )
    allowed = [CALL, *contract.classes]
    faults += [f"target {t!r}{nearest(t, allowed)}: expected one of {allowed}" for t in settings.targets if t not in allowed]
    if lacking := [channel for channel in contract.input.channels if channel not in plate.channels]:
        faults.append(f"channels {lacking} are not on plate {plate.name}, which has {plate.channels}")
    if (contract.input.view == "object") != (crops is not None):
        faults.append(f"crops: given if, and only if, the contract says view: object; it says {contract.input.view}")
    if contract.input.percentiles and contract.input.percentiles.over == "negcon":
        faults.append("percentiles over negcon need a plate map: run the workflow")
    if settings.select.where:
        faults.append(f"select.where {settings.select.where} needs a plate map: run the workflow, or name wells")
    if faults:
        raise ValueError("; ".join(faults))


def _free(out: Path, plate: Plate) -> Path:
    """Return where maps may go: not into the source plate, nor over what this function did not write."""
    source = plate.source.place
    if isinstance(source, Path) and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"out is {out}, in the source plate {source}, which is never written to")
    if out.exists() and not Journal(out.with_suffix(".parquet")).path.exists():
        raise ValueError(f"out is {out}, which exists and is no plate of maps of an earlier call")
    return out


@dataclass(frozen=True)
class _SelectedFields:
    """What is known of the asked fields: their table, their views, and what reading them needs."""

    table: pd.DataFrame
    views: list[View]
    known: FieldRecords

    @classmethod
    def of(  # noqa: PLR0913, PLR0917 - what was asked
        cls,
        plate: Plate,
        classifier: Classifier,
        wells: Sequence[str] | None,
        fields: Sequence[str] | None,
        accept: Sequence[str],
        crops: Crops | None,
        folder: Path,
    ) -> _SelectedFields:
        """Check the fields, as ingest does, and find their views, intensities and objects."""
        contract = classifier.contract.input
        paths = {plate.path(well, field) for well in wells or plate.wells for field in fields or plate.fields(well)}
        over = contract.percentiles.over if contract.percentiles else "field"
        whole = {path.rpartition("/")[0] for path in paths}
        counted = {
            path for well in plate.wells for path in (plate.path(well, field) for field in plate.fields(well))
            if path in paths or over == "plate" or (over == "well" and path.rpartition("/")[0] in whole)
        }  # fmt: skip
        table, file = _fields_table(plate, counted), str(folder / "fields.parquet")
        write_table(table, file)
        common: dict[str, Any] = {"fields": file, "store": plate.source, "workers": 1, "revision": 0}
        intensities, objects = [], []
        if contract.percentiles:
            intensities = [str(folder / "intensities.parquet")]
            measure_intensities(**common, channels=contract.channels, percentiles=contract.percentiles, table=intensities[0])
        if crops:
            objects = [str(folder / "objects.parquet")]
            find_objects(**common, plate=plate.name, crops=crops, table=objects[0])
        table = table[table["path"].isin(paths)].reset_index(drop=True)
        views = views_of_wells(table, list(table["well"]), contract, accept, read_objects(objects))
        return cls(table, views, FieldRecords.from_tables(table, intensities))


def _fields_table(plate: Plate, paths: set[str]) -> pd.DataFrame:
    """Return the table of fields that ingest makes, of some fields and without a plate map."""
    keys, broken = fields_of(plate.source)
    keys = [(well, field) for well, field in keys if f"{well.path}/{field}" in paths]
    lost = {f"{well.path}/0": why for well, why in broken.items()}
    if unread := sorted(lost.keys() & paths):
        raise ngff.NgffError("; ".join(lost[path] for path in unread))
    found = settle_absence([inspect_field(plate.source, f"{well.path}/{field}", IngestSettings()) for well, field in keys])
    rows = [
        key_columns(plate.name, well, field) | {"path": f"{well.path}/{field}"} | columns
        for (well, field), columns in zip(keys, found, strict=True)
    ]
    return pd.DataFrame(rows).sort_values(list(FIELD_COLUMNS), ignore_index=True)


def _explain_views(  # noqa: PLR0913, PLR0917 - what the rows rest on
    plate: Plate,
    classifier: Classifier,
    seen: _SelectedFields,
    settings: AttributeSettings,
    maps: AttributionPlate,
    ledger: Path,
) -> pd.DataFrame:
    """Classify and explain the views into a plate of maps; return the ledger."""
    contract, source = classifier.contract, plate.source
    readings = read_views(source, seen.views, contract.input, 1, seen.known)
    calls = classify_views(classifier, seen.views, readings, ClassifySettings().batch_size)
    views = select_views(seen.table, calls, seen.views, settings)
    wells, revision = list(dict.fromkeys(view.key.well for view in views)), REVISIONS["attribute"]
    chunk = ChunkJob(source, wells, classifier, [], [], max_failed=1.0, gpus=0, workers=1, revision=revision)
    job = AttributeJob(chunk, settings.methods[0], settings, maps)
    rows = explain(job, views, seen.table, calls, Journal(ledger), Spool(ledger), seen.known)
    table = pd.DataFrame(rows, columns=LEDGER_COLUMNS)
    written: dict[str, list[str]] = {}
    for well in plate.wells:
        for path in (plate.path(well, field) for field in plate.fields(well)):
            if maps.provenance(path):
                written.setdefault(path.rpartition("/")[0], []).append(path.rpartition("/")[2])
    maps.finish(ngff.read_plate(source.place), written, maps.path.stem)
    write_table(table, ledger)
    Spool(ledger).close()
    return table


def _read(plate: Plate, classifier: Classifier, seen: _SelectedFields, ledger: pd.DataFrame, maps: AttributionPlate) -> Maps:
    """Read the maps of a ledger's views, and the images that they explain."""
    contract = classifier.contract.input
    paths = {tuple(row[name] for name in FIELD_COLUMNS): row["path"] for row in rows_of(seen.table)}
    rows, shape = rows_of(ledger[ledger["status"] == "ok"]), (0, len(contract.channels), *contract.size)
    found: list[NDArray[Any]] = []
    for row in rows:
        path = paths[tuple(row[name] for name in FIELD_COLUMNS)]
        found.append(maps.read_views(path, {row["view"]: Box.from_row(row)}, layer=row["layer"])[row["view"]])
    wanted = {str(ViewKey.from_row(row)) for row in rows}
    asked = [view for view in seen.views if str(view.key) in wanted]
    pixels = {str(view.key): read for view, read in read_views(plate.source, asked, contract, 1, seen.known)}
    if lost := [read for read in pixels.values() if isinstance(read, str)]:
        raise ngff.NgffError(f"{plate.source.address} changed while it was explained: {lost[0]}")
    shown: list[Any] = [pixels[str(ViewKey.from_row(row))] for row in rows]
    images = classifier.normalise(shown) if rows else torch.empty(shape)
    channel_maps = torch.from_numpy(np.stack(found)) if rows else torch.empty(0, 1, *contract.size)
    colours = FieldImage.open(plate.source, path).colours(contract.channels) if rows else ()
    return Maps.of(images.cpu(), channel_maps, ledger, contract.channels, colours)
