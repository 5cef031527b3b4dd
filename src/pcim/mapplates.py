"""Plates of attribution maps beside a source plate: OME-Zarr 0.5, same wells and fields, one shard a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from pcim import ngff
from pcim.writing import (
    every_second,
    finish_plate,
    mean_of_four,
    multiscale,
    new_field,
    omero,
    write_levels,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.chunks import Box

MAP_WINDOW = (0.0, 10.0)
"""Display window of every stored map: maps are stored in units of their view's mean, so 1 is an average pixel."""

VIEWS = "views"
_ORANGE = "FF8000"


@dataclass(frozen=True)
class MapPlate:
    """A plate of attribution maps. Fields are named by their path in the source plate, ``A/01/0``.

    A field appears in one step (it is written under a hidden name and moved); the plate's own metadata comes last.
    """

    path: Path

    def place(self, field: str) -> Path:
        """Return where the maps of a source field lie: its own path where OME-Zarr 0.5 allows that name."""
        well, _, name = field.rpartition("/")
        return self.path / well / ngff.map_name(name)

    def read(self, field: str, name: str = "") -> NDArray[Any]:
        """Read a field's maps (channel, y, x), or the array stored beside them as `name`; NaN = not explained.

        The sum over channels is the map; a method that has one map for all channels stores that one.
        """
        return np.asarray(zarr.open_array(self.place(field) / name / "0", mode="r")[:], dtype=np.float32)

    def read_views(self, field: str, boxes: Mapping[str, Box]) -> dict[str, NDArray[Any]]:
        """Read the maps (channel, y, x) of views, by name, each of the classifier's size: as scored, not as shown.

        They are stored by themselves where views overlap or were resized; else they are parts of the field's maps.
        """
        own = self.place(field) / VIEWS
        if not own.exists():
            whole = self.read(field)
            return {name: whole[:, *box.slices] for name, box in boxes.items()}
        array = zarr.open_array(own, mode="r")
        stack, names = np.asarray(array[:], np.float32), list(array.attrs["views"])  # type: ignore[arg-type]
        return {name: stack[names.index(name)] for name in boxes}

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
        space: ngff.Space,
        provenance: Mapping[str, Any],
        views: Mapping[str, NDArray[np.floating]] | None = None,
    ) -> None:
        """Store the maps (channel, y, x) of one field, arrays `beside` them, and the label of its highest pixels (y, x).

        `views` are the maps of single views, by name, where the field's maps are not simply these side by side.
        What lies beside is for computing: it has level 0 only. float16 ends at 65504: what is higher is stored as that.
        """
        place = self.place(field)
        image = {"version": "0.5", "multiscales": [multiscale("map", "cyx", levels, space)]}
        label_name, label = top
        with new_field(self.path, place.relative_to(self.path).as_posix()) as root:
            write_levels(root, _narrowed(maps, dtype), levels, mean_of_four)
            for name, array in beside.items():
                single = {"version": "0.5", "multiscales": [multiscale(name, "cyx", 1, space)]}
                group = root.create_group(name, attributes={"ome": single | _omero([name] * len(array))})
                write_levels(group, _narrowed(array, dtype), 1, mean_of_four)
            labels = root.create_group("labels", attributes={"ome": {"version": "0.5", "labels": [label_name]}})
            group = labels.create_group(label_name, attributes={"ome": _label_metadata(label_name, levels, space)})
            write_levels(group, label, levels, every_second)
            if views:
                stack = _narrowed(np.stack(list(views.values())), dtype)
                write_whole(root, VIEWS, stack, attributes={"views": list(views)})
            root.attrs.update({"ome": image | _omero(channels), "pcim": {"source_field": field, **provenance}})

    def finish(self, source: ngff.PlateLayout, fields: Mapping[str, Sequence[str]], name: str) -> None:
        """Write the metadata of plate, rows and wells for the stored `fields` (well path -> field names of the source)."""
        named = {well: [ngff.map_name(field) for field in names] for well, names in fields.items()}
        finish_plate(self.path, source, named, name)


def _narrowed(array: NDArray[np.floating], dtype: str) -> NDArray[np.floating]:
    """Return an array as float16 or float32, without an overflow to infinity."""
    if dtype == "float16":
        return np.asarray(np.minimum(array, np.finfo(np.float16).max), np.float16)
    return array.astype(dtype, copy=False)


def _omero(labels: Sequence[str]) -> dict[str, Any]:
    return {"omero": omero(labels, lambda _: _ORANGE, MAP_WINDOW)}


def _label_metadata(name: str, levels: int, space: ngff.Space) -> dict[str, Any]:
    colour = {"label-value": 1, "rgba": [255, 128, 0, 128]}
    image_label = {"colors": [colour], "source": {"image": "../../"}}
    return {"version": "0.5", "multiscales": [multiscale(name, "yx", levels, space)], "image-label": image_label}
