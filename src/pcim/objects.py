"""Objects: where a classifier of crops looks, from a label image of the plate or a table of places, found once a plate."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim import ngff
from pcim.jobs import log
from pcim.plate import FIELD_COLUMNS, parse_well
from pcim.provenance import record
from pcim.stores import FieldImage
from pcim.tables import rows_of, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.config import Crops
    from pcim.source import Source

Place = tuple[str, float, float]
"""An object's name and its middle (y, x), px of level 0."""

_REQUIRED = ("well", "field", "y", "x")


def middles(labels: NDArray[np.integer]) -> list[Place]:
    """Return the middle of the bounding box of every object of a label image (y, x; 0 = no object), by its number."""
    from scipy import ndimage  # jobs that do not need it do not wait for it

    boxes = ndimage.find_objects(labels.astype(np.int64))
    return [
        (str(number), (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2)
        for number, box in enumerate(boxes, 1)
        if box is not None
        for rows, columns in [box]
    ]


def read_places(file: Path, plate: str) -> dict[tuple[str, str], list[Place]]:
    """Read a table of places: CSV with columns well, field, y, x (px), and `object` and `plate` where given.

    Returns (well, field) -> objects of that plate; an object without a name is called by its line's number.

    Raises
    ------
    ValueError
        With the line of the first row that is not one.
    """
    found: dict[tuple[str, str], list[Place]] = {}
    with file.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        lacking = [name for name in _REQUIRED if name not in (reader.fieldnames or [])]
        if lacking:
            raise ValueError(f"{file}: columns {reader.fieldnames} lack {lacking}")
        for row in reader:
            if row.get("plate") not in (None, "", plate):
                continue
            try:
                key, place = (parse_well(row["well"]), row["field"].strip()), (float(row["y"]), float(row["x"]))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{file}:{reader.line_num}: {error}") from error
            name = (row.get("object") or "").strip() or str(reader.line_num)
            if not name.isalnum() or not np.isfinite(place).all():
                raise ValueError(
                    f"{file}:{reader.line_num}: object {name!r} at {place}: expected letters, digits, numbers"
                )
            found.setdefault(key, []).append((name, *place))
    for key, places in found.items():
        if len({name for name, _, _ in places}) < len(places):
            raise ValueError(f"{file}: an object of {key[0]}, field {key[1]} is listed twice")
    return found


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
    told = record("ingest", revision, source=store.plain(), settings=settings)
    write_table(pd.DataFrame(made, columns=columns).assign(revision=revision), table, told)


def _of_label(store: Source, path: str, label: str) -> list[Place]:
    try:
        return middles(FieldImage.open(store, path).read_label(label))
    except (ngff.NgffError, OSError) as error:
        log.warning("%s: %s", path, error)
        return []


def read_objects(tables: Sequence[str]) -> Mapping[str, list[Place]] | None:
    """Return field path -> its objects; None for classifiers that do not look at objects."""
    if not tables:
        return None
    found: dict[str, list[Place]] = {}
    rows: list[dict[str, Any]] = [row for table in tables for row in rows_of(pd.read_parquet(table))]
    for row in rows:
        found.setdefault(row["path"], []).append((row["object"], row["y"], row["x"]))
    return found
