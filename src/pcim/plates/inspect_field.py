"""One field of a plate, read and judged, as columns of the table of fields."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.core.identity import well_name
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.plates.quality import digest_pixels, illumination, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pcim.config.stages import IngestSettings
    from pcim.core.plate_source import Source


UNKNOWN: dict[str, Any] = {
    "channels": [], "height": 0, "width": 0, "dtype": "", "pixel_size_um": np.nan, "labels": [], "checksum": "", "digest": "",
    "digests": [], "illumination": [], "tilt_right": [], "tilt_down": [],
}  # fmt: skip
"""What is said of a field that cannot be opened."""


@dataclass(frozen=True)
class Inspection:
    """What was found of one field: its columns of the table, chunks that are not stored, and what its writer does with empty ones.

    `absent` says which chunks are missing, empty text = none; `stores_all` is True where a stored chunk holds nothing but the
    fill value, or the store says that every chunk is stored.
    """

    columns: dict[str, Any]
    absent: str = ""
    stores_all: bool = False


def inspect_field(source: Source, field: str, settings: IngestSettings) -> Inspection:
    """Read one field and return what was found; a broken field is a row with a reason."""
    try:
        image = FieldImage.open(source, field)
        known = UNKNOWN | _metadata_columns(image)
        absent, expected = image.absent_chunks()
        torn = image.torn_chunks()
    except (ngff.NgffError, OSError) as error:
        return Inspection(UNKNOWN | {"qc": "missing", "reason": str(error)})
    if torn:
        return Inspection(known | {"qc": "truncated", "reason": f"chunk {torn[0]} is not as long as its header says"})
    try:
        pixels = image.read()
    except (ngff.NgffError, OSError) as error:
        return Inspection(known | {"qc": "truncated", "reason": str(error)})
    digests = [digest_pixels(plane) for plane in pixels]
    quality = judge(pixels, image.channels, settings)
    lit = [list(values) for values in zip(*map(illumination, pixels), strict=True)]
    known |= dict(zip(("illumination", "tilt_right", "tilt_down"), lit, strict=True))
    return Inspection(
        known | {"digest": digest_of_channels(digests), "digests": digests, "qc": quality.verdict, "reason": quality.reason},
        f"{len(absent)} of {expected} chunks are not stored, {absent[0]} the first" if absent else "",
        image.is_complete_by_rule or _empty_chunks(image, pixels) > len(absent),
    )


def _metadata_columns(image: FieldImage) -> dict[str, Any]:
    size = image.layout.space.pixel_size_um
    return {
        "channels": image.channels,
        "height": image.shape[0],
        "width": image.shape[1],
        "dtype": image.dtype,
        "pixel_size_um": np.nan if size is None else size[0],
        "labels": ngff.read_labels(image.path),
        "checksum": image.checksum,
    }


def digest_of_channels(digests: Sequence[str]) -> str:
    """Return one digest for the digests of a field's channels, in their order."""
    return hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()


def _empty_chunks(image: FieldImage, pixels: NDArray[Any]) -> int:
    """Count the chunks, stored or not, of nothing but the fill value; 0 for a field that was projected."""
    fill, chunk = image.array.fill_value, image.array.chunks
    if pixels.size != image.array.size:
        return 0
    count = 0
    planes = [plane for plane in pixels if plane.min() == fill or plane.max() == fill]
    for plane in planes:
        for top in range(0, plane.shape[0], chunk[-2]):
            for left in range(0, plane.shape[1], chunk[-1]):
                count += bool((plane[top : top + chunk[-2], left : left + chunk[-1]] == fill).all())
    channels = chunk[image.layout.axes.index("c")] if "c" in image.layout.axes else 1
    return count // channels


def settle_absence(found: Sequence[Inspection]) -> list[dict[str, Any]]:
    """Return the columns of a plate's fields, those with absent chunks judged by what the plate's writer does.

    An absent chunk reads as the fill value. Where the writer stores empty chunks too, it is ``missing``; where it may leave
    them out, the field is ``suspect``: black, or lost.
    """
    stores_all = any(inspection.stores_all for inspection in found)
    settled = []
    for inspection in found:
        columns = dict(inspection.columns)
        if inspection.absent:
            why = "the writer stores every chunk" if stores_all else "the writer may leave out empty ones"
            columns |= {"qc": "missing" if stores_all else "suspect", "reason": f"{inspection.absent}; {why}"}
        settled.append(columns)
    return settled


def key_columns(plate: str, well: ngff.WellLayout, field: str) -> dict[str, str]:
    """Return the columns that name a field in every table."""
    name = well_name(well.row, well.column)
    return {"plate": plate, "row": well.row, "column": well.column, "well": name, "field": field}
