"""The image files of exports: what one says that it holds, and its pixels, never more than a plane may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcim.plates.ngff import NgffError, check_shape
from pcim.plates.vendors.safe_tiff import check_pixels, open_tiff

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_PAGE_BYTES = 2**31


def page_looks(file: Path, page: int) -> tuple[tuple[int, int], str]:
    """Return shape and data type of one page of an image file, from its header."""
    if file.suffix.lower() == ".png":
        pixels = read_page(file, page)
        return (pixels.shape[0], pixels.shape[1]), pixels.dtype.name
    with open_tiff(file, page) as (_, found):
        return _looks_of(found, file)


def _looks_of(page: Any, file: Path) -> tuple[tuple[int, int], str]:
    """Return shape and data type that a page says it has, if a plane may have them: what is said is what decoding allocates."""
    shape = tuple(int(length) for length in page.shape)
    check_shape("yx", shape, str(file))
    if page.dtype is None:
        raise NgffError(f"{file}: numbers of {page.bitspersample} bits, sample format {page.sampleformat}; none that are read")
    if shape[0] * shape[1] * page.dtype.itemsize > MAX_PAGE_BYTES:
        raise NgffError(f"{file}: {page.dtype} of {shape}; at most {MAX_PAGE_BYTES} bytes a plane are read")
    check_pixels(page, file)
    return (shape[0], shape[1]), page.dtype.newbyteorder("=").name


def read_page(file: Path, page: int) -> NDArray[Any]:
    """Decode one page (y, x) of a TIFF or PNG file; raises what the decoder raises."""
    if file.suffix.lower() == ".png":
        import numpy as np
        from PIL import Image

        with Image.open(file, formats=["PNG"]) as opened:
            check_shape("yx", opened.size[::-1], str(file))
            return np.asarray(opened)
    with open_tiff(file, page) as (_, found):
        _looks_of(found, file)
        pixels: NDArray[Any] = found.asarray()
        return pixels
