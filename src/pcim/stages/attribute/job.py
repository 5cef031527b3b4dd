"""The job that reads views, explains them, and writes maps and the ledger. Finished views are never redone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.config.base import CALL
from pcim.core.identity import KEY_COLUMNS
from pcim.plates.attribution_plate import AttributionPlate, FieldMaps
from pcim.plates.quality import digest_pixels
from pcim.runtime.job_log import log
from pcim.runtime.journal import Journal
from pcim.runtime.tables import rows_of, write_table
from pcim.stages.attribute.field_assembly import Assembly
from pcim.stages.attribute.spool import Spool
from pcim.stages.attribute.tally import Tally
from pcim.stages.attribute.tasks import AttributeJob, ExplainTask, finished_fields, key_of
from pcim.stages.chunk_job import check_failures, of_chunk
from pcim.views.intensity import FieldRecords
from pcim.views.objects import read_objects
from pcim.views.reader import FieldLayouts, Waiting, batches, read_views
from pcim.views.selection import is_selected, thin_wells
from pcim.views.view import View, views_of_wells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.attribution.explain import Attribution
    from pcim.classifiers.classifier import Classifier
    from pcim.config.stages import AttributeSettings
    from pcim.stages.attribute.spool import MapResult
    from pcim.stages.chunk_job import ChunkJob
    from pcim.views.reader import ViewPixels

LEDGER_COLUMNS = [
    *KEY_COLUMNS, "top", "left", "height", "width", "status", "reason", "method", "layer", "scored", "target", "steps", "stop",
    "loss_first", "loss_last", "p_image", "p_keep", "p_drop", "p_background", "p_drop_background", "mean_attribution",
    "seconds", "channels", "channel_share", "device", "device_name", "batch_size", "digest", "fingerprint", "revision",
]  # fmt: skip
RECORDED = ("loss_first", "loss_last", "p_image", "p_keep", "p_drop", "p_background", "p_drop_background")
BATCHES_AHEAD = 4
"""Batches handed to a method at once: a view that has settled is replaced by the next one without waiting for the others."""


def select_views(fields: pd.DataFrame, calls: pd.DataFrame, views: Sequence[View], settings: AttributeSettings) -> list[View]:
    """Return the views to explain; a view that was not classified passes on its reason."""
    plate_map = {(r["well"], r["field"]): r for r in rows_of(fields)}
    states = {tuple(r[c] for c in KEY_COLUMNS): r for r in rows_of(calls)}
    passing = [v for v in views if is_selected(v.key, plate_map[v.key.well, v.key.field], settings.select)]
    known = [states[tuple(view.key.columns().values())] for view in passing]
    updated = [View(v.key, v.path, v.box, s["status"], s["reason"]) for v, s in zip(passing, known, strict=True)]
    unfit = {view.key for view in updated if view.status != "ok"}
    kept = set(thin_wells([view.key for view in updated if view.key not in unfit], settings.select.per_well))
    return [view for view in updated if view.key in kept | unfit]


def attribute_chunk(  # noqa: PLR0913 - a job's inputs
    chunk: ChunkJob, *, fields: str, calls: str, method: str, maps: str, ledger: str, settings: AttributeSettings
) -> None:
    """Explain the selected views of a chunk by one method: maps into the plate of maps, the ledger last."""
    job = AttributeJob(chunk, method, settings, AttributionPlate(Path(maps)))
    fields_table, calls_table = pd.read_parquet(fields), pd.read_parquet(calls)
    views = views_of_wells(fields_table, chunk.wells, chunk.contract.input, chunk.accept, read_objects(chunk.objects))
    views = select_views(fields_table, calls_table, views, settings)
    known, spool = FieldRecords.from_tables(fields_table, chunk.intensities), Spool(ledger)
    rows = explain(job, views, fields_table, calls_table, Journal(ledger), spool, known)
    table = pd.DataFrame(rows, columns=LEDGER_COLUMNS)
    log.info("%s: %s", ledger, table["status"].value_counts().to_dict())
    check_failures(table, chunk.max_failed, ledger)
    shared = settings.model_dump(mode="json", include={"select", "targets", "batch_size"})
    more = {"method": method, "maps": maps, "fields": fields, "calls": calls}
    made = of_chunk("attribute", chunk, fields_table, settings.of_method(method) | shared, **more)
    write_table(table, ledger, made)
    spool.close()


def explain(  # noqa: PLR0913, PLR0917 - what the rows rest on
    job: AttributeJob,
    views: Sequence[View],
    fields: pd.DataFrame,
    calls: pd.DataFrame,
    journal: Journal,
    spool: Spool,
    known: FieldRecords,
) -> list[dict[str, Any]]:
    """Explain views and return a ledger row each and layer, in the given order; what journal and spool know is not redone."""
    digests = {(r["well"], r["field"]): r["digest"] for r in rows_of(fields)}
    call_of = {tuple(r[c] for c in KEY_COLUMNS): r["call"] for r in rows_of(calls)}
    shapes = {r["path"]: (int(r["height"]), int(r["width"])) for r in rows_of(fields)}
    tasks: dict[str, list[ExplainTask]] = {}
    for view in (view for view in views if view.status == "ok"):
        call, digest = call_of[tuple(view.key.columns().values())], digests[view.key.well, view.key.field]
        tasks.setdefault(view.path, []).extend(job.tasks(view, call, digest, known.ends.get(view.path)))
    unfit = [row for view in views if view.status != "ok" for row in _rows(job, view, job.settings.targets)]
    rows = {key_of(row): row for row in unfit}
    finished = finished_fields(job, tasks, journal)
    rows |= {key: row for known in finished.values() for key, row in known.items()}
    waiting = {path: members for path, members in tasks.items() if path not in finished}
    log.info("%d of %d fields are finished already", len(finished), len(tasks))
    for path_rows in _explain_fields(job, waiting, shapes, spool, known, Tally.of(views, waiting)):
        journal.append(path_rows)
        rows |= {key_of(row): row for row in path_rows}
    return [rows[str(view.key), layer] for view in views for layer in job.settings.targets]


def _explain_fields(  # noqa: PLR0913, PLR0917 - what fields are made of
    job: AttributeJob,
    waiting: dict[str, list[ExplainTask]],
    shapes: dict[str, tuple[int, int]],
    spool: Spool,
    known: FieldRecords,
    tally: Tally,
) -> Iterator[list[dict[str, Any]]]:
    """Explain the tasks as their views are read; when the last view of a field is done, store the field and yield its rows."""
    if not waiting:
        return
    pending = {path: Assembly(shapes[path], job.settings.targets, len(members)) for path, members in waiting.items()}
    left = {task: None for members in waiting.values() for task in members}  # a set that keeps its order
    layouts = FieldLayouts(job.chunk.store)

    def note(done: Iterable[MapResult]) -> Iterator[list[dict[str, Any]]]:
        """Take what is done into its fields, and store those that are whole."""
        for task, ended, arrays in done:
            del left[task]
            rows = _rows(job, task.view, task.layers, ended)
            pending[task.view.path].add(rows, task.view.key.view, task.view.box, arrays)
            tally.note(task.view, failed=ended["status"] != "ok")
        for path in [path for path, assembly in pending.items() if assembly.waiting_for == 0]:
            yield _store(job, path, pending.pop(path), waiting[path], layouts)
            spool.drop(path)

    yield from note(spool.find(waiting))
    log.info("%d views of unfinished fields are explained already", tally.done - tally.kept)
    if not left:
        return
    of_view: dict[View, list[ExplainTask]] = {}
    for task in left:
        of_view.setdefault(task.view, []).append(task)
    chunk = job.chunk
    readings = read_views(chunk.store, list(of_view), chunk.contract.input, chunk.workers, known, layouts=layouts)
    classifier = _load(job)  # while the first views are read
    with tally.meter(f"{job.method} {job.chunk.store.name}", classifier.named_device) as bar:
        for done in _explain_views(job, classifier, of_view, readings):
            yield from note(done)
            for path in dict.fromkeys(task.view.path for task, _, _ in done if task.view.path in pending):
                spool.add(path, [one for one in done if one[0].view.path == path and one[1]["status"] == "ok"])
            bar.update(*tally.new())


def _load(job: AttributeJob) -> Classifier:
    """Load the classifier that the job's method asks."""
    classifier = job.chunk.load_classifier()
    from pcim.attribution.explain import classifier_for  # torch is not needed before

    return classifier_for(job.method, classifier)


def _explain_views(
    job: AttributeJob,
    classifier: Classifier,
    of_view: Mapping[View, Sequence[ExplainTask]],
    readings: Iterable[ViewPixels],
) -> Iterator[list[MapResult]]:
    """Explain views as they are read; yield what is done, some views at a time, arrays in units of their view's mean."""
    from pcim.attribution.explain import explain_each  # torch is not needed before

    settings, clock = job.settings, Waiting()
    together = -(-BATCHES_AHEAD * settings.batch_size // len(settings.targets))
    for views, pixels, unread in clock.over(batches(readings, together)):
        if unread:
            failed = {"status": "failed"}
            yield [(task, failed | {"reason": reason}, {}) for view, reason in unread for task in of_view[view]]
        if not views:
            continue
        tasks = [task for view in views for task in of_view[view]]
        images = classifier.normalise([seen for view, seen in zip(views, pixels, strict=True) for _ in of_view[view]])
        targets = classifier.class_index([task.target for task in tasks])
        keys = [task.view.key.number(job.method) for task in tasks]
        began = time.perf_counter()
        for numbers, attribution in explain_each(classifier, job.method, images, targets, keys, settings):
            here = [tasks[number] for number in numbers]
            arrays = _arrays(attribution)
            seconds = (time.perf_counter() - began) / len(here)
            yield list(_results(job, here, attribution, arrays, seconds, classifier.named_device))
            settings = settings.model_copy(update={"batch_size": attribution.batch_size})  # less where memory is short
            began = time.perf_counter()
    log.info("%s: %s", job.chunk.store.name, clock)


def _results(  # noqa: PLR0913, PLR0917 - what the ledger says of some views
    job: AttributeJob,
    tasks: Sequence[ExplainTask],
    attribution: Attribution,
    arrays: Mapping[str, NDArray[np.float32]],
    seconds: float,
    device: tuple[str, str],
) -> Iterator[MapResult]:
    """Yield what the ledger says of each map, and the arrays, in units of their view's mean."""
    nothing = [np.nan] * len(tasks)
    values = {name: attribution.record[name].tolist() if name in attribution.record else nothing for name in RECORDED}
    steps = attribution.record["steps"].tolist()
    how = {"seconds": seconds, "device": device[0], "device_name": device[1], "batch_size": attribution.batch_size}
    for number, task in enumerate(tasks):
        channel_maps = arrays["channel_maps"][number]  # (c or 1, h, w)
        mean = float(channel_maps.sum(0).mean())
        measured = {name: values[name][number] for name in RECORDED} | how
        ended = {"status": "ok", "reason": "", "steps": steps[number], "stop": attribution.stop[number]}
        row = measured | ended | {"target": task.target, "fingerprint": task.fingerprint}
        if not np.isfinite(channel_maps).all():
            yield task, row | {"status": "failed", "reason": "the map is not finite"}, {}
            continue
        scaled = channel_maps / mean if mean > 0 else channel_maps
        beside = {name: arrays[name][number] for name in attribution.beside}
        row |= {"mean_attribution": mean, "digest": digest_pixels(scaled), "channel_share": _shares(job, channel_maps)}
        yield task, row, {"map": scaled, **beside}


def _arrays(attribution: Attribution) -> dict[str, NDArray[np.float32]]:
    """Bring a batch's maps to the host, once."""
    tensors = {"channel_maps": attribution.channel_maps, **attribution.beside}
    return {name: tensor.detach().cpu().numpy().astype(np.float32) for name, tensor in tensors.items()}


def _shares(job: AttributeJob, channel_maps: NDArray[np.float32]) -> list[float]:
    """Return each channel's share of the attribution; NaN for a method that has one map for all channels."""
    channels = job.chunk.contract.input.channels
    totals = channel_maps.sum(axis=(1, 2), dtype=np.float64)
    if len(totals) != len(channels) or totals.sum() <= 0:
        return [np.nan] * len(channels)
    return [float(share) for share in totals / totals.sum()]


def _rows(job: AttributeJob, view: View, layers: Sequence[str], ended: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return a view's ledger rows, one a layer: what is known before it is explained, and how that `ended`."""
    nothing = dict.fromkeys((*RECORDED, "mean_attribution", "seconds"), float("nan"))
    before = {
        **view.columns(),
        "method": job.method,
        "target": "",
        "steps": 0,
        "stop": "",
        **nothing,
        "channels": job.chunk.contract.input.channels,
        "channel_share": [np.nan] * len(job.chunk.contract.input.channels),
        "device": "",
        "device_name": "",
        "batch_size": job.settings.batch_size,
        "digest": "",
        "fingerprint": "",
        "revision": job.chunk.revision,
    }
    first = job.settings.targets[0]
    return [before | dict(ended or {}) | {"layer": layer, "scored": layer == first} for layer in layers]


def _store(job: AttributeJob, path: str, assembly: Assembly, tasks: Sequence[ExplainTask], layouts: FieldLayouts) -> list[dict[str, Any]]:
    """Write a finished field in one step and return its rows."""
    if assembly.done:
        arrays = assembly.stitch()
        maps, layers = arrays["map"], job.settings.targets
        of_channels = job.chunk.contract.input.channels if len(maps) > len(layers) else ["all channels"]
        stored = FieldMaps(
            maps,
            {layer: [_label(job.method, layer, channel) for channel in of_channels] for layer in layers},
            ("top", assembly.top(job.settings.top_percent)),
            layouts.of(path).space,
            job.settings.levels,
            job.settings.dtype,
            job.provenance(tasks),
            beside={name: array for name, array in arrays.items() if name != "map"},
            views=assembly.views() if assembly.are_views_apart else {},
        )
        job.maps.write_field(path, stored)
    return assembly.rows


def _label(method: str, layer: str, channel: str) -> str:
    """Name a channel of a plate of maps: ``pcim DNA`` explains the call, ``pcim dead DNA`` the class 'dead'."""
    return " ".join([method, *([layer] if layer != CALL else []), channel])
