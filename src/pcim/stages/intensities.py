"""Intensities: the percentiles that a contract asks for, measured once over a field, a well, a plate or its controls.

Percentiles come from exact counts of the pixels' values, so that they do not depend on order, chunks or workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.core.identity import FIELD_COLUMNS
from pcim.plates.field_image import FieldImage
from pcim.runtime.job_log import log
from pcim.runtime.progress import progress
from pcim.runtime.provenance import record
from pcim.runtime.tables import rows_of, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.classifiers.contract import Percentiles
    from pcim.core.plate_source import Source

_VALUES = 2**16
_FIELDS_AT_ONCE = 32


def count_values(plane: NDArray[Any]) -> NDArray[np.int64]:
    """Count how often each value occurs, in ascending order of the values: 65536 counts.

    uint8 and uint16 are counted exactly; float32 by their upper 16 bits, so to 1 part in 128.
    """
    if plane.dtype.kind == "u" and plane.dtype.itemsize <= 2:  # noqa: PLR2004 - 16 bits
        return np.bincount(plane.ravel(), minlength=_VALUES)
    bits = np.ascontiguousarray(plane, np.float32).ravel().view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | 0x8000_0000)  # negative numbers count backwards
    return np.bincount(ordered >> 16, minlength=_VALUES)


def percentile(counts: NDArray[np.int64], percent: float, dtype: str) -> float:
    """Return the smallest value that at least so many percent of the counted pixels do not exceed."""
    number = int(np.searchsorted(np.cumsum(counts), max(percent / 100 * counts.sum(), 1e-9)))
    if np.dtype(dtype).kind == "u":
        return float(number)
    bits = np.uint32(number << 16)
    raw = bits & np.uint32(0x7FFF_FFFF) if number >> 15 else ~bits
    return float(np.array(raw, np.uint32).view(np.float32))


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
        record("ingest", revision, source=store.plain(), settings=settings),
    )


def _group(row: Mapping[str, Any], over: str) -> str:
    """Return the group whose pixels scale a field."""
    return {"field": str(row["path"]), "well": str(row["well"])}.get(over, over)


def _counts(row: Mapping[str, Any], over: str) -> bool:
    """Tell whether a field's pixels are counted into its group."""
    return over == "field" or (row["qc"] == "ok" and (over != "negcon" or row["control_type"] == "negcon"))


def _count_field(store: Source, path: str, channels: Sequence[str]) -> NDArray[np.int64]:
    return np.stack([count_values(plane) for plane in FieldImage.open(store, path).read(channels)])


@dataclass(frozen=True)
class Known:
    """What is known of a plate's fields before they are read: digests by channel, and the ends of their intensities."""

    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ends: Mapping[str, tuple[list[float], list[float], bool]] = field(default_factory=dict)
    are_scaled: bool = False

    @classmethod
    def of(cls, fields: pd.DataFrame, intensities: Sequence[str] = ()) -> Known:
        """Read it from the table of fields and, where the contract asks for percentiles, the tables of intensities."""
        digests = {row["path"]: dict(zip(row["channels"], row["digests"], strict=False)) for row in rows_of(fields)}
        rows = [row for path in intensities for row in rows_of(pd.read_parquet(path))]
        ends = {row["path"]: (list(row["low"]), list(row["high"]), bool(row["clip"])) for row in rows}
        return cls(digests, ends, are_scaled=bool(intensities))

    def scaled(self, path: str, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels (channel, y, x) so that the low percentile is 0 and the high one 1; as they are where none is asked for.

        Raises
        ------
        KeyError
            When percentiles are asked for and none was measured for this field.
        """
        if not self.are_scaled:
            return pixels
        low, high, clip = self.ends[path]
        floor = np.array(low, np.float32)[:, None, None]
        span = np.maximum(np.array(high, np.float32)[:, None, None] - floor, np.finfo(np.float32).tiny)
        scaled = (pixels.astype(np.float32) - floor) / span
        return np.asarray(np.clip(scaled, 0, 1) if clip else scaled)
