"""Vendor exports: what a folder of TIFF files holds, read from the vendor's own index, before any image is decoded.

Each reader turns one vendor's index into one `Export`. `pcim.stages.convert` then writes every export as OME-Zarr in the same way.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from pcim.plates.ngff_json import NgffError

if TYPE_CHECKING:
    from pcim.core.plate_source import Source
    from pcim.plates.vendors.export import Export

OMEZARR = "omezarr"
READERS = ("imagexpress", "operetta", "cellvoyager", "tiles", "ometiff")
"""Modules of this package, each with a function ``read(source) -> Export``."""

FORMATS = (OMEZARR, *READERS)

MARKS = {
    "operetta": ("Images/Index.idx.xml", "Index.idx.xml"),
    "cellvoyager": ("MeasurementData.mlf",),
    "tiles": ("tiles.csv",),
    "imagexpress": ("*.HTD", "*.htd", "TimePoint_*"),
    "ometiff": ("*.companion.ome", "*.ome.tif", "*.ome.tiff"),
}
"""Format -> what lies in the folder of such an export, as patterns; the first format that fits is it."""


@lru_cache(maxsize=64)
def read_export(source: Source) -> Export:
    """Read the index of a vendor's export.

    Raises
    ------
    NgffError
        When the index is not there, cannot be read, claims what no plate has, or names files outside the export.
    """
    if source.format not in READERS:
        raise NgffError(f"{source.address}: format {source.format!r}; expected one of {', '.join(FORMATS)}")
    try:
        export: Export = import_module(f"pcim.plates.vendors.{source.format}").read(source)
        return export.check()
    except NgffError:
        raise
    except Exception as error:  # an index is anybody's: numbers that are none, elements that are missing, paths with a NUL
        raise NgffError(f"{source.address}: not a valid {source.format} export: {error!r:.300}") from error
