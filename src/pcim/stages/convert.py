"""A vendor's export written once as an OME-Zarr 0.5 plate: sharded, checksummed, resumable field by field."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.core.identity import well_name, well_order
from pcim.plates import ngff
from pcim.plates.colours import channel_colours
from pcim.plates.ngff_writer import FieldContent, Pyramid, finish_plate, omero, write_field
from pcim.plates.vendors import read_export
from pcim.plates.vendors.export import digest_of, row_letters
from pcim.plates.vendors.failed_files import look_of, write_failed
from pcim.plates.vendors.read_planes import read_channel
from pcim.runtime.job_log import log, log_some
from pcim.runtime.progress import progress
from pcim.runtime.provenance import made_by, record
from pcim.runtime.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcim.core.plate_source import Source
    from pcim.plates.vendors.export import Export, Plane


Key = tuple[str, str, str]


@dataclass(frozen=True)
class Conversion:
    """What the conversion of each field needs: the export, where the plate goes, and how it is stored."""

    export: Export
    plate: Path
    levels: int
    window: tuple[float, float]
    revision: int

    def fingerprint(self, planes: Sequence[Sequence[Plane]]) -> str:
        """Return a digest of all that a converted field depends on: its files by name, size and time, and the settings."""
        files = sorted({plane.file for channel in planes for plane in channel})
        stats = [(name, (self.export.root / name).stat()) for name in files]
        told: list[Any] = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        told += [repr(planes), self.export.source.to_dict(), self.export.channels, self.export.pixel_size_um]
        return digest_of([json.dumps([*told, self.levels, self.window, self.revision], default=str)])


def convert_plate(  # noqa: PLR0913 - a job's inputs
    *, plate: str, source: Source, store: Path, table: str, levels: int, workers: int, revision: int, failed: str = ""
) -> None:
    """Write an export as an OME-Zarr plate and a table with a row a field; a field that cannot be read is a row with a reason.

    Fields that are there already, from the same files and settings, are left as they are. `failed` is what `failed_files` said.

    Raises
    ------
    NgffError
        When no field could be read.
    OSError
        When the plate cannot be written (a full disk, say): what is written stays, and the next run goes on from there.
    """
    export = read_export(source)
    keys = [key for key in export.fields if not source.fields or key[2] in source.fields]
    keys.sort(key=lambda key: (well_order(well_name(*key[:2])), len(key[2]), key[2]))
    job = Conversion(export, store, levels, _window(export, keys), revision)
    bar = progress(len(keys), f"convert {plate}", unit="field")
    reasons: dict[Key, str] = {}
    looks: dict[str, str] = {}
    with bar, ThreadPoolExecutor(workers) as pool:
        coming = pool.map(lambda key: convert_field(job, key), keys)
        try:
            for key, reason in zip(keys, coming, strict=True):
                reasons[key] = reason
                looks |= {plane.file: look_of(export.root / plane.file) for plane in export.fields[key] if reason}
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)  # a job that ends early converts no more
    if all(reasons.values()):
        raise ngff.NgffError(f"{source.address}: no field could be converted; the first: {reasons[keys[0]]}")
    _finish(job, plate, [key for key in keys if not reasons[key]])
    rows = [
        {
            "plate": plate, "row": row, "column": column, "well": well_name(row, column), "field": field,
            "status": "failed" if reasons[row, column, field] else "ok", "reason": reasons[row, column, field],
            "files": sorted({plane.file for plane in export.fields[row, column, field]}), "revision": revision,
        }
        for row, column, field in keys
    ]  # fmt: skip
    bad = [f"{'/'.join(key)}: {reason}" for key, reason in reasons.items() if reason]
    log.info("%s: %d fields converted, %d could not be", plate, len(rows) - len(bad), len(bad))
    log_some(plate, bad, table)
    write_failed(Path(table), export.root, looks, failed)
    write_table(pd.DataFrame(rows), table, record("convert", revision, source=source.to_dict(), settings={"levels": levels}))


def convert_field(job: Conversion, key: Key) -> str:
    """Write one field and return why it could not be read, empty text when it could."""
    field = "/".join(key)
    try:
        planes = job.export.planes_of(key)
        fingerprint = job.fingerprint(planes)
        if _stored_fingerprint(job.plate / field) == fingerprint:
            return ""
        pixels = np.stack([read_channel(job.export, channel) for channel in planes])
    except Exception as error:  # noqa: BLE001 - decoders raise what they like on broken files: it becomes the field's reason
        return f"{error}" or type(error).__name__
    size = job.export.pixel_size_um
    space = ngff.Space(size, unit="micrometer") if size else ngff.Space()
    colours = channel_colours((), len(job.export.channels))
    shown = {"omero": omero(job.export.channels, lambda n: colours[n], job.window)}
    own = {"fingerprint": fingerprint, "revision": job.revision, **made_by()}
    write_field(job.plate, field, FieldContent(Pyramid(field, pixels, space, job.levels, shown), own))
    return ""


def _stored_fingerprint(place: Path) -> str:
    """Return what a converted field says it was made from; nothing when it is not there (a field appears whole)."""
    try:
        return str(json.loads((place / "zarr.json").read_bytes())["attributes"]["pcim"]["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _window(export: Export, keys: Sequence[Key]) -> tuple[float, float]:
    """Return the display window of the whole plate: what holds 99.8 % of the pixels of its first field that can be read."""
    for key in keys[:20]:
        try:
            planes = [read_channel(export, channel) for channel in export.planes_of(key)]
        except Exception as error:  # noqa: BLE001 - its own conversion says what is wrong with it
            log.info("%s: not used for the display window: %s", "/".join(key), error)
            continue
        low, high = np.percentile(np.stack(planes), [0.1, 99.9])
        return float(low), float(max(high, low + 1))
    return 0.0, 1.0


def _finish(job: Conversion, plate: str, keys: Sequence[Key]) -> None:
    """Write the metadata of the plate and its wells for the fields that are there."""
    found: dict[str, list[str]] = {}
    for row, column, field in keys:
        found.setdefault(f"{row}/{column}", []).append(field)
    letters = {row for row, _, _ in job.export.fields}
    numbers = {int(column) for _, column, _ in job.export.fields}
    grid = [row_letters(n) for n in range(1, job.export.rows + 1)]
    rows = grid if letters <= set(grid) else sorted(letters, key=lambda row: (len(row), row))
    wide = range(1, job.export.columns + 1)
    columns = [str(n) for n in (wide if numbers <= set(wide) else sorted(numbers))]
    wells = [ngff.WellLayout(row, column, f"{row}/{column}") for row, column in dict.fromkeys(key[:2] for key in keys)]
    finish_plate(job.plate, ngff.PlateLayout("0.5", tuple(rows), tuple(columns), tuple(wells)), found, plate)
