"""The one writer of OME-Zarr 0.5: whole shards from numpy, checksums everywhere, a field in one step, group metadata last.

`dask.array.to_zarr` corrupts misaligned chunks silently, so nothing is written through Dask.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from pcim.runtime.atomic_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.plates.ngff import PlateLayout, Space

STORED_WHOLE: dict[str, Any] = {"pcim": {"write_empty_chunks": True}}
"""Attributes of every array that is written here: a chunk that is not there is missing, never just empty."""

_CHUNK_PX = 1024
_AXES = "cyx"


def mean_of_four(array: NDArray[Any]) -> NDArray[Any]:
    """Halve the last two axes by the mean of each 2 x 2 block; what lies beyond an odd edge, or is NaN, does not count.

    Means of whole numbers are rounded, halves up.
    """
    even = array.shape[-2] % 2 == array.shape[-1] % 2 == 0
    if even and array.dtype.kind == "u" and array.dtype.itemsize <= 2:  # noqa: PLR2004 - their sum fits 32 bits
        rows = array[..., ::2, :].astype(np.uint32) + array[..., 1::2, :]
        return np.asarray((rows[..., ::2] + rows[..., 1::2] + 2) >> 2, array.dtype)
    wide = array.astype(np.float32, copy=False)
    if even and array.dtype.kind == "f" and not np.isnan(wide).any():
        rows = wide[..., ::2, :] + wide[..., 1::2, :]
        return np.asarray((rows[..., ::2] + rows[..., 1::2]) / 4, array.dtype)
    wide = np.pad(wide, [(0, 0)] * (array.ndim - 2) + [(0, n % 2) for n in array.shape[-2:]], constant_values=np.nan)
    parts = [wide[..., y::2, x::2] for y in (0, 1) for x in (0, 1)]
    total, count = np.zeros_like(parts[0]), np.zeros(parts[0].shape, np.uint8)
    for part in parts:
        known = ~np.isnan(part)
        total += np.where(known, part, 0)
        count += known
    means: NDArray[Any] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.asarray(np.floor(means + 0.5) if array.dtype.kind in "iu" else means, array.dtype)


def every_second(array: NDArray[Any]) -> NDArray[Any]:
    """Halve the last two axes by taking every second pixel, so that labels stay labels."""
    return np.asarray(array[..., ::2, ::2])


@dataclass(frozen=True)
class Pyramid:
    """An image in levels, each half the size of the one before: its array ((c,) y, x), and what its metadata says.

    `more` is OME metadata beside 'multiscales': 'omero' of an image, 'image-label' of a label. `reduce` makes the next level.
    """

    name: str
    array: NDArray[Any]
    space: Space
    levels: int
    more: Mapping[str, Any] = field(default_factory=dict)
    reduce: Callable[[NDArray[Any]], NDArray[Any]] = mean_of_four

    @property
    def ome(self) -> dict[str, Any]:
        """The OME metadata of the group that holds the levels."""
        axes = _AXES[-self.array.ndim :]
        return {"version": "0.5", "multiscales": [multiscale(self.name, axes, self.levels, self.space)], **self.more}


@dataclass(frozen=True)
class FieldContent:
    """All that is stored of one field: its image, images `beside` it, its label images, and arrays that no viewer reads.

    `own` is what the field says of itself under ``pcim``. `whole` has an array and its attributes by name.
    """

    image: Pyramid
    own: Mapping[str, Any] = field(default_factory=dict)
    beside: Sequence[Pyramid] = ()
    labels: Sequence[Pyramid] = ()
    whole: Mapping[str, tuple[NDArray[Any], Mapping[str, Any]]] = field(default_factory=dict)


def write_field(plate: Path, path: str, content: FieldContent) -> None:
    """Write a field of a plate; it appears at its path in one step."""
    with _new_field(plate, path) as root:
        _write_levels(root, content.image)
        for pyramid in content.beside:
            _write_image(root, pyramid)
        if content.labels:
            names = [label.name for label in content.labels]
            labels = root.create_group("labels", attributes={"ome": {"version": "0.5", "labels": names}})
            for label in content.labels:
                _write_image(labels, label)
        for name, (array, attributes) in content.whole.items():
            _write_array(root, name, array, array.shape, {"attributes": {**STORED_WHOLE, **attributes}})
        root.attrs.update({"ome": content.image.ome} | ({"pcim": dict(content.own)} if content.own else {}))


@contextlib.contextmanager
def _new_field(plate: Path, field: str) -> Iterator[zarr.Group]:
    """Give a group to write a field into, and move it to its place in one step at the end.

    An old field steps aside first and is deleted after; a field that was half-written by a killed process is written anew.
    """
    partial = plate / f".partial-{field.replace('/', '-')}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield zarr.create_group(LocalStore(partial))
        place, old = plate / field, partial.with_name(partial.name + "-old")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        partial.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_image(parent: zarr.Group, image: Pyramid) -> None:
    """Write an image as a group of its own."""
    _write_levels(parent.create_group(image.name, attributes={"ome": image.ome}), image)


def _write_levels(group: zarr.Group, image: Pyramid) -> None:
    """Write levels ``0``, ``1``, ..., each one shard, so one file a level."""
    array, names = image.array, tuple(_AXES[-image.array.ndim :])
    for level in range(image.levels):
        chunk = tuple(1 if name == "c" else chunk_px(n) for name, n in zip(names, array.shape, strict=True))
        shard = tuple(-(-n // c) * c for n, c in zip(array.shape, chunk, strict=True))
        how = {"dimension_names": names, "attributes": STORED_WHOLE, "shards": shard}
        _write_array(group, str(level), array, chunk, how)
        if level + 1 < image.levels:
            array = image.reduce(array)


def chunk_px(length: int) -> int:
    """Return the side of chunks along an axis, at most 1024 px, all alike: 1080 px are two of 540, not one of 1024 and a rest.

    A chunk is stored whole, so a rest would be filled up, compressed and decoded at the price of a full one.
    """
    return -(-length // -(-length // _CHUNK_PX))


def _write_array(group: zarr.Group, name: str, array: NDArray[Any], chunks: tuple[int, ...], how: Mapping[str, Any]) -> None:
    codecs = [
        BloscCodec(cname="zstd", clevel=1),
        Crc32cCodec(),
    ]  # shuffled by zarr: smaller than zstd alone, and faster
    whole: Any = {"write_empty_chunks": True}
    target = group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=chunks, compressors=codecs, config=whole, **how)
    target[...] = array


def multiscale(name: str, axes: str, levels: int, space: Space) -> dict[str, Any]:
    """Return the 'multiscales' entry of an image whose every level halves the one before; its pixels lie as `space` says."""
    unit = {"unit": space.unit} if space.unit else {}
    kinds = {"c": {"type": "channel"}, "y": {"type": "space", **unit}, "x": {"type": "space", **unit}}
    leading = len(axes) - 2
    datasets = []
    for level in range(levels):
        scale = [size * 2**level for size in space.scale]
        # the first pixel of a coarser level is the mean of 2 x 2: its middle lies half a pixel further
        origin = [o + (c - s) / 2 for o, c, s in zip(space.origin, scale, space.scale, strict=True)]
        moves: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0] * leading + scale}]
        if any(origin):
            moves.append({"type": "translation", "translation": [0.0] * leading + origin})
        datasets.append({"path": str(level), "coordinateTransformations": moves})
    return {"name": name, "axes": [{"name": axis, **kinds[axis]} for axis in axes], "datasets": datasets}


def omero(labels: Sequence[str], colour: Callable[[int], str], window: tuple[float, float]) -> dict[str, Any]:
    """Return the 'omero' entry of an image: its channels' labels, colours (six hexadecimal digits) and display window."""
    low, high = window
    limits = {"min": low, "max": high, "start": low, "end": high}
    return {
        "channels": [{"label": label, "color": colour(number), "window": limits, "active": True} for number, label in enumerate(labels)]
    }


def write_group(path: Path, ome: Mapping[str, Any] | None) -> None:
    """Write a group's metadata in one step, children untouched."""
    attributes = {} if ome is None else {"ome": ome}
    with whole_file(path / "zarr.json") as partial:
        partial.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=1))


def finish_plate(path: Path, source: PlateLayout, fields: Mapping[str, Sequence[str]], name: str) -> None:
    """Write the metadata of rows, wells and, last, the plate for the stored `fields` (well path -> field names).

    Rows and columns are all of the source's, so that grids line up; only wells with a field are listed.
    """
    written = [well for well in source.wells if fields.get(well.path)]
    for row in sorted({well.path.partition("/")[0] for well in written}):
        write_group(path / row, None)
    for well in written:
        images = [{"path": field, "acquisition": 0} for field in fields[well.path]]
        write_group(path / well.path, {"well": {"images": images, "version": "0.5"}, "version": "0.5"})
    plate = {
        "name": name,
        "version": "0.5",
        "rows": [{"name": row} for row in source.rows],
        "columns": [{"name": column} for column in source.columns],
        "wells": [{"path": w.path, "rowIndex": source.rows.index(w.row), "columnIndex": source.columns.index(w.column)} for w in written],
        "acquisitions": [{"id": 0}],
        "field_count": max((len(names) for names in fields.values()), default=1),
    }
    write_group(path, {"plate": plate, "version": "0.5"})
