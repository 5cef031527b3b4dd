"""Ingest: a plate and its plate map become a checked table of fields, each with a quality verdict and its reason."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import delayed
from scipy.ndimage import gaussian_filter

from pcim import ngff
from pcim.inputs import CampaignError, read_platemap
from pcim.jobs import log, progress, write_table
from pcim.plate import FIELD_COLUMNS, well_name
from pcim.stores import FieldImage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.config import IngestSettings

FULL_SCALE = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Highest values of the cameras and file types in use."""


@dataclass(frozen=True)
class Quality:
    """A field's verdict, one of `pcim.config.Verdict` or ``ok``, and its reason in words with numbers."""

    verdict: str
    reason: str = ""


def judge(image: NDArray[Any], channels: Sequence[str], settings: IngestSettings) -> Quality:
    """Judge a field's pixels (channel, y, x); the first fault found gives the verdict."""
    pixels = image.astype(np.float32)
    if not np.isfinite(pixels).all():
        return Quality("nan", f"{np.count_nonzero(~np.isfinite(pixels))} pixels are NaN or infinite")
    flat = [channel for channel, plane in enumerate(pixels) if plane.min() == plane.max()]
    if flat:
        return Quality("constant", f"channel {channels[flat[0]]!r} is {pixels[flat[0]].flat[0]:g} everywhere")
    full = [float(np.mean(plane == plane.max())) if plane.max() in FULL_SCALE else 0.0 for plane in pixels]
    if max(full) > settings.saturated_share:
        where = int(np.argmax(full))
        return Quality(
            "saturated",
            f"{max(full):.0%} of channel {channels[where]!r} sits at its highest value {pixels[where].max():g}",
        )
    contrast = max(_contrast(plane) for plane in pixels)
    if contrast < settings.empty_contrast:
        return Quality("empty", f"nothing rises above {contrast:.1f} noise units in any channel")
    focus = max(_fine_share(plane) for plane in pixels)
    if focus < settings.focus:
        return Quality(
            "out_of_focus", f"fine detail is {focus:.2g} of the variance; expected {settings.focus:g} or more"
        )
    return Quality("ok")


def _contrast(plane: NDArray[np.float32]) -> float:
    """Distance of the brightest or darkest 0.5 % from the median, in units of the pixel noise."""
    low, middle, high = np.percentile(plane, [0.5, 50, 99.5])
    differences = np.abs(np.diff(plane, axis=-1))
    noise = max(1.4826 * float(np.median(differences)) / np.sqrt(2), 0.5)  # half a grey level: digitisation
    return float(max(high - middle, middle - low) / noise)


def _fine_share(plane: NDArray[np.float32]) -> float:
    """Share of the variance in the band between Gaussians of 1 and 2 px: detail, but not single-pixel noise."""
    band = gaussian_filter(plane, 1) - gaussian_filter(plane, 2)
    return float(band.var() / plane.var())


def inspect_field(path: Path, settings: IngestSettings) -> dict[str, Any]:
    """Read one field and return its columns of the field table; a broken field is a row with a reason."""
    unknown = {
        "channels": [],
        "height": 0,
        "width": 0,
        "dtype": "",
        "pixel_size_um": np.nan,
        "labels": [],
        "digest": "",
    }
    try:
        field = FieldImage.open(path)
    except (ngff.NgffError, OSError) as error:
        return unknown | {"qc": "missing", "reason": str(error)}
    size = field.layout.pixel_size_um
    known = {
        "channels": field.channels,
        "height": field.shape[0],
        "width": field.shape[1],
        "dtype": field.dtype,
        "pixel_size_um": np.nan if size is None else size[0],
        "labels": ngff.read_labels(path),
        "digest": "",
    }
    absent, expected = field.absent_chunks()
    if absent:
        return known | {"qc": "missing", "reason": f"{absent} of {expected} chunks are not stored"}
    torn = field.torn_chunks()
    if torn:
        return known | {"qc": "truncated", "reason": f"chunk {torn[0]} is not as long as its header says"}
    try:
        image = field.read()
    except (ngff.NgffError, OSError) as error:
        return known | {"qc": "truncated", "reason": str(error)}
    quality = judge(image, field.channels, settings)
    return known | {"digest": digest_pixels(image), "qc": quality.verdict, "reason": quality.reason}


def digest_pixels(image: NDArray[Any]) -> str:
    """Return a digest of an array's shape, type and values, whatever its compression."""
    head = f"{image.shape}{image.dtype.str}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(image).tobytes(), digest_size=16).hexdigest()


def ingest_plate(  # noqa: PLR0913 - a job's inputs
    *, plate: str, store: Path, platemap: Path, table: str, settings: IngestSettings, workers: int, revision: int
) -> None:
    """Check every field of a plate and write its field table.

    Raises
    ------
    CampaignError
        When the plate map has faults.
    """
    faults: list[str] = []
    plate_map = read_platemap(platemap, faults)
    if faults:
        raise CampaignError(faults)
    layout = ngff.read_plate(store)
    keys, paths, broken = [], [], []
    for well in layout.wells:
        try:
            fields = ngff.read_well(store, well)
        except ngff.NgffError as error:
            broken.append((well, str(error)))
            continue
        for field in fields:
            keys.append((well, field))
            paths.append(store / well.path / field)
    bar = progress(len(paths), f"ingest {plate}", unit="field")
    with bar, Callback(posttask=lambda *_: bar.update()):
        inspected = compute(
            *(delayed(inspect_field)(path, settings) for path in paths), scheduler="threads", num_workers=workers
        )
    keys += [(well, "0") for well, _ in broken]
    inspected += tuple(inspect_field(store / well.path / "0", settings) | {"reason": why} for well, why in broken)
    rows = [
        {
            **_key(plate, well, field),
            "path": f"{well.path}/{field}",
            **found,
            **_typed(plate_map[well_name(well.row, well.column)]),
            "revision": revision,
        }
        for (well, field), found in zip(keys, inspected, strict=True)
    ]
    fields_table = pd.DataFrame(rows).sort_values(list(FIELD_COLUMNS), ignore_index=True)
    log.info("%s: %s", plate, fields_table["qc"].value_counts().to_dict())
    write_table(fields_table, table)


def _key(plate: str, well: ngff.WellLayout, field: str) -> dict[str, str]:
    name = well_name(well.row, well.column)
    return {"plate": plate, "row": well.row, "column": well.column, "well": name, "field": field}


def _typed(plate_map_row: dict[str, str]) -> dict[str, Any]:
    """Return a plate map row with its dose as a number, NaN where there is none."""
    return plate_map_row | {"dose": float(plate_map_row["dose"]) if plate_map_row["dose"] else np.nan}
