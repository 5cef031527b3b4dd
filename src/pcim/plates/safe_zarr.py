"""What zarr is given of an array that others wrote: codecs that are known, sizes that fit, files inside the plate.

zarr and numcodecs believe what they read: a codec ``pickle`` runs code, a chunk of kilobytes may become terabytes. Here metadata
says how large things may be, and nothing that is stored may be larger.
"""

from __future__ import annotations

import contextlib
import math
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numcodecs.abc  # type: ignore[import-untyped]
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer.cpu import as_numpy_array_wrapper
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata
from zarr.storage import FsspecStore, LocalStore, StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zarr.abc.store import ByteRequest
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, BufferPrototype

    from pcim.core.plate_source import Place

_CHECKS = ("crc32c", "crc32", "adler32", "fletcher32", "shuffle")
CODECS = {
    2: frozenset({"blosc", "zstd", "gzip", "zlib", "lz4", *_CHECKS}),
    3: frozenset({"blosc", "zstd", "gzip", "bytes", "transpose", "sharding_indexed", "crc32c", *(f"numcodecs.{name}" for name in _CHECKS)}),
}  # fmt: skip
"""Compressors, checksums and orders that microscopes' writers use, by zarr's format: none of them can run code."""

MAX_CHUNK_BYTES = 2**31
"""Blosc's own limit; a chunk is a field's plane or less, a shard at most the field."""

MAX_CHUNKS = 2**20
MAX_STREAMS = 1000
_DEPTH = 2
_ZSTD = b"\x28\xb5\x2f\xfd"


def open_array(path: Place, document: dict[str, Any], plate: Place) -> zarr.Array[Any]:
    """Open the array whose metadata `document` is, for reading, guarded.

    Raises
    ------
    ValueError
        When it names a codec that is not one of `CODECS`, or claims chunks that are too large or too many; zarr raises what its
        parts raise.
    """
    form = 3 if document.get("zarr_format") == 3 else 2  # noqa: PLR2004
    unknown = sorted({name for name in _codec_names(document, form) if name not in CODECS[form]})
    if unknown:
        raise ValueError(f"codecs {unknown}; read are {sorted(CODECS[form])}")
    metadata = (ArrayV3Metadata if form == 3 else ArrayV2Metadata).from_dict(document)  # noqa: PLR2004
    chunk, part = _sizes(metadata)
    if isinstance(metadata, ArrayV2Metadata):
        filters = tuple(_SizeCheckedCodec(codec, chunk) for codec in metadata.filters or ()) or None
        compressor = _SizeCheckedCodec(metadata.compressor, chunk) if metadata.compressor else None
        metadata = replace(metadata, filters=filters, compressor=compressor)
    else:
        metadata = replace(metadata, codecs=_with_bounds(metadata.codecs))
    store = (
        _PlateStore(path, os.path.realpath(str(plate)), room(chunk), room(part))
        if isinstance(path, Path)
        else FsspecStore.from_url(str(path), read_only=True)
    )
    # zarr.open_array would read metadata of any size, and take as long for it as for a tile's pixels
    return zarr.Array(zarr.AsyncArray(metadata, StorePath(store)))


def room(size: int) -> int:
    """Return how many bytes `size` bytes may take where they are stored: what cannot be compressed grows a little."""
    return size + size // 8 + 2**16


def codec_name(codec: Any) -> str:
    """Return the name by which metadata calls a codec: ``blosc``, ``crc32c``."""
    named = getattr(codec, "codec_id", None)
    return str(named or codec.to_dict()["name"]).removeprefix("numcodecs.")


def _codec_names(document: dict[str, Any], form: int) -> Iterator[str]:
    """Yield the names of all codecs that metadata asks for, those inside shards too."""
    if form == 2:  # noqa: PLR2004
        codecs = [document.get("compressor"), *(document.get("filters") or ())]
        yield from (str(codec.get("id")) for codec in codecs if isinstance(codec, dict))
        return
    asked: Any = document.get("codecs", ())
    for _ in range(_DEPTH):
        named: list[Any] = [{"name": one} if isinstance(one, str) else one for one in asked]
        yield from (str(one.get("name")) for one in named)
        told: list[Any] = [one.get("configuration") or {} for one in named]
        asked = [inner for one in told for key in ("codecs", "index_codecs") for inner in one.get(key, ())]
    yield from ("shards in shards" for _ in asked)


def _sizes(metadata: ArrayV2Metadata | ArrayV3Metadata) -> tuple[int, int]:
    """Return the bytes of a stored chunk (a shard where there are some), and of what is compressed as one; refuse monstrous ones."""
    shape, size = metadata.shape, metadata.dtype.to_native_dtype().itemsize
    grid: Any = metadata.chunk_grid
    outer = tuple(int(length) for length in grid.chunk_shape)
    codecs = metadata.codecs if isinstance(metadata, ArrayV3Metadata) else ()
    inner = next((tuple(codec.chunk_shape) for codec in codecs if hasattr(codec, "chunk_shape")), outer)
    if len(outer) != len(shape) or len(inner) != len(shape) or min((*outer, *inner), default=1) < 1:
        raise ValueError(f"chunks of {outer} and {inner} for an array of shape {shape}")
    if math.prod(outer) * size > MAX_CHUNK_BYTES:
        raise ValueError(f"chunks of {outer}, {math.prod(outer) * size} bytes; at most {MAX_CHUNK_BYTES} are read")
    for whole, chunk in ((shape, outer), (outer, inner)):
        count = math.prod(-(-a // b) for a, b in zip(whole, chunk, strict=True))
        if count > MAX_CHUNKS:
            raise ValueError(f"{count} chunks of {chunk}; at most {MAX_CHUNKS} are read")
    return math.prod(outer) * size, math.prod(inner) * size


class _PlateStore(LocalStore):
    """An array's folder: what is read of it lies in the plate and is no larger than `whole` bytes, a part of a file than `part`."""

    def __init__(self, root: Path, inside: str, whole: int, part: int) -> None:
        super().__init__(root, read_only=True)
        self._inside, self._whole, self._part = inside, whole, part

    async def get(self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None) -> Buffer | None:
        file = str(self.root)
        for part in key.split("/"):  # the folder itself was looked at when it was opened
            file = f"{file}/{part}"
            if os.path.islink(file) and not os.path.realpath(file).startswith(f"{self._inside}/"):  # noqa: PTH114 - pathlib takes longer
                raise ValueError(f"{file}: a link leads out of the plate, to {os.path.realpath(file)}")
        start, end = getattr(byte_range, "start", None), getattr(byte_range, "end", None)
        if end is not None and end - start > self._part:
            raise ValueError(f"{file}: a part of {end - start} bytes; the array needs at most {self._part}")
        with contextlib.suppress(OSError):  # a chunk that is not stored
            if byte_range is None and os.stat(file).st_size > self._whole:  # noqa: PTH116
                raise ValueError(f"{file}: {os.stat(file).st_size} bytes; the array needs at most {self._whole}")  # noqa: PTH116
        return await super().get(key, prototype, byte_range)


def decode(name: str, stored: Any, most: int, by: Callable[[Any], Any]) -> Any:
    """Decompress what is stored, `by` its codec where its header says, truly, that it fits into `most` bytes.

    Raises
    ------
    ValueError
        When it would be larger.
    """
    data = memoryview(stored).cast("B")
    if name == "blosc":
        _fits(int.from_bytes(data[4:8], "little"), most)
    elif name == "lz4":
        _fits(int.from_bytes(data[:4], "little"), most)
    elif name in {"gzip", "zlib"}:
        return _inflate(data, most)
    elif name == "zstd":
        size = _zstd_size(bytes(data[:18]))
        if size is None:
            return imagecodecs.zstd_decode(bytes(data), out=most)
        _fits(size, most)
    return by(stored)


def _fits(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"a compressed chunk of {size} bytes; its array has at most {most}")


def _inflate(data: memoryview, most: int) -> bytes:
    """Decompress zlib's and gzip's streams, one after another."""
    parts: list[bytes] = []
    rest: bytes | memoryview = data
    while rest:
        if len(parts) == MAX_STREAMS:  # each copies what is left: millions of empty ones would take hours
            raise ValueError(f"a compressed chunk of over {MAX_STREAMS} streams; writers make one")
        stream = zlib.decompressobj(47)  # either header
        parts.append(stream.decompress(rest, most + 1))
        _fits(sum(map(len, parts)), most)
        if not stream.eof:
            raise ValueError("a compressed chunk that is cut off")
        rest = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _zstd_size(head: bytes) -> int | None:
    """Return the size that a frame of Zstandard says it has, None where it says none (RFC 8878, 3.1.1.1)."""
    if head[:4] != _ZSTD or len(head) < 6:  # noqa: PLR2004 - magic number, descriptor, and one byte of either
        raise ValueError("a compressed chunk that is no frame of Zstandard")
    flag, single, dictionary = head[4] >> 6, head[4] >> 5 & 1, head[4] & 3
    start = 5 + (not single) + (0, 1, 2, 4)[dictionary]
    length = (single, 2, 4, 8)[flag]
    field = int.from_bytes(head[start : start + length], "little")
    return field + 256 * (flag == 1) if length else None


class _SizeCheckedCodec(numcodecs.abc.Codec):  # type: ignore[misc]
    """A compressor or filter of a zarr 2 array, whose chunks have `most` bytes."""

    codec_id = "guarded"

    def __init__(self, codec: Any, most: int) -> None:
        self.codec, self.most, self.codec_id = codec, room(most), codec.codec_id

    def encode(self, buf: Any) -> Any:
        raise NotImplementedError("a source plate is never written")

    def decode(self, buf: Any, out: Any = None) -> Any:  # noqa: ARG002 - its interface
        return decode(self.codec_id, buf, self.most, self.codec.decode)

    def get_config(self) -> Any:
        return self.codec.get_config()


def _decode_to_size(codec: Any, stored: Buffer, spec: ArraySpec, by: Callable[[Any], Any]) -> Buffer:
    most = room(math.prod(spec.shape) * spec.dtype.to_native_dtype().itemsize)
    return as_numpy_array_wrapper(lambda data: decode(codec_name(codec), data, most, by), stored, spec.prototype)


class BoundedBlosc(BloscCodec):
    """Blosc, of chunks that have the size of the array's."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return _decode_to_size(self, chunk_bytes, chunk_spec, self._blosc_codec.decode)


class BoundedGzip(GzipCodec):
    """Gzip, of chunks that have the size of the array's."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return _decode_to_size(self, chunk_bytes, chunk_spec, self._gzip_codec.decode)


class BoundedZstd(ZstdCodec):
    """Zstandard, of chunks that have the size of the array's."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return _decode_to_size(self, chunk_bytes, chunk_spec, self._zstd_codec.decode)


_BOUNDED: dict[type, Any] = {BloscCodec: BoundedBlosc, GzipCodec: BoundedGzip, ZstdCodec: BoundedZstd}


def _with_bounds(codecs: Iterable[Any]) -> tuple[Any, ...]:
    """Return the codecs of an array, those inside shards too, with the bounded ones in place of zarr's own.

    They are given to the opened array alone: whoever imports this package decodes other arrays as before.
    """
    bounded = []
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            bounded.append(replace(codec, codecs=_with_bounds(codec.codecs), index_codecs=_with_bounds(codec.index_codecs)))
        else:
            kind = _BOUNDED.get(type(codec))
            bounded.append(kind.from_dict(codec.to_dict()) if kind else codec)
    return tuple(bounded)
