"""A TIFF file that claims more than it can hold (pages, tags, strips, tiles, pictures) is refused before it is believed."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pcim.core.plate_source import Source
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors import read_export
from pcim.plates.vendors.decode import page_looks, read_page
from pcim.plates.vendors.safe_tiff import open_tiff

Tag = tuple[int, int, int, int]
PIXELS = (np.arange(40 * 52).reshape(40, 52) % 4099).astype(np.uint16)
PLAIN: list[Tag] = [
    (256, 4, 1, 4),
    (257, 4, 1, 4),
    (258, 3, 1, 8),
    (259, 3, 1, 1),
    (273, 4, 1, 8),
    (277, 3, 1, 1),
    (278, 4, 1, 4),
    (279, 4, 1, 16),
]
"""The tags of 4 x 4 px of 8 bits, which lie at 8."""


def tiff_of(pages: Sequence[Sequence[Tag]], last: int = 0, room: bytes = bytes(16)) -> bytes:
    """Return a file of these pages: the pixels at 8, then page after page; the last one says where the next is."""
    starts = [8 + len(room)]
    for tags in pages:
        starts.append(starts[-1] + 6 + 12 * len(tags))
    content = b"II" + struct.pack("<HI", 42, starts[0]) + room
    for tags, following in zip(pages, [*starts[1:-1], last], strict=True):
        content += struct.pack("<H", len(tags))
        content += b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", following)
    return content


def having(*tags: Tag) -> list[Tag]:
    """Return the plain tags, these in the place of their like."""
    return sorted({tag[0]: tag for tag in (*PLAIN, *tags)}.values())


def refused(file: Path, content: bytes, page: int = 0) -> str:
    """Return why a file is refused: soon, and in little memory."""
    file.write_bytes(content)
    begun, words = time.process_time(), ""
    tracemalloc.start()
    try:
        for read in (page_looks, read_page):
            with pytest.raises(NgffError) as told:
                read(file, page)
            words = str(told.value)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 5
    return words


def test_the_file_that_the_others_are_made_from_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    file.write_bytes(tiff_of([PLAIN, PLAIN], room=bytes(range(16))))
    assert page_looks(file, 1) == ((4, 4), "uint8")
    assert read_page(file, 0).tolist() == np.arange(16).reshape(4, 4).tolist()


@pytest.mark.parametrize("page", [0, 1, 7, 160, 5000, 1_999_999])
def test_pages_in_a_circle_end(tmp_path: Path, page: int) -> None:
    at = 24 + 120 * (6 + 12 * len(PLAIN))
    content = tiff_of([PLAIN] * 150, last=at)
    if page < 150:
        (tmp_path / "a.tif").write_bytes(content)
        assert read_page(tmp_path / "a.tif", page).shape == (4, 4)
    else:
        assert f"page 150 lies at {at}, in a circle" in refused(tmp_path / "a.tif", content, page)


OVERLAPPING = tiff_of([[(700 + n, 4, 1000, 8) for n in range(4000)]])
BOMBS: dict[str, tuple[bytes, int, str]] = {
    "no such page": (tiff_of([PLAIN] * 2), 2, "page 2 of a file with 2"),
    "page beyond numbers": (tiff_of([PLAIN]), 10**12, "up to 2,000,000 are read"),
    "page beyond the end": (tiff_of([PLAIN], last=10**9), 1, "page 1 lies at 1000000000, beyond the end"),
    "no tags": (tiff_of([[]]), 0, "page 0 has 0 tags"),
    "tags over one another": (OVERLAPPING, 0, "tags of 16,000,000 bytes; the file has 48,030"),
    "a tag of many values": (tiff_of([having((700, 4, 2**20 + 1, 8))], room=bytes(2**23)), 0, "a tag of 1,048,577 values"),
    "planes times planes": (tiff_of([having((33628, 4, 4000, 8), (33629, 5, 4000, 8))], room=bytes(10**5)), 0, "a tag of 16,000,000 "
                                                                                                               "values"),
    "many tiles": (
        tiff_of([having((256, 4, 1, 46000), (257, 4, 1, 46000), (322, 4, 1, 1), (323, 4, 1, 1), (324, 4, 1, 8), (325, 4, 1, 1))]), 0,
        "1 places and 1 lengths for 2116000000 strips or tiles",
    ),
    "a large tile": (
        tiff_of([having((322, 4, 1, 60000), (323, 4, 1, 60000), (324, 4, 1, 8), (325, 4, 1, 16))]), 0, "tiles of 3,600,000,000 bytes for "
                                                                                                       "an image of 16",
    ),
    "strips over one another": (tiff_of([having((279, 4, 1, 10**6))]), 0, "strips or tiles of 1,000,000 bytes in a file of 126"),
    "pixels that are not "
    "there": (tiff_of([having((256, 4, 1, 46000), (257, 4, 1, 46000), (278, 4, 1, 46000))]), 0, "strips or tiles of 2,116,000,000 bytes"),
    "another compression": (tiff_of([having((259, 3, 1, 50002))]), 0, "(50002); read are none, LZW, JPEG, deflate, PackBits, JPEG 2000, "
                                                                      "Zstandard"),
    "no number": (tiff_of([having((258, 3, 1, 7), (339, 3, 1, 6))]), 0, "numbers of 7 bits, sample format"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), 0, "it begins with b'\\x89PNG'"),
    "cut off": (tiff_of([PLAIN])[:50], 0, "page 0 is cut off"),
    "nothing": (b"", 0, "not readable as TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_what_no_file_can_hold_is_refused_soon_in_little_memory(tmp_path: Path, name: str) -> None:
    content, page, words = BOMBS[name]
    told = refused(tmp_path / "a.tif", content, page)
    assert words in told
    assert str(tmp_path / "a.tif") in told


@pytest.mark.parametrize(
    ("compression", "mark", "place", "packed"),
    [("jpeg2000", b"\xff\x4f\xff\x51", 8, struct.pack(">II", 60000, 60000)), ("jpeg2000", b"\xff\x4f\xff\x51", 40, struct.pack(">H", 3)),
     ("jpeg2000", b"\xff\x4f\xff\x51", 0, b"\0\0\0\x0cjP  "), ("jpeg", b"\xff\xc0", 5, struct.pack(">HH", 65000, 65000)), ("jpeg",
     b"\xff\xc0", 9, b"\x03"),
     ("jpeg", b"\xff\xc0", 0, b"\xff\xc8")],
)  # fmt: skip
def test_a_strip_that_says_it_is_larger_than_its_page_is_not_decoded(
    tmp_path: Path, compression: str, mark: bytes, place: int, packed: bytes
) -> None:
    file = tmp_path / "a.tif"
    kind = np.uint8 if compression == "jpeg" else np.uint16
    tifffile.imwrite(file, PIXELS.astype(kind), photometric="minisblack", compression=compression)
    content = bytearray(file.read_bytes())
    at = content.index(mark) + place
    content[at : at + len(packed)] = packed
    assert "a strip or tile of (40, 52) px whose own header says" in refused(file, bytes(content))


FORMS: list[dict[str, Any]] = [
    {"compression": name} for name in (None, "lzw", "zlib", "packbits", "zstd", "jpeg2000")
] + [
    {"compression": "lzw", "predictor": True, "rowsperstrip": 7}, {"compression": "zlib", "tile": (16, 32)}, {"tile": (64, 64)},
    {"bigtiff": True},
    {"byteorder": ">"}, {"compression": "jpeg2000", "tile": (16, 32)},
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_compression_that_is_named_is_read(tmp_path: Path, form: dict[str, Any]) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.stack([PIXELS, PIXELS + 1]), photometric="minisblack", **form)
    assert page_looks(file, 1) == ((40, 52), "uint16")
    np.testing.assert_array_equal(read_page(file, 1), PIXELS + 1)


@pytest.mark.parametrize(
    ("form", "axes"),
    [({}, "tczyx"), ({"imagej": True, "metadata": {"axes": "TZCYX"}}, "tzcyx"), ({"ome": True, "metadata": {"axes": "TCZYX"}}, "tczyx"),
     ({"ome": True, "metadata": {"axes": "CTZYX"}}, "ctzyx"), ({"metadata": {"axes": "ZTCYX"}}, "ztcyx")],
)  # fmt: skip
def test_the_order_of_a_files_axes_is_what_it_says(tmp_path: Path, form: dict[str, Any], axes: str) -> None:
    stack = np.stack([np.full((8, 9), number, np.uint16) for number in range(24)]).reshape(2, 3, 4, 8, 9)
    lengths = dict(zip((form.get("metadata") or {}).get("axes", "TCZYX").lower(), stack.shape, strict=True))
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **form)
    told = ",".join(f"0,{lengths[axis]}" for axis in "ctz")
    names = ",".join(f"start_{axis},length_{axis}" for axis in "ctz")
    (tmp_path / "tiles.csv").write_text(f"file_path,row,column,{names}\na.tif,A,1,{told}\n")
    export = read_export.__wrapped__(Source(str(tmp_path), format="tiles"))
    for plane in export.fields["A", "1", "0"]:
        place = {"t": plane.t, "c": plane.channel, "z": plane.z}
        number = 0
        for axis in axes[:3]:
            number = number * lengths[axis] + place[axis]
        assert plane.page == number
        assert (read_page(tmp_path / "a.tif", plane.page) == number).all()


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(NgffError, match="not a regular file"), open_tiff(tmp_path / "a.tif"):
        pass
