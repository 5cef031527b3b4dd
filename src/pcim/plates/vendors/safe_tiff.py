"""TIFF files: what their headers claim is held to what a file of that size can hold, before tifffile believes it.

tifffile reads as many tags, pages and tiles as a file claims, and a file of kilobytes may claim any number.
"""

from __future__ import annotations

import contextlib
import math
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

from pcim.core.safe_read import check_file
from pcim.plates.ngff_json import NgffError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPRESSIONS = {
    1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate", 33003: "JPEG 2000", 33005: "JPEG 2000",
    34712: "JPEG 2000", 50000: "Zstandard",
}  # fmt: skip
"""Compressions that are read: each is bounded by the strip's size, JPEG and JPEG 2000 by their own headers."""

MAX_PAGES = 2_000_000
MAX_TAG_BYTES = 2**27
"""The tags of a page may have so many bytes, OME-XML among them."""

_MAX_FILE_BYTES = 2**63
_MAX_TAGS = 4096  # tifffile's own
_MAX_VALUES = 2**20  # numbers of a tag: the strips or tiles of a page
_LEAST_CHUNK = 2**26
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TEXTS = {1, 2, 6, 7}
_UIC = (33628, 33629)  # MetaMorph's: tifffile's time is their product


@contextlib.contextmanager
def open_tiff(file: Path, page: int = 0) -> Iterator[tuple[Any, Any]]:
    """Open a TIFF file and yield it with one of its pages, as tifffile's TiffFile and TiffPage.

    Raises
    ------
    NgffError
        When it claims pages or tags that it cannot hold, or has no such page; tifffile raises what it likes on other faults.
    """
    from tifffile import TiffFile

    try:
        check_file(file, _MAX_FILE_BYTES)
        with file.open("rb") as stream:
            _check_header(stream, file.stat().st_size, page)
    except (ValueError, struct.error) as error:
        raise NgffError(f"{file}: not readable as TIFF: {error}") from error
    # these kinds of file make it read, when it opens one, whatever pages they claim
    with TiffFile(file, is_lsm=False, is_scanimage=False, is_ndpi=False) as opened:
        yield opened, opened.pages[page]


def _check_header(stream: BinaryIO, size: int, page: int) -> None:
    """Refuse pages in a circle, and a first or wanted page whose tags cannot be."""
    head = stream.read(8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    version = struct.unpack(f"{order}H", head[2:4])[0] if order else 0
    if version not in {42, 43}:
        raise ValueError(f"it begins with {head[:4]!r}")
    is_big = version == 43  # noqa: PLR2004 - BigTIFF
    counts, tags, offsets = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
    if not 0 <= page < MAX_PAGES:
        raise ValueError(f"page {page}; up to {MAX_PAGES:,} are read")
    next_one = stream.read(8) if is_big else head[4:]
    seen: set[int] = set()
    for number in range(page + 1):
        (offset,) = struct.unpack(order + offsets, next_one)
        if not offset:
            raise ValueError(f"page {page} of a file with {number}")
        if offset in seen or offset >= size:
            raise ValueError(f"page {number} lies at {offset}, {'in a circle' if offset in seen else 'beyond the end'}")
        seen.add(offset)
        stream.seek(offset)
        (count,) = struct.unpack(order + counts, stream.read(struct.calcsize(order + counts)))
        if not 0 < count <= _MAX_TAGS:
            raise ValueError(f"page {number} has {count} tags")
        table = stream.read(length := count * struct.calcsize(order + tags))
        if len(table) < length:
            raise ValueError(f"page {number} is cut off")
        if number in {0, page}:
            _check_tags(list(struct.iter_unpack(order + tags, table)), size)
        next_one = stream.read(len(next_one))


def _check_tags(tags: list[tuple[int, int, int, bytes]], size: int) -> None:
    total = sum(_SIZES.get(kind, 1) * count for _, kind, count, _ in tags)
    if total > min(size, MAX_TAG_BYTES):
        raise ValueError(f"tags of {total:,} bytes; the file has {size:,}, and {MAX_TAG_BYTES:,} are read")
    most = max((count for _, kind, count, _ in tags if kind not in _TEXTS), default=0)
    planes = math.prod(max((count for code, _, count, _ in tags if code == uic), default=0) for uic in _UIC)
    if max(most, planes) > _MAX_VALUES:
        raise ValueError(f"a tag of {max(most, planes):,} values; at most {_MAX_VALUES:,} are read")


def check_pixels(page: Any, file: Path) -> None:
    """Refuse a page whose pixels are compressed as none should be, or whose strips or tiles are not what the image and the file have.

    Raises
    ------
    NgffError
        With what it claims.
    """
    if int(page.compression) not in COMPRESSIONS:
        known = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise NgffError(f"{file}: compression {page.compression!s} ({int(page.compression)}); read are {known}")
    chunks, size = math.prod(page.chunked), page.parent.filehandle.size
    is_raw = int(page.compression) == 1
    if chunks > min(len(page.dataoffsets), len(page.databytecounts)) and not (is_raw and page.is_contiguous):
        told = f"{len(page.dataoffsets)} places and {len(page.databytecounts)} lengths"
        raise NgffError(f"{file}: {told} for {chunks} strips or tiles")
    total = max(sum(page.databytecounts), math.prod(page.shape) * page.bitspersample // 8 if is_raw else 0)
    if total > size:
        raise NgffError(f"{file}: strips or tiles of {total:,} bytes in a file of {size:,}")
    chunk = math.prod(page.chunks) * page.dtype.itemsize
    if chunk > max(page.nbytes, _LEAST_CHUNK):
        raise NgffError(f"{file}: tiles of {chunk:,} bytes for an image of {page.nbytes:,}")
    if COMPRESSIONS[int(page.compression)].startswith("JPEG"):
        _check_pictures(page, file)


def _check_pictures(page: Any, file: Path) -> None:
    """Refuse a strip or tile that says by itself that it is larger than the page says: its decoder believes it."""
    stream, height_and_width = page.parent.filehandle, page.chunks[:2]
    claimed = _jpeg_claims if int(page.compression) == 7 else _jpeg_2000_claims  # noqa: PLR2004
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        stream.seek(offset)
        found = claimed(stream.read(length))
        if found is None or found[0] > height_and_width[0] or found[1] > height_and_width[1] or found[2] != 1:
            told = "no such header" if found is None else f"{found[0]} x {found[1]} px of {found[2]} components"
            raise NgffError(f"{file}: a strip or tile of {height_and_width} px whose own header says: {told}")


def _jpeg_2000_claims(data: bytes) -> tuple[int, int, int] | None:
    """Return height, width and components that a codestream of JPEG 2000 says it has (ISO 15444-1, A.5.1)."""
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 42:  # noqa: PLR2004 - start, and the marker of the size first
        return None
    width, height, x, y = struct.unpack(">IIII", data[8:24])
    return height - y, width - x, int.from_bytes(data[40:42], "big")


def _jpeg_claims(data: bytes) -> tuple[int, int, int] | None:
    """Return height, width and components that the one frame of a JPEG says it has (ISO 10918-1, B.2.2)."""
    place, frames = 2, []
    while place + 9 < len(data) and data[place] == 0xFF:  # noqa: PLR2004 - each marker begins so
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA:  # noqa: PLR2004 - the scan: pixels follow
            break
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004 - a frame, unlike tables
            frames.append((*struct.unpack(">HH", data[place + 5 : place + 9]), data[place + 9]))
        place += 2 + length
    return frames[0] if len(frames) == 1 and data[:2] == b"\xff\xd8" else None
