"""Classify: the frozen classifier's call for every view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy.special import softmax

from pcim.contract import load_contract
from pcim.intensities import Known
from pcim.jobs import log, write_table
from pcim.objects import read_objects
from pcim.progress import progress
from pcim.views import View, Waiting, batches, read_views, views_of_wells

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pcim.config import ClassifySettings
    from pcim.jobs import ChunkJob
    from pcim.models import Classifier


def classify_views(
    classifier: Classifier, views: Sequence[View], readings: Iterable[tuple[View, NDArray[Any] | str]], batch_size: int
) -> pd.DataFrame:
    """Classify views, as they are read; a row a view, in the given order, whatever its status."""
    classes = classifier.contract.classes
    found: dict[View, dict[str, Any]] = {}
    unread: dict[View, str] = {}
    bar = progress(
        len(views), f"classify {views[0].key.plate}" if views else "classify", device=classifier.named_device
    )
    waiting = Waiting()
    for group, pixels, lost in waiting.over(batches(readings, batch_size)):
        unread.update(lost)
        if group:
            logits = classifier.logits_of(pixels, batch_size)
            found |= {v: _call(scores.tolist(), classes) for v, scores in zip(group, logits, strict=True)}
        bar.update(len(group), len(lost))
    bar.close()
    log.info("%s", waiting)
    nothing: dict[str, Any] = {"logits": [], "probabilities": [], "call": "", "p": float("nan")}
    rows = []
    for view in views:
        lost_columns = {"status": "failed", "reason": unread[view]} if view in unread else {}
        rows.append(view.columns() | lost_columns | found.get(view, nothing))
    return pd.DataFrame(rows)


def _call(logits: list[float], classes: list[str]) -> dict[str, Any]:
    """Turn logits into probabilities and the call; a tie goes to the first class."""
    probabilities = softmax(logits).tolist()
    best = max(range(len(classes)), key=lambda k: (probabilities[k], -k))
    return {"logits": logits, "probabilities": probabilities, "call": classes[best], "p": probabilities[best]}


def check_failures(table: pd.DataFrame, max_failed: float, what: str) -> None:
    """Let a job fail when too many of its views failed (skipped views do not count).

    Raises
    ------
    RuntimeError
        With the commonest reasons.
    """
    tried = table[table["status"] != "skipped"]
    failed = tried[tried["status"] == "failed"]
    if len(failed) > max_failed * len(tried):
        reasons = failed["reason"].value_counts().head(5)
        listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
        raise RuntimeError(
            f"{what}: {len(failed)} of {len(tried)} views failed, allowed are {max_failed:.0%}: {listed}"
        )


def classify_chunk(job: ChunkJob, *, fields: str, table: str, settings: ClassifySettings) -> None:
    """Classify every view of a chunk's wells and write the table of calls."""
    contract, seen = load_contract(job.model), pd.read_parquet(fields)
    views = views_of_wells(seen, job.wells, contract.input, job.accept, read_objects(job.objects))
    readings = read_views(job.store, views, contract.input, job.workers, Known.of(seen, job.intensities))
    classifier = job.load_classifier()  # after reading has begun
    calls = classify_views(classifier, views, readings, settings.batch_size)
    log.info("%s: %s", table, calls["call"].value_counts().to_dict())
    check_failures(calls, job.max_failed, table)
    write_table(calls.assign(model_sha256=classifier.contract.sha256, revision=job.revision), table)
