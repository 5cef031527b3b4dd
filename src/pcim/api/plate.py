"""Plates from Python: what a plate holds, and its pixels and maps as labelled arrays that are read when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from dask import array as da
from dask.delayed import delayed

from pcim.campaign.input_tables import read_source
from pcim.config.base import CALL
from pcim.config.fault_messages import nearest
from pcim.core.identity import parse_well
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.plates.inventory import Survey, survey_plate
from pcim.plates.ngff_json import metadata_file, read_json
from pcim.plates.vendors import FORMATS, OMEZARR, read_export

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.core.plate_source import Source


@dataclass(frozen=True, repr=False)
class Plate:
    """A plate that was opened: its metadata is read, its pixels are not. Made by `open_plate`."""

    name: str
    source: Source
    survey: Survey

    def __repr__(self) -> str:
        fields = sum(len(self.fields(well)) for well in self.wells)
        return f"<Plate {self.name}: {len(self.wells)} wells, {fields} fields, channels {self.channels}, labels {self.labels}>"

    @property
    def wells(self) -> list[str]:
        """Names of the wells, ``A01``, in the plate's own order."""
        return list(self.survey.wells)

    @property
    def channels(self) -> list[str]:
        """Channel labels of the first field that can be read; of a plate of maps, method, class and channel."""
        return list(self.survey.channels)

    @property
    def labels(self) -> list[str]:
        """Names of the label images of the first field that can be read."""
        return list(self.survey.labels)

    @property
    def pixel_size_um(self) -> float | None:
        """Height of a pixel of level 0, micrometres; None where it is not given."""
        return self.survey.pixel_size_um

    def fields(self, well: str) -> list[str]:
        """Return the names of a well's fields; raises as `field`."""
        return list(self.survey.wells[self._well(well)][1])

    def path(self, well: str, field: str | None = None) -> str:
        """Return a field's path in the plate, ``A/01/0``; raises as `field`."""
        place, fields = self.survey.wells[self._well(well)]
        names = [name for name in (field, field and ngff.map_name(field), fields[0] if fields else None) if name]
        if field is not None and not {*names[:2]} & {*fields}:
            raise KeyError(f"well {well} of plate {self.name} has no field {field!r}; it has {list(fields)}")
        return f"{place}/{next(name for name in names if name in fields)}"

    def field(self, well: str, field: str | None = None) -> xr.DataArray:
        """Return the pixels of level 0 of a field, as the workflow sees them: (channel, y, x), read when they are computed.

        Coordinates are channel labels, and y and x in micrometres (px where the plate gives no unit: see their ``units``). Depth
        and time are chosen as `open_plate` was told. Of a plate of maps the axes are (layer, channel, y, x): a layer is the explained
        class, ``call`` what the classifier said; values are in units of the view's mean attribution, NaN = not explained.

        Parameters
        ----------
        well
            In any way that a plate map writes it: ``A01``, ``a1``.
        field
            Its name in the source plate; the well's first where none is given.

        Raises
        ------
        KeyError
            When the plate has no such well or field; names those that it has.
        pcim.plates.ngff.NgffError
            When the field's metadata cannot be read; on computing, when its pixels cannot be decoded.
        """
        path = self.path(well, field)
        layers: Sequence[str] = ()
        if self.source.format == OMEZARR:
            image = FieldImage.open(self.source, path)
            labels, shape, dtype, space = image.channels, image.shape, image.dtype, image.layout.space
            read, layers = _reader(image, labels), self._layers(path)
        else:
            read, labels, shape, dtype, space = self._of_export(path)
        planes = [da.from_delayed(delayed(read)(number), shape, dtype) for number in range(len(labels))]
        named = {"plate": self.name, "well": self._well(well), "field": path.rpartition("/")[2]}
        pixels = xr.DataArray(
            da.stack(planes),
            dims=("channel", "y", "x"),
            coords={"channel": labels, **_places(space, shape)},
            attrs=named,
        )
        return _in_layers(pixels, layers) if layers else pixels.rename("intensity")

    def label(self, well: str, field: str | None, name: str) -> xr.DataArray:
        """Return a label image of a field as integers (y, x), 0 = no object, with the coordinates of `field`.

        Raises
        ------
        KeyError
            As `field`.
        pcim.plates.ngff.NgffError
            When there is no such label, or its shape is not the field's.
        """
        if self.source.format != OMEZARR:
            raise ngff.NgffError(
                f"{self.source.address}: an export ({self.source.format}) has no label images; docs/plates.md says how to add them"
            )
        image = FieldImage.open(self.source, self.path(well, field))
        places = _places(image.layout.space, image.shape)
        return xr.DataArray(image.read_label(name), dims=("y", "x"), coords=places, name=name)

    def _well(self, well: str) -> str:
        name = parse_well(well)
        if name not in self.survey.wells:
            raise KeyError(f"plate {self.name} has no well {name}{nearest(name, self.wells)}; it has {self.wells}")
        return name

    def _layers(self, path: str) -> Sequence[str]:
        """Return the layers of a field of maps; none of an image."""
        told = read_json(metadata_file(self.source.place / path)).get("attributes", {}).get("pcim")
        return list(told.get("layers", ())) if isinstance(told, dict) else ()

    def _of_export(self, path: str) -> tuple[Callable[[int], NDArray[Any]], list[str], tuple[int, int], str, ngff.Space]:
        """Return how a channel of an export's field is read, and what `field` says of it."""
        from pcim.plates.vendors.read_planes import read_channel

        export, (row, column, name) = read_export(self.source), path.split("/")
        planes = export.planes_of((row, column, name))
        space = ngff.Space(export.pixel_size_um, unit="micrometer") if export.pixel_size_um else ngff.Space()
        return lambda number: read_channel(export, planes[number]), export.channels, export.shape, export.dtype, space


def open_plate(  # noqa: PLR0913 - the columns of the table of plates
    path: str | Path,
    *,
    name: str = "",
    format: str = OMEZARR,  # noqa: A002 - as the column is called
    z: str | int = "",
    t: str | int = "",
    channels: Sequence[str] = (),
    acquisition: str | int = "",
    fields: Sequence[str] = (),
) -> Plate:
    """Open a plate as the workflow sees it: OME-Zarr 0.4 or 0.5, a vendor's export, or a plate of maps. No pixel is read.

    Parameters
    ----------
    path
        A folder, or an address that begins with ``s3://``, ``http://`` or ``https://``. Nothing is ever written there.
    name
        The plate's name in tables and keys, as in the table of plates; the last part of its path where none is given.
    format
        ``omezarr``, or the format of an export: ``imagexpress``, ``operetta``, ``cellvoyager``, ``tiles``, ``ometiff``.
    z, t
        Which plane of several: a number from 0; for `z` also ``max`` or ``mean``.
    channels
        Labels for fields that carry none.
    acquisition
        Which of several acquisitions.
    fields
        The only fields of each well that are used; all where none is named.

    Raises
    ------
    ValueError
        When a choice is not what is allowed; names all of them.
    pcim.plates.ngff.NgffError
        A ValueError too: when the plate's metadata cannot be read, or is not that of a plate.
    """
    told = {"path": str(path), "format": format, "z": str(z), "t": str(t), "acquisition": str(acquisition)}
    faults: list[str] = []
    source = replace(read_source(told, "open_plate", faults), channels=tuple(channels), fields=tuple(fields))
    name = name or source.name.partition(".")[0]
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        faults.append(f"open_plate: name {name!r}: expected letters, digits, '_' and '-'")
    if faults:
        raise ValueError("; ".join(faults))
    if source.format == OMEZARR:
        try:
            metadata_file(source.place)
        except ngff.NgffError as error:
            raise ngff.NgffError(f"{error}; of an export say which, format=: one of {', '.join(FORMATS[1:])}") from None
    return Plate(name, source, survey_plate(source))


def _reader(image: FieldImage, labels: Sequence[str]) -> Callable[[int], NDArray[Any]]:
    """Return a function that reads one channel (y, x) by number, the others with it only where labels do not tell them apart."""
    if len(set(labels)) == len(labels):
        return lambda number: np.asarray(image.read([labels[number]])[0])
    return lambda number: np.asarray(image.read()[number])


def _places(space: ngff.Space, shape: tuple[int, int]) -> dict[str, Any]:
    """Return where the pixels of a field lie, along y and x."""
    size = space.pixel_size_um
    factor, units = (1.0, "px") if size is None else (size[0] / space.scale[0], "µm")
    scale, origin = ((1.0, 1.0), (0.0, 0.0)) if size is None else (space.scale, space.origin)
    return {
        axis: (axis, (first + step * np.arange(length)) * factor, {"units": units})
        for axis, length, step, first in zip("yx", shape, scale, origin, strict=True)
    }


def _in_layers(maps: xr.DataArray, layers: Sequence[str]) -> xr.DataArray:
    """Return maps (layer and channel, y, x) as (layer, channel, y, x); a channel's label begins with its method and layer."""
    each = maps.sizes["channel"] // len(layers)
    labels = [str(label) for label in maps["channel"].values[:each]]
    own = f" {layers[0]} " if layers[0] != CALL else " "
    stacked = maps.data.reshape(len(layers), each, *maps.shape[1:])
    return xr.DataArray(
        stacked,
        dims=("layer", "channel", "y", "x"),
        coords={
            "layer": list(layers),
            "channel": [label.partition(own)[2] for label in labels],
            "y": maps["y"],
            "x": maps["x"],
        },
        attrs=maps.attrs | {"method": labels[0].partition(own)[0], "units": "mean attribution of the view"},
        name="map",
    )
