"""A plate and its plate map as a checked table of fields, each with a quality verdict and its reason."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from dask.base import compute
from dask.delayed import delayed

from pcim.campaign.input_tables import CampaignError, read_platemap
from pcim.core.identity import FIELD_COLUMNS, well_name
from pcim.plates import ngff
from pcim.plates.inspect_field import UNKNOWN, Inspection, inspect_field, key_columns, settle_absence
from pcim.plates.inventory import fields_of
from pcim.runtime.job_log import log, log_some
from pcim.runtime.progress import progress
from pcim.runtime.provenance import file_digest, pixels_of, record
from pcim.runtime.tables import rows_of, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pcim.config.stages import IngestSettings
    from pcim.core.plate_source import Source


_AT_ONCE = 4
"""So many fields are one task of Dask's, which costs a twentieth of reading a field of a megapixel."""


def ingest_plate(  # noqa: PLR0913 - a job's inputs
    *,
    plate: str,
    store: Source,
    platemap: Path,
    conversion: Sequence[str] = (),
    table: str,
    settings: IngestSettings,
    workers: int,
    revision: int,
) -> None:
    """Check every field of a plate and write its field table; `conversion` is the table of its conversion, if it had one.

    Raises
    ------
    CampaignError
        When the plate map has faults.
    """
    faults: list[str] = []
    plate_map = read_platemap(platemap, faults)
    if faults:
        raise CampaignError(faults)
    keys, broken = fields_of(store)
    bar = progress(len(keys), f"ingest {plate}", unit="field")

    def inspect(some: list[tuple[ngff.WellLayout, str]]) -> list[Inspection]:
        found = [inspect_field(store, f"{well.path}/{field}", settings) for well, field in some]
        bar.update(len(found))
        return found

    with bar:
        task = delayed(inspect, traverse=False)  # looking for Dask's own objects in the keys costs
        tasks = [task(keys[first : first + _AT_ONCE]) for first in range(0, len(keys), _AT_ONCE)]
        inspected = settle_absence(list(chain(*compute(*tasks, scheduler="threads", num_workers=workers))))
    for well, why in broken.items():
        keys.append((well, "0"))
        inspected.append(UNKNOWN | {"qc": "missing", "reason": why})
    for well, field, why in _failed_conversions(conversion):
        keys.append((well, field))
        inspected.append(UNKNOWN | {"qc": "missing", "reason": why})
    rows = [
        {
            **key_columns(plate, well, field),
            "path": f"{well.path}/{field}",
            **found,
            **_with_dose(plate_map[well_name(well.row, well.column)]),
            "revision": revision,
        }
        for (well, field), found in zip(keys, inspected, strict=True)
    ]
    fields_table = pd.DataFrame(rows).sort_values(list(FIELD_COLUMNS), ignore_index=True)
    log.info("%s: %s", plate, fields_table["qc"].value_counts().to_dict())
    bad = fields_table[fields_table["qc"] != "ok"]
    log_some(plate, [f"{row['path']} {row['qc']}: {row['reason']}" for row in rows_of(bad)], table)
    made = record(
        "ingest",
        revision,
        source=store.to_dict(),
        platemap=file_digest(platemap),
        settings=settings.model_dump(mode="json", exclude={"accept", "levels"}),
        pixels=pixels_of(zip(fields_table["path"], fields_table["digest"], strict=True)),
    )
    write_table(fields_table, table, made)


def _failed_conversions(conversion: Sequence[str]) -> list[tuple[ngff.WellLayout, str, str]]:
    """Return the fields of an export that could not be converted, with the reason."""
    if not conversion:
        return []
    failed = [row for row in rows_of(pd.read_parquet(conversion[0])) if row["status"] != "ok"]
    place = ngff.WellLayout
    return [(place(r["row"], r["column"], f"{r['row']}/{r['column']}"), r["field"], r["reason"]) for r in failed]


def _with_dose(plate_map_row: dict[str, str]) -> dict[str, Any]:
    """Return a plate map row with its dose as a number, NaN where there is none."""
    return plate_map_row | {"dose": float(plate_map_row["dose"]) if plate_map_row["dose"] else np.nan}
