"""Read the pixels of an export, one channel of a field at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.plates import ngff
from pcim.plates.vendors.decode import read_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pcim.plates.vendors.export import Export, Plane


def read_channel(export: Export, planes: Sequence[Plane]) -> NDArray[Any]:
    """Decode the planes of one channel and project them as the table of plates says."""
    pages = [_read_plane(export, plane) for plane in planes]
    if len(pages) == 1:
        return pages[0]
    if export.source.z == "max":
        return np.asarray(np.max(pages, axis=0))
    mean = np.mean(pages, axis=0, dtype=np.float64)
    return (np.rint(mean) if pages[0].dtype.kind in "iu" else mean).astype(pages[0].dtype)


def _read_plane(export: Export, plane: Plane) -> NDArray[Any]:
    file = export.root / plane.file
    try:
        pixels = read_page(file, plane.page)
    except Exception as error:
        size = file.stat().st_size if file.is_file() else None
        what = "no such file" if size is None else "an empty file" if size == 0 else f"cannot be decoded: {error}"
        raise ngff.NgffError(f"{plane.file}: {what}") from error
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if (native.shape, native.dtype.name) != (export.shape, export.dtype):
        raise ngff.NgffError(
            f"{plane.file}: {native.dtype.name} of {native.shape}; the plate's images are {export.dtype} of {export.shape}"
        )
    return native
