"""Files: reading fields of source plates, writing plates of maps. The only module that opens zarr stores.

Dask reads; writing is from numpy, one whole shard at a time (`dask.array.to_zarr` corrupts misaligned chunks silently).
Nothing is ever written into a source plate.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from pcim import ngff
from pcim.jobs import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAP_WINDOW = (0.0, 10.0)
"""Display window of every stored map: maps are stored in units of their view's mean, so 1 is an average pixel."""

_CHUNK_PX = 1024


@dataclass(frozen=True)
class FieldImage:
    """A field of a source plate, opened but not read. Arrays are read as (channel, y, x)."""

    path: Path
    layout: ngff.ImageLayout
    array: zarr.Array[Any]

    @classmethod
    def open(cls, path: Path) -> FieldImage:
        """Open a field's level 0.

        Raises
        ------
        ngff.NgffError
            When its metadata or array cannot be read, or it has a time or depth axis longer than 1.
        """
        layout = ngff.read_image(path)
        try:
            array = zarr.open_array(path / layout.levels[0], mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise ngff.NgffError(f"{path}: level {layout.levels[0]!r} cannot be opened: {error}") from error
        if len(array.shape) != len(layout.axes):
            raise ngff.NgffError(f"{path}: axes {layout.axes} for an array of shape {array.shape}")
        long = {a: n for a, n in zip(layout.axes, array.shape, strict=True) if a not in "cyx" and n > 1}
        if long:
            raise ngff.NgffError(f"{path}: axes {long} are longer than 1; project or select a plane first")
        return cls(path, layout, array)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.array.shape[-2], self.array.shape[-1]

    @property
    def dtype(self) -> str:
        """Data type of the pixels, ``uint16``."""
        return str(self.array.dtype)

    @property
    def channels(self) -> list[str]:
        """Channel labels; a channel without one is called by its number."""
        count = self.array.shape[self.layout.axes.index("c")] if "c" in self.layout.axes else 1
        known = self.layout.channels if len(self.layout.channels) == count else ("",) * count
        return [label or str(number) for number, label in enumerate(known)]

    def absent_chunks(self) -> tuple[int, int]:
        """Return how many of the stored chunks (or shards) are not there, and how many there should be."""
        sharded = self.array.shards is not None
        expected = int(np.prod(self.array._shard_grid_shape if sharded else self.array.cdata_shape))
        present = self.array._nshards_initialized if sharded else self.array.nchunks_initialized
        return expected - int(present), expected

    def torn_chunks(self) -> list[str]:
        """Return the chunk files that Blosc must not be given: shorter or longer than their own header says.

        The decoder trusts the header and reads past the end of a truncated file: what it finds there is sometimes an
        error and sometimes, by chance, pixels.
        """
        if self.array.shards is not None or not any(
            "blosc" in type(c).__name__.lower() for c in self.array.compressors
        ):
            return []
        level = self.path / self.layout.levels[0]
        chunks = [f for f in sorted(level.rglob("*")) if f.is_file() and f.name[0] != "." and f.name != "zarr.json"]
        return [str(file.relative_to(level)) for file in chunks if _blosc_length(file) != file.stat().st_size]

    def read(self, channels: Sequence[str] | None = None) -> NDArray[Any]:
        """Read the field as (channel, y, x); `channels` picks and orders by label.

        Raises
        ------
        ngff.NgffError
            When a label is not there, or stored bytes cannot be decoded.
        """
        wanted = self.channels if channels is None else list(channels)
        absent = [label for label in wanted if label not in self.channels]
        if absent:
            raise ngff.NgffError(f"{self.path}: no channel {absent}; there are {self.channels}")
        index = tuple(slice(None) if axis in "cyx" else 0 for axis in self.layout.axes)
        try:
            pixels = np.asarray(self.array[index])
        except Exception as error:  # codecs raise what they like on broken bytes
            raise ngff.NgffError(f"{self.path}: stored pixels cannot be decoded: {error}") from error
        stack = pixels if "c" in self.layout.axes else pixels[np.newaxis]
        return stack[[self.channels.index(label) for label in wanted]]

    def read_label(self, name: str) -> NDArray[Any]:
        """Read a label image as integers (y, x), 0 = no object.

        Raises
        ------
        ngff.NgffError
            When there is no such label or its shape is not the field's.
        """
        path = self.path / "labels" / name
        layout = ngff.read_image(path)
        array = zarr.open_array(path / layout.levels[0], mode="r")
        pixels = np.asarray(array[(0,) * (len(array.shape) - 2)])
        if pixels.shape != self.shape or pixels.dtype.kind not in "iu":
            raise ngff.NgffError(f"{path}: {pixels.dtype} of {pixels.shape}; expected integers of {self.shape}")
        return pixels


def _blosc_length(file: Path) -> int:
    """Return the length that a Blosc 1 chunk's header gives (bytes 12 to 16, little endian), -1 without a header."""
    with file.open("rb") as handle:
        header = handle.read(16)
    return int.from_bytes(header[12:16], "little") if len(header) == 16 else -1  # noqa: PLR2004 - the header's length


@dataclass(frozen=True)
class MapPlate:
    """A plate of attribution maps beside a source plate: OME-Zarr 0.5, same wells and field paths, one shard a level.

    A field appears in one step (it is written under a hidden name and moved); the plate's own metadata comes last.
    """

    path: Path

    def read(self, field: str, name: str = "") -> NDArray[Any]:
        """Read a field's maps (channel, y, x), or the array stored beside them as `name`; NaN = not explained.

        The sum over channels is the map; a method that has one map for all channels stores that one.
        """
        return np.asarray(zarr.open_array(self.path / field / name / "0", mode="r")[:], dtype=np.float32)

    def write_field(  # noqa: PLR0913 - each is one part of what a viewer needs
        self,
        field: str,
        maps: NDArray[np.floating],
        *,
        channels: Sequence[str],
        beside: Mapping[str, NDArray[np.floating]],
        top: tuple[str, NDArray[np.uint8]],
        levels: int,
        dtype: str,
        pixel_size_um: tuple[float, float] | None,
        provenance: Mapping[str, Any],
    ) -> None:
        """Store the maps (channel, y, x) of one field, arrays `beside` them, and the label of its highest pixels (y, x)."""
        partial = self.path / f".partial-{field.replace('/', '-')}"
        shutil.rmtree(partial, ignore_errors=True)
        store = LocalStore(partial)
        root = zarr.create_group(store)
        axes = _Axes(pixel_size_um, levels)
        _write_levels(root, maps.astype(dtype), axes, _mean_of_four)
        root.attrs.update({"ome": axes.image_metadata(list(channels)), "pcim": dict(provenance)})
        for name, array in beside.items():
            group = root.create_group(name)
            _write_levels(group, array.astype(dtype), axes, _mean_of_four)
            group.attrs["ome"] = axes.image_metadata([name] * len(array))
        label_name, label = top
        labels = root.create_group("labels", attributes={"ome": {"version": "0.5", "labels": [label_name]}})
        group = labels.create_group(label_name)
        _write_levels(group, label, axes, _every_second)
        group.attrs["ome"] = axes.label_metadata(label_name)
        self._publish(partial, self.path / field)

    def _publish(self, partial: Path, place: Path) -> None:
        """Move a finished field into place; an old one steps aside first and is deleted after."""
        place.parent.mkdir(parents=True, exist_ok=True)
        old = partial.with_name(partial.name + "-old")
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        partial.rename(place)
        shutil.rmtree(old, ignore_errors=True)

    def finish(self, source: ngff.PlateLayout, fields: Mapping[str, Sequence[str]], name: str) -> None:
        """Write the metadata of plate, rows and wells for the stored `fields` (well path -> field names)."""
        written = [well for well in source.wells if fields.get(well.path)]
        for row in sorted({well.row for well in written}):
            _write_group(self.path / row, None)
        for well in written:
            images = [{"path": field, "acquisition": 0} for field in fields[well.path]]
            _write_group(self.path / well.path, {"well": {"images": images, "version": "0.5"}, "version": "0.5"})
        plate = {
            "name": name,
            "version": "0.5",
            "rows": [{"name": row} for row in source.rows],
            "columns": [{"name": column} for column in source.columns],
            "wells": [
                {"path": w.path, "rowIndex": source.rows.index(w.row), "columnIndex": source.columns.index(w.column)}
                for w in written
            ],
            "acquisitions": [{"id": 0}],
            "field_count": max((len(names) for names in fields.values()), default=1),
        }
        _write_group(self.path, {"plate": plate, "version": "0.5"})


def _write_group(path: Path, ome: Mapping[str, Any] | None) -> None:
    """Write a group's metadata in one step, children untouched."""
    attributes = {} if ome is None else {"ome": ome}
    with whole_file(path / "zarr.json") as partial:
        partial.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=1))


@dataclass(frozen=True)
class _Axes:
    """What the metadata of every array of one field shares."""

    pixel_size_um: tuple[float, float] | None
    levels: int

    def image_metadata(self, channels: list[str]) -> dict[str, Any]:
        low, high = MAP_WINDOW
        window = {"min": low, "max": high, "start": low, "end": high}
        omero = [{"label": label, "color": "FF8000", "window": window, "active": True} for label in channels]
        channel_axis = {"name": "c", "type": "channel"}
        return {"version": "0.5", "multiscales": [self._multiscale([channel_axis])], "omero": {"channels": omero}}

    def label_metadata(self, name: str) -> dict[str, Any]:
        colour = {"label-value": 1, "rgba": [255, 128, 0, 128]}
        image_label = {"colors": [colour], "source": {"image": "../../"}}
        return {"version": "0.5", "multiscales": [self._multiscale([]) | {"name": name}], "image-label": image_label}

    def _multiscale(self, leading: list[dict[str, str]]) -> dict[str, Any]:
        unit = {} if self.pixel_size_um is None else {"unit": "micrometer"}
        size = self.pixel_size_um or (1.0, 1.0)
        axes = [*leading, *({"name": axis, "type": "space", **unit} for axis in "yx")]
        return {
            "name": "map",
            "axes": axes,
            "datasets": [
                {
                    "path": str(level),
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1.0] * len(leading) + [pixel * 2**level for pixel in size]}
                    ],
                }
                for level in range(self.levels)
            ],
        }


def _write_levels(group: zarr.Group, array: NDArray[Any], axes: _Axes, reduce: Any) -> None:
    """Write an array and its coarser levels, each one shard, so one file a level."""
    names = ("c", "y", "x")[-array.ndim :]
    for level in range(axes.levels):
        chunk = tuple(1 if name == "c" else min(n, _CHUNK_PX) for name, n in zip(names, array.shape, strict=True))
        shard = tuple(-(-n // c) * c for n, c in zip(array.shape, chunk, strict=True))
        target = group.create_array(
            str(level), shape=array.shape, dtype=array.dtype, chunks=chunk, shards=shard, dimension_names=names
        )
        target[...] = array
        array = reduce(array)


def _mean_of_four(array: NDArray[Any]) -> NDArray[Any]:
    """Halve the last two axes by the mean of each 2 x 2 block; what lies beyond an odd edge, or is NaN, does not count."""
    padding = [(0, 0)] * (array.ndim - 2) + [(0, n % 2) for n in array.shape[-2:]]
    wide = np.pad(array.astype(np.float32), padding, constant_values=np.nan)
    blocks = wide.reshape(*wide.shape[:-2], wide.shape[-2] // 2, 2, wide.shape[-1] // 2, 2)
    known = ~np.isnan(blocks)
    total = np.where(known, blocks, 0).sum(axis=(-3, -1))
    count = known.sum(axis=(-3, -1))
    means: NDArray[Any] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return means.astype(array.dtype)


def _every_second(array: NDArray[Any]) -> NDArray[Any]:
    """Halve the last two axes by taking every second pixel, so that labels stay labels."""
    return np.asarray(array[..., ::2, ::2])
