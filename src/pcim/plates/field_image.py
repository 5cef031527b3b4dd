"""Fields of source plates: their arrays and label images, and what is wrong with the stored chunks.

Nothing is ever written into a source plate. Its stores are opened read-only.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.plates import ngff
from pcim.plates.colours import GREY, channel_colours
from pcim.plates.ngff_json import read_json
from pcim.plates.safe_zarr import codec_name, open_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import zarr
    from numpy.typing import NDArray

    from pcim.core.plate_source import Place, Source

_CHECKED = {
    "crc32c": "crc32c",
    "crc32": "crc32",
    "adler32": "adler32",
    "fletcher32": "fletcher32",
    "gzip": "crc32",
}
"""Codecs that notice a flipped bit, and what they call their checksum. Zstandard has one only where it was asked for."""

_ABSENT = 2**64 - 1
"""Offset and length of a chunk that a shard's index says is not there."""


def _open_array(path: Place, plate: Place) -> zarr.Array[Any]:
    """Open an array for reading, on this machine or on a server."""
    modern = (path / "zarr.json").is_file()
    document: Any = read_json(path / ("zarr.json" if modern else ".zarray"))
    if not modern and (path / ".zattrs").is_file():
        document["attributes"] = read_json(path / ".zattrs")
    try:
        return open_array(path, document, plate)
    except Exception as error:  # metadata is anybody's: zarr raises what its parts raise
        raise ngff.NgffError(f"{path}: the array cannot be opened: {error}") from error


def _refuse_link_out(plate: Place, path: Place) -> None:
    """Refuse a path that a symbolic link leads out of the plate."""
    if not (isinstance(plate, Path) and isinstance(path, Path)):
        return
    inside, found = os.path.realpath(plate), os.path.realpath(path)  # texts: pathlib takes as long as reading a tile
    if os.path.commonpath([inside, found]) != inside:
        raise ngff.NgffError(f"{path}: a link leads out of the plate, to {found}")


def _open_level(plate: Place, field: str) -> tuple[ngff.ImageLayout, zarr.Array[Any]]:
    """Open level 0 of an image of a plate, and check that array and metadata agree."""
    path = plate / field
    layout = ngff.read_image(path)
    _refuse_link_out(plate, path / layout.levels[0])
    array = _open_array(path / layout.levels[0], plate)
    ngff.check_shape(layout.axes, array.shape, str(path))
    if array.dtype.kind not in "uif":
        raise ngff.NgffError(f"{path}: pixels are {array.dtype}; expected whole or real numbers")
    return layout, array


@dataclass(frozen=True)
class FieldImage:
    """A field of a source plate, opened but not read. Arrays are read as (channel, y, x)."""

    source: Source
    field: str
    layout: ngff.ImageLayout
    array: zarr.Array[Any]

    @classmethod
    def open(cls, source: Source, field: str) -> FieldImage:
        """Open level 0 of a field, ``A/1/0``.

        Raises
        ------
        ngff.NgffError
            When its metadata or array cannot be read, it lies outside the plate, or it has a time or depth axis longer than 1
            of which the source does not say what is used.
        """
        layout, array = _open_level(source.place, field)
        opened = cls(source, field, layout, array)
        opened._check_size()
        return opened

    def _check_size(self) -> None:
        """Refuse a field of which more would be read at once than memory has: what the metadata says is what is allocated."""
        length = math.prod(self.array.shape[axis] for axis, part in enumerate(self._index(slice(None))) if part == slice(None))
        if length * self.array.dtype.itemsize > ngff.MAX_READ_BYTES:
            raise ngff.NgffError(
                f"{self.path}: {self.array.dtype} of {self.array.shape}; at most {ngff.MAX_READ_BYTES} bytes are read at once"
            )

    @cached_property
    def path(self) -> Place:
        """Where the field lies."""
        return self.source.place / self.field

    def _length(self, axis: str) -> int:
        return int(self.array.shape[self.layout.axes.index(axis)]) if axis in self.layout.axes else 1

    def _planes(self, axis: str, wanted: str) -> slice | int:
        """Return what is read of a depth or time axis: one plane, or all for a projection."""
        plane = ngff.chosen_plane(axis, self._length(axis), wanted, str(self.path))
        return slice(None) if plane is None else plane

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.array.shape[-2], self.array.shape[-1]

    @property
    def dtype(self) -> str:
        """Data type of the pixels, ``uint16``, whatever their order of bytes."""
        return self.array.dtype.newbyteorder("=").name

    @property
    def channels(self) -> list[str]:
        """Channel labels: the field's own, else the source's, else a channel's number."""
        return ngff.channel_labels(self.layout.channels, self.source.channels, self._length("c"))

    def colours(self, channels: Sequence[str]) -> tuple[str, ...]:
        """Return the colours of some channels by label, as `colours.channel_colours` has them; one alone is grey."""
        whole = dict(zip(self.channels, channel_colours(self.layout.colours, self._length("c")), strict=True))
        return (GREY,) if len(channels) == 1 else tuple(whole[label] for label in channels)

    @property
    def checksum(self) -> str:
        """Name of the checksum that guards stored chunks; empty where a flipped bit would go unnoticed."""
        codecs = [*self.array.compressors, *self.array.filters]
        inner = [name for name in map(codec_name, codecs) if name in _CHECKED]
        if inner:
            return _CHECKED[inner[0]]
        return "xxh64" if any(getattr(codec, "checksum", False) for codec in codecs) else ""

    @property
    def is_complete_by_rule(self) -> bool:
        """Tell whether the store's writer says that it stores every chunk, also one of nothing but the fill value."""
        ours = self.array.attrs.get("pcim")
        return isinstance(ours, dict) and ours.get("write_empty_chunks") is True

    def absent_chunks(self) -> tuple[list[str], int]:
        """Return the keys of chunks that are not stored (``c/0/0/0``; in a shard ``c/0/0/0#3``), and how many there should be."""
        shards, level = self.array.shards, self.path / self.layout.levels[0]
        inner = 1 if shards is None else int(np.prod([s // c for s, c in zip(shards, self.array.chunks, strict=True)]))
        absent: list[str] = []
        total = 0
        for key in self.array._iter_shard_keys():
            total += inner
            if not (level / key).is_file():
                absent.append(key)
            elif shards is not None:
                absent += [f"{key}#{number}" for number in self._empty_in_shard(level / key, key, inner)]
        return absent, total

    def _empty_in_shard(self, file: Place, key: str, inner: int) -> Iterator[int]:
        """Yield the numbers of the inner chunks that a shard's index, at its end, says are not there.

        https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/: offset and length a chunk, uint64, then CRC32C.
        """
        codec: Any = self.array.metadata.codecs[0]  # type: ignore[union-attr]
        names = [type(part).__name__ for part in codec.index_codecs]
        if names not in (["BytesCodec"], ["BytesCodec", "Crc32cCodec"]) or codec.index_location.value != "end":
            return
        length = 16 * inner + 4 * (len(names) - 1)
        if file.stat().st_size < length:
            return  # torn: reading it will say so
        with file.open("rb") as handle:
            handle.seek(-length, os.SEEK_END)
            words = struct.unpack(f"<{2 * inner}Q", handle.read(16 * inner))
        if _ABSENT not in words:
            return
        beyond = np.ceil(np.array(self.array.shape) / self.array.chunks)
        shard = np.array([int(part) for part in key.rpartition("c/")[2].split("/")])
        grid = np.array(self.array.shards) // self.array.chunks
        for number in range(inner):
            inside = (shard * grid + np.unravel_index(number, grid) < beyond).all()
            if inside and words[2 * number] == words[2 * number + 1] == _ABSENT:
                yield number

    def torn_chunks(self) -> list[str]:
        """Return the chunk files that are empty, or that Blosc must not be given: not as long as their own header says.

        zarr reads an empty shard as the fill value, without a word.
        Blosc trusts the header and reads past the end of a truncated file: what it finds there is sometimes an error and
        sometimes, by chance, pixels.
        """
        level = self.path / self.layout.levels[0]
        blosc = any(codec_name(codec) == "blosc" for codec in self.array.compressors)
        torn = []
        for key in self.array._iter_shard_keys():
            file = level / key
            if isinstance(file, Path) and file.is_symlink():
                _refuse_link_out(self.source.place, file)
            if file.is_file():
                size = file.stat().st_size
                if size == 0 or (blosc and self.array.shards is None and _blosc_length(file) != size):
                    torn.append(key)
        return torn

    def read(self, channels: Sequence[str] | None = None) -> NDArray[Any]:
        """Read the field as (channel, y, x), projected as the source says; `channels` picks and orders by label.

        Raises
        ------
        ngff.NgffError
            When a label is not there or is there twice, or stored bytes cannot be decoded.
        """
        labels = self.channels
        wanted = labels if channels is None else list(channels)
        wrong = [label for label in wanted if labels.count(label) != 1]
        if wrong and channels is not None:
            raise ngff.NgffError(f"{self.path}: channels {wrong} are not there just once; there are {labels}")
        numbers = list(range(len(labels))) if channels is None else [labels.index(label) for label in wanted]
        try:
            return self._read(numbers)
        except Exception as error:  # codecs raise what they like on broken bytes
            raise ngff.NgffError(f"{self.path}: stored pixels cannot be decoded: {error}") from error

    def _read(self, numbers: list[int]) -> NDArray[Any]:
        """Read channels by number; one by one where they are stored apart and not all are wanted."""
        if "c" not in self.layout.axes:
            return self._project(self._select(slice(None)))[np.newaxis]
        if len(numbers) == self._length("c") or self.array.chunks[self.layout.axes.index("c")] > 1:
            whole = self._project(self._select(slice(None)))
            return whole if numbers == list(range(len(whole))) else whole[numbers]
        return np.stack([self._project(self._select(number)) for number in numbers])

    def _select(self, channel: slice | int) -> Any:
        return self.array.get_basic_selection(self._index(channel))  # indexing would first ask what kind of index this is

    def _index(self, channel: slice | int) -> tuple[slice | int, ...]:
        parts = {"t": self._planes("t", self.source.t), "c": channel, "z": self._planes("z", self.source.z)}
        return tuple(parts.get(axis, slice(None)) for axis in self.layout.axes)

    def _project(self, pixels: Any) -> NDArray[Any]:
        """Project over depth, the third axis from the end where it is still there, and return native pixels."""
        stack = np.asarray(pixels)
        native = stack.astype(stack.dtype.newbyteorder("="), copy=False)
        if not isinstance(self._planes("z", self.source.z), slice):
            return native
        if self.source.z == "max":
            return np.asarray(native.max(axis=-3))
        mean = native.mean(axis=-3, dtype=np.float64)
        return np.asarray(np.rint(mean) if native.dtype.kind in "iu" else mean, native.dtype)

    def read_label(self, name: str) -> NDArray[Any]:
        """Read a label image as integers (y, x), 0 = no object; of a depth axis, the highest number (or the source's plane).

        Raises
        ------
        ngff.NgffError
            When there is no such label or its shape is not the field's.
        """
        layout, array = _open_level(self.source.place, f"{self.field}/labels/{name}")
        depth = array.shape[layout.axes.index("z")] if "z" in layout.axes else 1
        used = replace(self.source, z="" if depth == 1 else "max" if self.source.z == "mean" else self.source.z)
        label = FieldImage(used, f"{self.field}/labels/{name}", layout, array)
        label._check_size()
        pixels: NDArray[Any] = label.read()[0]
        if pixels.shape != self.shape or pixels.dtype.kind not in "iu":
            raise ngff.NgffError(f"{label.path}: {pixels.dtype} of {pixels.shape}; expected integers of {self.shape}")
        return pixels


def _blosc_length(file: Place) -> int:
    """Return the length that a Blosc 1 chunk's header gives (bytes 12 to 16, little endian), -1 without a header."""
    with file.open("rb") as handle:
        header = handle.read(16)
    return int.from_bytes(header[12:16], "little") if len(header) == 16 else -1  # noqa: PLR2004 - the header's length
