"""Percentiles that a contract asks for, measured once over a field, a well, a plate or its controls.

They come from exact counts of the pixels' values, so that they do not depend on order, chunks or workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.core.identity import FIELD_COLUMNS
from pcim.plates.field_image import FieldImage
from pcim.runtime.job_log import log
from pcim.runtime.progress import progress
from pcim.runtime.provenance import record
from pcim.runtime.tables import rows_of, write_table
from pcim.views.intensity import count_values, percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.classifiers.contract import Percentiles
    from pcim.core.plate_source import Source


_FIELDS_AT_ONCE = 32


def measure_intensities(  # noqa: PLR0913 - a job's inputs
    *,
    fields: str,
    store: Source,
    channels: Sequence[str],
    percentiles: Percentiles,
    table: str,
    workers: int,
    revision: int,
) -> None:
    """Measure the percentiles of every field that can be read, and write a row a field: `low` and `high`, a value a channel.

    Wells, plates and controls are counted from fields of verdict ``ok``; a field with another, which `ingest.accept` may let
    pass, is scaled by them all the same. One whose well has no such field gets no row: nothing can be said of its scale.

    Raises
    ------
    RuntimeError
        When the percentiles are those of the negative controls and no field of one can be used.
    """
    from dask.base import compute  # jobs that only read what was measured do not wait for it
    from dask.delayed import delayed

    seen = pd.read_parquet(fields)
    rows = [row for row in rows_of(seen) if len(row["digests"]) and set(channels) <= set(row["channels"])]
    counted = {row["path"]: _counts(row, percentiles.over) for row in rows}
    groups = {row["path"]: _group(row, percentiles.over) for row in rows}
    pools: dict[str, NDArray[np.int64]] = {}
    bar = progress(len(rows), f"intensities {store.name}", unit="field")
    for start in range(0, len(rows), _FIELDS_AT_ONCE):
        paths = [row["path"] for row in rows[start : start + _FIELDS_AT_ONCE] if counted[row["path"]]]
        tasks = [delayed(_count_field)(store, path, channels) for path in paths]
        for path, counts in zip(paths, compute(*tasks, scheduler="threads", num_workers=workers), strict=True):
            pools[groups[path]] = pools.get(groups[path], 0) + counts
        bar.update(len(rows[start : start + _FIELDS_AT_ONCE]))
    bar.close()
    if percentiles.over == "negcon" and rows and not pools:
        raise RuntimeError(f"{store.address}: no field of a negative control (control_type negcon) can be used")
    made = []
    for row in (row for row in rows if groups[row["path"]] in pools):
        counts = pools[groups[row["path"]]]
        ends = {
            name: [percentile(plane, percent, row["dtype"]) for plane in counts]
            for name, percent in (("low", percentiles.low), ("high", percentiles.high))
        }
        made.append({name: row[name] for name in (*FIELD_COLUMNS, "path")} | ends)
    columns = [*FIELD_COLUMNS, "path", "low", "high"]
    log.info("%s: percentiles of %d groups", store.name, len(pools))
    settings = {"channels": list(channels), "percentiles": percentiles.model_dump(mode="json")}
    write_table(
        pd.DataFrame(made, columns=columns).assign(clip=percentiles.clip, revision=revision),
        table,
        record("ingest", revision, source=store.to_dict(), settings=settings),
    )


def _group(row: Mapping[str, Any], over: str) -> str:
    """Return the group whose pixels scale a field."""
    return {"field": str(row["path"]), "well": str(row["well"])}.get(over, over)


def _counts(row: Mapping[str, Any], over: str) -> bool:
    """Tell whether a field's pixels are counted into its group."""
    return over == "field" or (row["qc"] == "ok" and (over != "negcon" or row["control_type"] == "negcon"))


def _count_field(store: Source, path: str, channels: Sequence[str]) -> NDArray[np.int64]:
    return np.stack([count_values(plane) for plane in FieldImage.open(store, path).read(channels)])
