"""What is wrong with stored bytes is found where it can be, and said where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from planted_campaign import CHANNELS, spot_field, write_plate
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from pcim.config.stages import IngestSettings
from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.plates.inspect_field import inspect_field, settle_absence
from pcim.plates.ngff_writer import FieldContent, Pyramid, mean_of_four, omero, write_field

GOOD = spot_field(np.random.default_rng(3), (64, 64), (30, 30))
SETTINGS = IngestSettings(empty_contrast=0)
FIELD = "A/1/0"


def rewritten(plate: Path, pixels: np.ndarray, **how: Any) -> Path:
    """Write the plate's only array anew, with other chunks or codecs."""
    array = zarr.create_array(plate / FIELD / "0", shape=pixels.shape, dtype=pixels.dtype, overwrite=True, **how)
    array[...] = pixels
    return next(file for file in sorted((plate / FIELD / "0").rglob("*")) if file.is_file() and file.name != "zarr.json")


def flip(file: Path, byte: int) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= 0x10
    file.write_bytes(content)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    return write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD})


@pytest.mark.parametrize(
    ("codecs", "name"),
    [([ZstdCodec(), Crc32cCodec()], "crc32c"), ([ZstdCodec(checksum=True)], "xxh64"), ([Crc32cCodec()], "crc32c")],
)
@pytest.mark.parametrize("byte", [9, -9])
def test_a_flipped_bit_is_found_where_the_chunks_carry_a_checksum(plate: Path, codecs: list[Any], name: str, byte: int) -> None:
    chunk = rewritten(plate, GOOD, chunks=(1, 64, 64), compressors=codecs)
    source = Source(str(plate))
    assert inspect_field(source, FIELD, SETTINGS).columns["qc"] == "ok"
    flip(chunk, byte)
    found = inspect_field(source, FIELD, SETTINGS).columns
    assert (found["qc"], found["checksum"]) == ("truncated", name)
    assert "cannot be decoded" in found["reason"]


def test_without_a_checksum_that_is_said(plate: Path) -> None:
    chunk = rewritten(plate, GOOD, chunks=(1, 64, 64), compressors=None)
    before = inspect_field(Source(str(plate)), FIELD, SETTINGS).columns
    flip(chunk, 9)
    after = inspect_field(Source(str(plate)), FIELD, SETTINGS).columns
    assert before["checksum"] == after["checksum"] == ""
    assert after["qc"] == "ok"
    assert before["digests"][0] != after["digests"][0]  # and so a later reading notices it
    assert before["digests"][1] == after["digests"][1]


def test_our_own_stores_carry_a_checksum_and_every_chunk(tmp_path: Path) -> None:
    black = np.zeros((2, 64, 64), np.uint16)
    shown = {"omero": omero(CHANNELS, lambda _: "FFFFFF", (0, 1))}
    write_field(tmp_path / "own.zarr", FIELD, FieldContent(Pyramid("x", black, ngff.Space(), 2, shown)))
    field = FieldImage.open(Source(str(tmp_path / "own.zarr")), FIELD)
    assert field.checksum == "crc32c"
    assert field.absent_chunks() == ([], 2)
    shard = field.path / "0/c/0/0/0"
    whole = shard.read_bytes()
    for byte in range(0, len(whole), 3):  # wherever it is hit: data, checksum or index
        flip(shard, byte)
        with pytest.raises(ngff.NgffError, match="cannot be decoded"):
            field.read()
        shard.write_bytes(whole)
    for length in range(1, len(whole), 5):
        shard.write_bytes(whole[:length])
        with pytest.raises(ngff.NgffError, match="cannot be decoded"):
            field.read()
    shard.write_bytes(b"")
    assert field.torn_chunks() == ["c/0/0/0"]
    shard.unlink()
    (settled,) = settle_absence([inspect_field(Source(str(tmp_path / "own.zarr")), FIELD, SETTINGS)])
    assert settled["qc"] == "missing"
    assert settled["reason"] == "2 of 2 chunks are not stored, c/0/0/0 the first; the writer stores every chunk".replace("2 of 2", "1 of 2")


@pytest.mark.parametrize("shards", [None, (2, 64, 64)])
def test_an_absent_chunk_is_suspect_where_the_writer_may_leave_out_empty_ones(plate: Path, shards: Any) -> None:
    pixels = GOOD.copy()
    pixels[1, 32:, 32:] = 0
    rewritten(plate, pixels, chunks=(1, 32, 32), shards=shards, config={"write_empty_chunks": False})
    source = Source(str(plate))
    expected = "c/0/0/0#7" if shards else "c/1/1/1"
    assert FieldImage.open(source, FIELD).absent_chunks() == ([expected], 8)
    (settled,) = settle_absence([inspect_field(source, FIELD, SETTINGS)])
    assert settled["qc"] == "suspect"
    assert settled["reason"] == f"1 of 8 chunks are not stored, {expected} the first; the writer may leave out empty ones"
    assert settled["digest"] != ""  # it may be accepted


def test_a_torn_blosc_chunk_and_an_empty_file_are_truncated(plate: Path) -> None:
    for codecs in ([BloscCodec()], [ZstdCodec()]):
        chunk = rewritten(plate, GOOD, chunks=(1, 64, 64), compressors=codecs)
        chunk.write_bytes(b"")
        found = inspect_field(Source(str(plate)), FIELD, SETTINGS).columns
        assert found["qc"] == "truncated"
        assert "is not as long as its header says" in found["reason"]


def test_a_plate_of_another_type_or_axes_is_a_row_with_a_reason(plate: Path) -> None:
    rewritten(plate, GOOD[0], chunks=(64, 64))
    found = inspect_field(Source(str(plate)), FIELD, SETTINGS).columns
    assert (found["qc"], "axes ('c', 'y', 'x') for an array of shape (64, 64)" in found["reason"]) == ("missing", True)
    rewritten(plate, GOOD.astype(bool), chunks=(1, 64, 64))
    assert "pixels are bool" in inspect_field(Source(str(plate)), FIELD, SETTINGS).columns["reason"]


def test_whole_numbers_are_halved_by_rounded_means() -> None:
    pixels = np.array([[0, 1, 7], [2, 4, 9], [5, 5, 65535]], np.uint16)
    assert mean_of_four(pixels).tolist() == [[2, 8], [5, 65535]]
    assert mean_of_four(pixels[:2, :2]).tolist() == [[2]]
    assert mean_of_four(np.full((4, 4), 255, np.uint8)).tolist() == [[255, 255], [255, 255]]
