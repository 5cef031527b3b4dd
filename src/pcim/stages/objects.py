"""Where a classifier of crops looks, found once a plate from a label image of the plate or a table of places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pcim.core.identity import FIELD_COLUMNS
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.runtime.job_log import log
from pcim.runtime.provenance import record
from pcim.runtime.tables import rows_of, write_table
from pcim.views.objects import Place, middles, read_places

if TYPE_CHECKING:
    from pcim.config.classifier import Crops
    from pcim.core.plate_source import Source


def find_objects(  # noqa: PLR0913 - a job's inputs
    *, plate: str, fields: str, store: Source, crops: Crops, table: str, workers: int, revision: int
) -> None:
    """Find the objects of every field and write a row an object; a field whose label cannot be read has none, and a line in the log."""
    rows = [row for row in rows_of(pd.read_parquet(fields)) if row["height"]]
    if crops.table is not None:
        listed = read_places(crops.table, plate)
        places = tuple(listed.get((row["well"], row["field"]), []) for row in rows)
    else:
        from dask.base import compute  # jobs that only read what was found do not wait for it
        from dask.delayed import delayed

        tasks = [delayed(_of_label)(store, row["path"], crops.label) for row in rows]
        places = compute(*tasks, scheduler="threads", num_workers=workers)
    made = [
        {name: row[name] for name in (*FIELD_COLUMNS, "path")} | {"object": name, "y": y, "x": x}
        for row, objects in zip(rows, places, strict=True)
        for name, y, x in objects
    ]
    columns = [*FIELD_COLUMNS, "path", "object", "y", "x"]
    log.info("%s: %d objects in %d fields", plate, len(made), len(rows))
    settings = crops.model_dump(mode="json")
    told = record("ingest", revision, source=store.to_dict(), settings=settings)
    write_table(pd.DataFrame(made, columns=columns).assign(revision=revision), table, told)


def _of_label(store: Source, path: str, label: str) -> list[Place]:
    try:
        return middles(FieldImage.open(store, path).read_label(label))
    except (ngff.NgffError, OSError) as error:
        log.warning("%s: %s", path, error)
        return []
