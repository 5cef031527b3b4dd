"""The frozen classifier's call for every view."""

from __future__ import annotations

import time
from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from pcim.core.identity import KEY_COLUMNS
from pcim.runtime.job_log import log
from pcim.runtime.progress import progress
from pcim.runtime.resume import ResultCache, fingerprint
from pcim.runtime.tables import rows_of
from pcim.stages.chunk_job import check_failures, of_chunk
from pcim.views.intensity import FieldRecords
from pcim.views.objects import read_objects
from pcim.views.reader import Waiting, batches, read_views
from pcim.views.view import View, views_of_wells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.classifiers.classifier import Classifier
    from pcim.classifiers.contract import Contract
    from pcim.config.stages import ClassifySettings
    from pcim.stages.chunk_job import ChunkJob


Calls = dict[View, dict[str, Any]]
"""What a table of calls says of views, beside what names and places them."""

FOUND: dict[str, Any] = {
    "logits": [], "probabilities": [], "call": "", "p": float("nan"), "seconds": float("nan"), "device": "", "device_name": "",
    "batch_size": 0, "fingerprint": "",
}  # fmt: skip
"""The columns of what is found, as they are of a view without a call."""


def classify_views(
    classifier: Classifier, views: Sequence[View], readings: Iterable[tuple[View, NDArray[Any] | str]], batch_size: int
) -> pd.DataFrame:
    """Classify views, as they are read; a row a view, in the given order, whatever its status."""
    found: Calls = {}
    for calls in _in_batches(classifier, readings, batch_size):
        found |= calls
    return _table(views, found)


def _table(views: Sequence[View], found: Calls) -> pd.DataFrame:
    placed = [*KEY_COLUMNS, "top", "left", "height", "width", "status", "reason"]
    return pd.DataFrame([view.columns() | FOUND | found.get(view, {}) for view in views], columns=[*placed, *FOUND])


def _in_batches(classifier: Classifier, readings: Iterable[tuple[View, NDArray[Any] | str]], size: int) -> Iterator[Calls]:
    """Classify views batch by batch: its calls, and the views that could not be read."""
    from pcim.classifiers.out_of_memory import halving_when_out_of_memory  # torch is not needed before

    classes, (device, device_name), waiting = classifier.contract.classes, classifier.named_device, Waiting()
    for group, pixels, lost in waiting.over(batches(readings, size)):
        found: Calls = {view: {"status": "failed", "reason": reason} for view, reason in lost}
        if group:
            began = time.perf_counter()
            logits, size = halving_when_out_of_memory(partial(classifier.logits_of, pixels), size)
            how = {"device": device, "device_name": device_name, "batch_size": size}
            how["seconds"] = (time.perf_counter() - began) / len(group)
            found |= {v: _call(scores.tolist(), classes) | how for v, scores in zip(group, logits, strict=True)}
        yield found
    log.info("%s", waiting)


def _call(logits: list[float], classes: list[str]) -> dict[str, Any]:
    """Turn logits into probabilities and the call; a tie goes to the first class."""
    from scipy.special import softmax  # a job that only reads this module does not wait for it

    probabilities = softmax(logits).tolist()
    best = max(range(len(classes)), key=lambda k: (probabilities[k], -k))
    return {"logits": logits, "probabilities": probabilities, "call": classes[best], "p": probabilities[best]}


def classify_chunk(job: ChunkJob, *, fields: str, table: str, settings: ClassifySettings) -> None:
    """Classify every view of a chunk's wells and write the table of calls; views that an earlier run called are not asked again."""
    contract, seen = job.contract, pd.read_parquet(fields)
    views = views_of_wells(seen, job.wells, contract.input, job.accept, read_objects(job.objects))
    known, kept = FieldRecords.from_tables(seen, job.intensities), ResultCache(table)
    marks = _fingerprints(views, seen, known, contract, settings.batch_size, job.revision)
    called = kept.find()
    found: Calls = {view: _call_columns(called[mark][0][0]) | {"fingerprint": mark} for view, mark in marks.items() if mark in called}
    waiting = [view for view in marks if view not in found]
    log.info("%d of %d views are called already", len(found), len(marks))
    if waiting:
        readings = read_views(job.store, waiting, contract.input, job.workers, known)
        classifier = job.load_classifier()  # after reading has begun
        unfit = sum(view.status == "failed" for view in views)
        done = len(views) - len(waiting) - unfit
        with progress(len(views), f"classify {job.store.name}", kept=done, failed=unfit, device=classifier.named_device) as bar:
            for calls in _in_batches(classifier, readings, settings.batch_size):
                good = {view: row | {"fingerprint": marks[view]} for view, row in calls.items() if "call" in row}
                kept.add({row["fingerprint"]: [[row]] for row in good.values()})
                found |= calls | good
                bar.update(len(good), len(calls) - len(good))
    table_of_calls = _table(views, found)
    log.info("%s: %s", table, table_of_calls["call"].value_counts().to_dict())
    check_failures(table_of_calls, job.max_failed, table)
    made = of_chunk("classify", job, seen, settings.model_dump(mode="json"), fields=fields)
    kept.write(table_of_calls.assign(model_sha256=contract.sha256, revision=job.revision), made=made)


def _fingerprints(  # noqa: PLR0913, PLR0917 - what a call depends on
    views: Sequence[View], fields: pd.DataFrame, known: FieldRecords, contract: Contract, batch_size: int, revision: int
) -> dict[View, str]:
    """Return the fingerprint of all that its call depends on, of every view that can be called."""
    digests = {row["path"]: row["digest"] for row in rows_of(fields)}
    shared = {"model": contract.depends_on(), "batch_size": batch_size, "revision": revision}
    return {
        view: fingerprint(
            {
                **shared,
                "view": str(view.key),
                "box": astuple(view.box),
                "pixels": digests[view.path],
                "intensities": known.ends.get(view.path),
            }
        )
        for view in views
        if view.status == "ok"
    }


def _call_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a kept row says, as it was found."""
    return {name: row[name] for name in FOUND if name in row}
