"""Arrays that others wrote: no codec runs code, nothing stored grows beyond what metadata says, no link leads out."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import google_crc32c
import imagecodecs
import numcodecs
import numpy as np
import pytest
import zarr
from planted_campaign import spot_field, write_plate
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.plates.inventory import survey_plate
from pcim.plates.safe_zarr import MAX_CHUNK_BYTES, MAX_STREAMS, decode

GOOD = spot_field(np.random.default_rng(3), (40, 52), (20, 30))
FIELD = "A/1/0"
BOMB = bytes(200_000_000)


def written(plate: Path, form: int, **how: Any) -> Path:
    """Write a plate whose only array is of zarr's format `form`; return its folder."""
    write_plate(plate, {("A", "1", "0"): GOOD}, version="0.4" if form == 2 else "0.5")
    array = zarr.create_array(
        plate / FIELD / "0",
        shape=GOOD.shape,
        dtype=GOOD.dtype,
        chunks=GOOD.shape,
        zarr_format=form,
        overwrite=True,
        **how,
    )
    array[...] = GOOD
    return plate / FIELD / "0"


def changed(array: Path, **changes: Any) -> None:
    """Change what the metadata of an array says."""
    file = array / ("zarr.json" if (array / "zarr.json").is_file() else ".zarray")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def read(plate: Path) -> np.ndarray:
    return FieldImage.open(Source(str(plate)), FIELD).read()


@pytest.mark.parametrize("where", ["compressor", "filters"])
def test_a_codec_that_runs_code_is_refused_before_any_byte_is_given_to_it(tmp_path: Path, where: str) -> None:
    array = written(tmp_path / "p.zarr", 2, compressors=None)
    hostile = numcodecs.get_codec({"id": "pickle"})  # what it would decode would touch this file
    (array / "0.0.0").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    changed(array, **{where: hostile.get_config() if where == "compressor" else [hostile.get_config()]})
    with pytest.raises(ngff.NgffError, match=r"codecs \['pickle'\]; read are \['adler32', 'blosc'"):
        read(tmp_path / "p.zarr")
    assert not (tmp_path / "ran").exists()


def test_arrays_that_pcim_does_not_open_are_decoded_by_zarrs_own_codecs(tmp_path: Path) -> None:
    """A notebook that imports PCIM reads its other arrays as before; those of a plate are bounded, inside shards too."""
    written(tmp_path / "p.zarr", 3, shards=GOOD.shape)
    array = FieldImage.open(Source(str(tmp_path / "p.zarr")), FIELD).array
    codecs = [type(codec).__name__ for codec in array.metadata.codecs]
    assert codecs == ["ShardingCodec"]
    assert [type(codec).__name__ for codec in array.metadata.codecs[0].codecs][-1].startswith("Bounded")
    own = zarr.create_array(tmp_path / "own.zarr", shape=(4,), dtype="u1", compressors=ZstdCodec())
    assert type(zarr.open_array(tmp_path / "own.zarr").metadata.codecs[-1]) is type(own.metadata.codecs[-1]) is ZstdCodec


@pytest.mark.parametrize("name", ["json2", "msgpack2", "vlen-array", "categorize", "bz2", "numcodecs.zstd", "numcodecs.pcodec", "my.own"])
def test_other_codecs_are_refused_by_name_inside_shards_too(tmp_path: Path, name: str) -> None:
    if not name.startswith("numcodecs"):
        changed(written(tmp_path / "p2.zarr", 2), compressor={"id": name})
        with pytest.raises(ngff.NgffError, match="read are"):
            read(tmp_path / "p2.zarr")
    array = written(tmp_path / "p3.zarr", 3, shards=GOOD.shape)
    document = json.loads((array / "zarr.json").read_text())
    document["codecs"][0]["configuration"]["codecs"].append({"name": name, "configuration": {}})
    changed(array, codecs=document["codecs"])
    with pytest.raises(ngff.NgffError, match="read are"):
        read(tmp_path / "p3.zarr")


def frame_without_size(data: bytes) -> bytes:
    """Return a frame of Zstandard that does not say how large it becomes: raw blocks, RFC 8878."""
    blocks = [data[start : start + 2**16] for start in range(0, len(data), 2**16)]
    heads = [(len(block) << 3 | (number == len(blocks) - 1)).to_bytes(3, "little") for number, block in enumerate(blocks)]
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(head + block for head, block in zip(heads, blocks, strict=True))


def repeated_without_size(times: int) -> bytes:
    """Return a frame that says nothing of its size and becomes `times` x 128 kB: four bytes a block."""
    block = lambda last: (2**17 << 3 | 0b010 | last).to_bytes(3, "little") + b"\0"  # noqa: E731
    return b"\x28\xb5\x2f\xfd\x00\x58" + block(0) * (times - 1) + block(1)


BOMBS = {
    "blosc": lambda: numcodecs.Blosc("zstd").encode(BOMB),
    "zstd": lambda: numcodecs.Zstd().encode(BOMB),
    "zstd, size not said": lambda: repeated_without_size(1600),
    "gzip": lambda: gzip.compress(BOMB),
    "gzip, in parts": lambda: gzip.compress(bytes(4096)) * 50_000,
    "zlib": lambda: zlib.compress(BOMB),
    "lz4": lambda: numcodecs.LZ4().encode(BOMB),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_of_a_chunk_is_an_error_and_takes_no_memory(tmp_path: Path, kind: str) -> None:
    name = kind.partition(",")[0]
    plates = {2: written(tmp_path / "p2.zarr", 2, compressors=numcodecs.get_codec({"id": name}))}
    if made := {"blosc": BloscCodec(), "zstd": ZstdCodec(), "gzip": GzipCodec()}.get(name):
        plates[3] = written(tmp_path / "p3.zarr", 3, compressors=made)
    bomb = BOMBS[kind]()
    assert len(bomb) < 3_000_000
    for form, array in plates.items():
        np.testing.assert_array_equal(read(tmp_path / f"p{form}.zarr"), GOOD)
        chunk = array / ("c/0/0/0" if form == 3 else "0.0.0")
        chunk.write_bytes(bomb[:70_000] if kind == "gzip, in parts" else bomb)
        tracemalloc.start()
        with pytest.raises(ngff.NgffError, match="cannot be decoded"):
            read(tmp_path / f"p{form}.zarr")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()


def test_streams_one_after_another_are_read_and_no_end_of_them_is_not() -> None:
    """Every stream copies what is left, so millions of empty ones would take hours."""
    one = gzip.compress(b"ab")
    assert decode("gzip", one * MAX_STREAMS, 2 * MAX_STREAMS, gzip.decompress) == b"ab" * MAX_STREAMS
    with pytest.raises(ValueError, match=f"over {MAX_STREAMS} streams"):
        decode("gzip", gzip.compress(b"") * (MAX_STREAMS + 1), 10, gzip.decompress)


def test_every_frame_of_zstandard_is_read(tmp_path: Path) -> None:
    for size in (0, 1, 255, 256, 65_791, 65_792, 70_000, 200_000):
        data = np.random.default_rng(size).bytes(size)
        for frame in (
            numcodecs.Zstd().encode(data),
            numcodecs.Zstd(checksum=True).encode(data),
            imagecodecs.zstd_encode(data),
        ):
            if size:
                assert bytes(decode("zstd", frame, size, numcodecs.Zstd().decode)) == data
                with pytest.raises(ValueError, match="a compressed chunk of"):
                    decode("zstd", frame, size - 1, numcodecs.Zstd().decode)
        if size:
            assert bytes(decode("zstd", frame_without_size(data), size, numcodecs.Zstd().decode)) == data


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize(
    ("shape", "chunks", "words"),
    [
        ([2, 10**12, 10**12], [1, 40, 52], "chunks of"),
        ([2, 900_000, 900_000], [1, 900_000, 900_000], f"at most {MAX_CHUNK_BYTES} are read"),
        ([2, 40, 10**6], [1, 1, 1], "chunks of"),
        ([2, 400_000, 400_000], [1, 20_000, 20_000], "bytes are read at once"),
        ([10**6, 40, 52], [1000, 40, 52], "axis c is 1000000 long"),
        ([0, 40, 52], [1, 40, 52], "axis c is 0 long"),
    ],
)  # fmt: skip
def test_claims_that_no_memory_holds_are_refused_before_anything_is_allocated(
    tmp_path: Path, form: int, shape: list[int], chunks: list[int], words: str
) -> None:
    array = written(tmp_path / "p.zarr", form)
    grid = {"chunks": chunks} if form == 2 else {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}}
    changed(array, shape=shape, **grid)
    with pytest.raises(ngff.NgffError, match=words):
        read(tmp_path / "p.zarr")
    if "axis" in words or max(shape) > 10**6:
        with pytest.raises(ngff.NgffError, match="long; expected 1 to"):
            survey_plate(Source(str(tmp_path / "p.zarr")))


def test_a_stored_file_that_is_larger_than_the_array_can_need_is_not_read(tmp_path: Path) -> None:
    for shards in (None, GOOD.shape):
        array = written(tmp_path / "p.zarr", 3, shards=shards)
        with (array / "c/0/0/0").open("r+b") as handle:
            handle.truncate(10**12)  # sparse: no disk is used
        with pytest.raises(ngff.NgffError, match="1000000000000 bytes; the array needs at most"):
            read(tmp_path / "p.zarr")


def test_a_shard_that_names_one_stretch_for_every_chunk_gives_no_more_than_the_chunks(tmp_path: Path) -> None:
    array = written(tmp_path / "p.zarr", 3, shards=GOOD.shape, compressors=None)
    document = json.loads((array / "zarr.json").read_text())
    document["codecs"][0]["configuration"]["chunk_shape"] = [1, 40, 52]
    document["chunk_grid"]["configuration"]["chunk_shape"] = [2, 400, 520]
    changed(array, codecs=document["codecs"], chunk_grid=document["chunk_grid"], shape=[2, 400, 520])
    stretch = np.tile(np.array([0, 10**7], "<u8"), 2 * 10 * 10).tobytes()
    (array / "c/0/0/0").write_bytes(bytes(10**7) + stretch + google_crc32c.value(stretch).to_bytes(4, "little"))
    field = FieldImage.open(Source(str(tmp_path / "p.zarr")), FIELD)
    with pytest.raises(ValueError, match="a part of 10000000 bytes; the array needs at most"):
        field.array[0, :40, :52]  # a part, as a crop is read
    with pytest.raises(ngff.NgffError, match="cannot be decoded"):
        field.read()


@pytest.mark.parametrize("part", ["c", "c/0", "c/0/0/0"])
def test_a_link_out_of_the_plate_is_not_followed_wherever_it_is(tmp_path: Path, part: str) -> None:
    array = written(tmp_path / "p.zarr", 3)
    (array / part).rename(tmp_path / "secret")
    (array / part).symlink_to(tmp_path / "secret")
    with pytest.raises(ngff.NgffError, match="a link leads out of the plate"):
        read(tmp_path / "p.zarr")


def test_a_pipe_in_place_of_metadata_is_no_metadata(tmp_path: Path) -> None:
    array = written(tmp_path / "p.zarr", 3)
    for file in (array / "zarr.json", tmp_path / "p.zarr/zarr.json"):
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(ngff.NgffError):
            survey_plate(Source(str(tmp_path / "p.zarr")))
