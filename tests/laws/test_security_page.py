"""What SECURITY.md says is shown by tests that are there, and its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fuzz.targets import TARGETS

from pcim.classifiers.packaging import bioimage_zoo
from pcim.config import yaml_lines
from pcim.core import safe_read
from pcim.plates import ngff, ngff_json, safe_zarr
from pcim.plates.vendors import decode, export, ometiff, safe_tiff
from pcim.views import objects

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py|/))`", PAGE))))
def test_every_test_that_it_names_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_its_numbers_are_the_codes() -> None:
    said = {
        "16 MB and 32 deep": (ngff_json.MAX_JSON_BYTES, ngff_json.MAX_DEPTH) == (16_000_000, 32),
        "chunks of over 2 GiB, over a million chunks, and fields of over 8 "
        "GiB": (safe_zarr.MAX_CHUNK_BYTES, safe_zarr.MAX_CHUNKS, ngff.MAX_READ_BYTES)
        == (2**31, 2**20, 2**33),
        "up to two million planes": export.MAX_PLANES == safe_tiff.MAX_PAGES == 2_000_000,
        "tags up to 1 MB, elements up to 4 MB and 64 "
        "deep": (export.MAX_TAG_BYTES, export.MAX_ELEMENT_BYTES, export.MAX_DEPTH) == (1_000_000, 4_000_000, 64),
        "up to 64 MB and four million tags": (export.MAX_INDEX_BYTES, ometiff.MAX_TAGS) == (64_000_000, 4_000_000),
        "No plane of over 2 GiB": decode.MAX_PAGE_BYTES == 2**31,
        "Read are LZW, deflate, PackBits and "
        "Zstandard": set(safe_tiff.COMPRESSIONS.values()) == {"none", "LZW", "deflate", "PackBits", "Zstandard", "JPEG", "JPEG 2000"},
        "Up to 64 MB, a million rows, 10 000 columns, and a million characters a row": (
            safe_read.MAX_TEXT_BYTES, safe_read.MAX_ROWS, safe_read.MAX_COLUMNS, safe_read.MAX_ROW_CHARACTERS) == (64_000_000, 10**6,
            10_000, 10**6),
        "up to 4 GiB, and five million objects of a plate": (objects.MAX_TABLE_BYTES, objects.MAX_OBJECTS) == (2**32, 5_000_000),
        "Up to 1 MB, 100 000 values once aliases are followed, 32 "
        "deep": (yaml_lines.MAX_BYTES, yaml_lines.MAX_NODES, yaml_lines.MAX_DEPTH) == (1_000_000, 100_000, 32),
        "Regular files of up to 8 GiB": safe_read.MAX_WEIGHTS_BYTES == 2**33,
        "no more than 100 times its archive and 64 MB": (bioimage_zoo.PACKED, safe_read.MAX_TEXT_BYTES) == (100, 64_000_000),
    }  # fmt: skip
    plain = " ".join(PAGE.split())
    for words, holds in said.items():
        assert words in plain
        assert holds, words


def test_make_fuzz_tries_what_it_says() -> None:
    names = re.search(r"for name in ([\w ]+); do \\\n\t\tPYTHONPATH=src .*fuzz/run", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert names is not None
    assert sorted(names[1].split()) == sorted(TARGETS)
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--runs 91000" in make
    assert "91 000 broken files" in PAGE.replace("\n", " ")
