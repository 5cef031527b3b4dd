"""Plates of attribution maps beside a source plate: OME-Zarr 0.5, the same wells and fields, one shard a level."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from pcim.plates import ngff
from pcim.plates.colours import MAP
from pcim.plates.ngff_writer import FieldContent, Pyramid, every_second, finish_plate, omero, write_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.core.tiling import Box

MAP_WINDOW = (0.0, 10.0)
"""Display window of every stored map: maps are stored in units of their view's mean, so 1 is an average pixel."""

VIEWS = "views"
_COLOURS = ((255, 128, 0), (0, 114, 178), (204, 121, 167), (0, 158, 115), (240, 228, 66), (86, 180, 233), (213, 94, 0))
"""Of the label's values 1, 2, 3 ...: colours that the colour-blind tell apart (Wong 2011)."""


@dataclass(frozen=True)
class FieldMaps:
    """The maps of one field (layer and channel, y, x), and all that is stored with them.

    `layers` are the targets and the labels of their channels. `label` marks the highest pixels (y, x): bit n is set where layer
    n is high. Arrays `beside` the maps are for computing: they have level 0 only. `views` are the maps of single views, by name,
    where the field's maps are not simply these side by side. float16 ends at 65504: what is higher is stored as that.
    """

    maps: NDArray[np.floating]
    layers: Mapping[str, Sequence[str]]
    label: tuple[str, NDArray[np.uint8]]
    space: ngff.Space
    levels: int = 1
    dtype: str = "float32"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    views: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)

    def content(self, source_field: str) -> FieldContent:
        """Return what is written of them; `source_field` is the path of the field that they explain."""
        names, (label_name, label) = list(self.layers), self.label
        channels = [channel for of_layer in self.layers.values() for channel in of_layer]
        views = {VIEWS: (self._cast(np.stack(list(self.views.values()))), {"views": list(self.views)})} if self.views else {}
        return FieldContent(
            self._pyramid("map", self.maps, channels, self.levels),
            own={"source_field": source_field, "layers": names, **self.provenance},
            beside=[self._pyramid(name, a, _names_beside(name, names, len(a)), 1) for name, a in self.beside.items()],
            labels=[Pyramid(label_name, label, self.space, self.levels, _label_metadata(names), every_second)],
            whole=views,
        )

    def _pyramid(self, name: str, array: NDArray[np.floating], channels: Sequence[str], levels: int) -> Pyramid:
        shown = {"omero": omero(channels, lambda _: MAP, MAP_WINDOW)}
        return Pyramid(name, self._cast(array), self.space, levels, shown)

    def _cast(self, array: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return an array as float16 or float32, without an overflow to infinity."""
        if self.dtype == "float16":
            return np.asarray(np.minimum(array, np.finfo(np.float16).max), np.float16)
        return array.astype(self.dtype, copy=False)


@dataclass(frozen=True)
class AttributionPlate:
    """A plate of attribution maps. Fields are named by their path in the source plate, ``A/01/0``.

    A field appears in one step (it is written under a hidden name and moved); the plate's own metadata comes last.
    """

    path: Path

    def place(self, field: str) -> Path:
        """Return where the maps of a source field lie: its own path where OME-Zarr 0.5 allows that name."""
        well, _, name = field.rpartition("/")
        return self.path / well / ngff.map_name(name)

    def provenance(self, field: str) -> dict[str, Any]:
        """Return what a stored field says of itself; nothing when it is not there (a field appears whole)."""
        try:
            content = json.loads((self.place(field) / "zarr.json").read_bytes())
        except OSError:
            return {}
        return dict(content["attributes"].get("pcim", {}))

    def is_whole(self, field: str) -> bool:
        """Tell whether every array of a stored field can be read: a node that lost its power may have lost what was not on disk yet."""
        try:
            described = {file.parent: json.loads(file.read_bytes()) for file in self.place(field).rglob("zarr.json")}
            arrays = [place for place, content in described.items() if content["node_type"] == "array"]
            for array in arrays:
                if not any(file.stat().st_size for file in (array / "c").rglob("*") if file.is_file()):
                    return False  # a missing chunk would be read as zeros
                np.asarray(zarr.open_array(array, mode="r")[:])  # with its checksum
        except (OSError, ValueError, RuntimeError, KeyError):
            return False
        return bool(arrays)

    def read(self, field: str, name: str = "", *, layer: str = "") -> NDArray[Any]:
        """Read a field's maps (channel, y, x) in one layer, or what is stored beside them as `name`; NaN = not explained.

        The sum over channels is the map; a method that has one map for all channels stores that one. The first layer is the
        one that is scored.

        Raises
        ------
        KeyError
            When the field has no such layer.
        """
        whole = np.asarray(zarr.open_array(self.place(field) / name / "0", mode="r")[:], dtype=np.float32)
        return self._layer_of(whole, field, layer)

    def read_views(self, field: str, boxes: Mapping[str, Box], *, layer: str = "") -> dict[str, NDArray[Any]]:
        """Read the maps (channel, y, x) of views, by name, each of the classifier's size: as scored, not as shown.

        They are stored by themselves where views overlap or were resized; else they are parts of the field's maps.
        """
        own = self.place(field) / VIEWS
        if not own.exists():
            whole = self.read(field, layer=layer)
            return {name: whole[:, *box.slices] for name, box in boxes.items()}
        array = zarr.open_array(own, mode="r")
        stack, names = np.asarray(array[:], np.float32), list(array.attrs["views"])  # type: ignore[arg-type]
        return {name: self._layer_of(stack[names.index(name)], field, layer) for name in boxes}

    def _layer_of(self, stack: NDArray[Any], field: str, layer: str) -> NDArray[Any]:
        """Return a layer's part of arrays (layer and channel, y, x)."""
        layers = list(self.provenance(field)["layers"])
        if layer and layer not in layers:
            raise KeyError(f"{self.place(field)} has no layer {layer!r}; it has {layers}")
        each = len(stack) // len(layers)
        first = each * layers.index(layer) if layer else 0
        return stack[first : first + each]

    def write_field(self, field: str, maps: FieldMaps) -> None:
        """Store the maps of one field."""
        write_field(self.path, self.place(field).relative_to(self.path).as_posix(), maps.content(field))

    def finish(self, source: ngff.PlateLayout, fields: Mapping[str, Sequence[str]], name: str) -> None:
        """Write the metadata of plate, rows and wells for the stored `fields` (well path -> field names of the source)."""
        named = {well: [ngff.map_name(field) for field in names] for well, names in fields.items()}
        finish_plate(self.path, source, named, name)


def _names_beside(name: str, layers: Sequence[str], total: int) -> list[str]:
    """Name the channels of an array beside the maps; a layer is named where there are several."""
    each = total // len(layers)
    return [f"{name} {layer}" if len(layers) > 1 else name for layer in layers for _ in range(each)]


def _label_metadata(layers: Sequence[str]) -> dict[str, Any]:
    """Return what a label says of itself: for each value the layers in which such a pixel is high, and its colour."""
    values = range(1, 2 ** len(layers))
    high = [", ".join(layer for bit, layer in enumerate(layers) if value >> bit & 1) for value in values]
    colours = [{"label-value": v, "rgba": [*_COLOURS[(v - 1) % len(_COLOURS)], 128]} for v in values]
    properties = [{"label-value": v, "layers": names} for v, names in zip(values, high, strict=True)]
    return {"image-label": {"colors": colours, "properties": properties, "source": {"image": "../../"}}}
