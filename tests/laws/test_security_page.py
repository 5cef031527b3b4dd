"""What SECURITY.md says is shown by tests that are there, and its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pcim import bounded, guard, ngff, ngff_json, written
from pcim.exports import export

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py|/))`", PAGE))))
def test_every_test_that_it_names_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_its_numbers_are_the_codes() -> None:
    said = {
        "16 MB and 32 deep": (ngff_json.MAX_JSON_BYTES, ngff_json.MAX_DEPTH) == (16_000_000, 32),
        "chunks of over 2 GiB, over a million chunks, and fields of over 8 GiB": (guard.MAX_CHUNK_BYTES, guard.MAX_CHUNKS, ngff.MAX_READ_BYTES)
        == (2**31, 2**20, 2**33),
        "up to two million planes": export.MAX_PLANES == 2_000_000,
        "Up to 64 MB and 1 MB": (bounded.MAX_TEXT_BYTES, written.MAX_BYTES) == (64_000_000, 1_000_000),
    }  # fmt: skip
    plain = " ".join(PAGE.split())
    for words, holds in said.items():
        assert words in plain
        assert holds, words


def test_make_fuzz_tries_what_it_says() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--runs 91000" in make
    assert "91 000 broken files" in PAGE.replace("\n", " ")
