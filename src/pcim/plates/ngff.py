"""OME-Zarr metadata of plates, 0.4 and 0.5, read as JSON. No zarr and no pixel is touched.

https://ngff.openmicroscopy.org/0.4/ and /0.5/, "plate", "well", "multiscales", "omero" and "labels" metadata. Plates and wells
are held to the specification's own JSON schemas. Fields are read with the tolerance that real writers need.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcim.core.identity import keyed_number
from pcim.core.plate_source import PROJECTIONS
from pcim.plates.ngff_json import NgffError, attributes, conform, read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcim.core.plate_source import Place

__all__ = [
    "ImageLayout", "NgffError", "PlateLayout", "Space", "WellLayout", "channel_labels", "check_shape", "chosen_plane", "is_plain",
    "map_name", "plate_layout", "read_array", "read_image", "read_labels", "read_plate", "read_well", "well_fields",
]  # fmt: skip

_PART = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9]+")
_V2_TYPES = {
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "i2": "int16",
    "i4": "int32",
    "f4": "float32",
    "f8": "float64",
}
_MOST = {"rows": 26 * 27, "columns": 999, "wells": 10_000, "images": 10_000}
_LONGEST = {"c": 1000, "z": 10_000, "t": 100_000, "y": 1_000_000, "x": 1_000_000}
MAX_READ_BYTES = 2**33
"""What is read of a field at once may be so large: eight channels of 60 depths of 2900 x 2900 px, 16 bits, as a projection reads them."""

_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6}


@dataclass(frozen=True)
class WellLayout:
    """Where a well lies: its row, its column, and its path in the plate, ``A/01``."""

    row: str
    column: str
    path: str


@dataclass(frozen=True)
class PlateLayout:
    """What a plate's metadata says: rows and columns of the grid, the wells that hold images, acquisitions by id."""

    version: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    wells: tuple[WellLayout, ...]


@dataclass(frozen=True)
class Space:
    """Where the pixels of level 0 lie, (y, x): the size of one and the place of the first, in `unit` (empty: none given)."""

    scale: tuple[float, float] = (1.0, 1.0)
    origin: tuple[float, float] = (0.0, 0.0)
    unit: str = ""

    @property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """Height and width of a pixel, micrometres; None where no unit of length is given."""
        factor = _MICROMETRES.get(self.unit)
        return None if factor is None else (self.scale[0] * factor, self.scale[1] * factor)


@dataclass(frozen=True)
class ImageLayout:
    """What a field's metadata says: axes of the arrays, paths of the levels, channels' labels and colours, the space of its pixels."""

    axes: tuple[str, ...]
    levels: tuple[str, ...]
    channels: tuple[str, ...]
    space: Space
    colours: tuple[str, ...] = ()


def read_plate(path: Place) -> PlateLayout:
    """Read a plate's layout and check that it agrees with the specification and with itself.

    Raises
    ------
    NgffError
        When the store is no plate, of another version, or its wells do not agree with its rows and columns.
    """
    version, ome = attributes(path)
    if not isinstance(ome.get("plate"), dict):
        raise NgffError(f"{path}: a zarr group, but not an OME-Zarr plate (no 'plate' metadata)")
    return plate_layout(version, ome, str(path))


def plate_layout(version: str, ome: dict[str, Any], where: str) -> PlateLayout:
    """Return the layout that a plate's OME attributes describe; raises as `read_plate`."""
    if version not in ("0.4", "0.5"):
        raise NgffError(f"{where}: OME-Zarr version {version!r}; read are 0.4 and 0.5")
    _few(ome["plate"], ("rows", "columns", "wells"), where)
    conform("plate", version, ome, where)
    plate = ome["plate"]
    rows = tuple(row["name"] for row in plate["rows"])
    columns = tuple(column["name"] for column in plate["columns"])
    wells = [_place_well(well, rows, columns, version, where) for well in plate["wells"]]
    if len({(well.row, well.column) for well in wells}) < len(wells):
        raise NgffError(f"{where}: a well is listed twice")
    return PlateLayout(version, rows, columns, tuple(wells))


def _few(group: dict[str, Any], names: Sequence[str], where: str) -> None:
    """Refuse lists that are longer than any plate's, before anything looks at their entries."""
    for name in names:
        if isinstance(group.get(name), list) and len(group[name]) > _MOST[name]:
            raise NgffError(f"{where}: {len(group[name])} {name}; at most {_MOST[name]} are read")


def _place_well(well: dict[str, Any], rows: tuple[str, ...], columns: tuple[str, ...], version: str, where: str) -> WellLayout:
    """Return where a well lies; its path and its indices must agree (the path is row/column; 0.4's own suite swaps them)."""
    path, row_index, column_index = well["path"], int(well["rowIndex"]), int(well["columnIndex"])
    if row_index < len(rows) and column_index < len(columns):
        row, column = rows[row_index], columns[column_index]
        if path == f"{row}/{column}" or (version == "0.4" and path == f"{column}/{row}"):
            return WellLayout(row, column, path)
    raise NgffError(f"{where}: well {path!r} does not lie at row {row_index}, column {column_index} of the plate")


def read_well(plate: Place, well: WellLayout, acquisition: int | None = None) -> list[str]:
    """Return the paths of a well's fields, in the well's own order; those of one acquisition where its id is given.

    Raises
    ------
    NgffError
        When the well has no valid 'well' metadata, or has several acquisitions and none is named.
    """
    version, ome = attributes(plate / well.path)
    return well_fields(version, ome, str(plate / well.path), acquisition)


def well_fields(version: str, ome: dict[str, Any], where: str, acquisition: int | None = None) -> list[str]:
    """Return the field paths that a well's OME attributes list; raises as `read_well`."""
    if version not in ("0.4", "0.5") or not isinstance(ome.get("well"), dict):
        raise NgffError(f"{where}: no valid 'well' metadata (OME-Zarr {version or 'without version'})")
    _few(ome["well"], ("images",), where)
    conform("well", version, ome, where)
    images = ome["well"]["images"]
    found = sorted({int(image["acquisition"]) for image in images if "acquisition" in image})
    if acquisition is None and len(found) > 1:
        raise NgffError(f"{where}: acquisitions {found}; name one in the column 'acquisition' of the table of plates")
    names = [str(i["path"]) for i in images if acquisition is None or i.get("acquisition", acquisition) == acquisition]
    bad = [name for name in names if not _PART.fullmatch(name)]
    if bad:
        raise NgffError(f"{where}: field path {bad[0]!r} is not a plain name")
    if len(set(names)) < len(names):
        raise NgffError(f"{where}: a field is listed twice")
    return names


def read_image(image: Place) -> ImageLayout:
    """Read a field's axes, levels, channel labels, and where its pixels lie.

    Raises
    ------
    NgffError
        When it has no valid 'multiscales' metadata or its axes do not end in y, x.
    """
    _, ome = attributes(image)
    try:
        multiscale = ome["multiscales"][0]
        axes = tuple(str(axis["name"]) for axis in multiscale["axes"])
        levels = tuple(str(dataset["path"]) for dataset in multiscale["datasets"])
        transforms = [*multiscale["datasets"][0]["coordinateTransformations"]]
        space = _space(len(axes), [*transforms, *multiscale.get("coordinateTransformations", [])])
        unit = str(multiscale["axes"][-1].get("unit") or "")
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NgffError(f"{image}: no valid 'multiscales' metadata ({error!r:.300})") from error
    known = axes[-2:] == ("y", "x") and set(axes) <= set("tczyx") and len(set(axes)) == len(axes)
    if not known or not levels or not all(_PART.fullmatch(level) for level in levels):
        raise NgffError(f"{image}: axes {axes}, levels {levels}; expected axes that end in y, x and plain level names")
    channels = ome.get("omero", {}).get("channels", []) if isinstance(ome.get("omero", {}), dict) else []
    labels, colours = (
        tuple(str(channel.get(name) or "") for channel in channels if isinstance(channel, dict)) for name in ("label", "color")
    )
    return ImageLayout(axes, levels, labels, Space(*space, unit), colours)


def _space(axes: int, transforms: list[dict[str, Any]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return scale and origin (y, x) after the transformations; 1 and 0 where a writer left numbers that mean nothing."""
    scale, origin = [1.0, 1.0], [0.0, 0.0]
    for transform in transforms:
        values = [float(value) for value in transform.get(transform.get("type", ""), [0.0] * axes)][-2:]
        if transform.get("type") == "scale" and all(math.isfinite(v) and v > 0 for v in values):
            scale = [a * b for a, b in zip(scale, values, strict=True)]
            origin = [a * b for a, b in zip(origin, values, strict=True)]
        elif transform.get("type") == "translation" and all(map(math.isfinite, values)):
            origin = [a + b for a, b in zip(origin, values, strict=True)]
    if not all(math.isfinite(value) and value > 0 for value in scale) or not all(map(math.isfinite, origin)):
        return (1.0, 1.0), (0.0, 0.0)  # their product is beyond any number
    return (scale[0], scale[1]), (origin[0], origin[1])


def channel_labels(own: Sequence[str], given: Sequence[str], count: int) -> list[str]:
    """Return the labels of `count` channels: the field's own, else those given for the plate, else each one's number."""
    for labels in (own, given):
        if len(labels) == count and any(labels):
            return [label or str(number) for number, label in enumerate(labels)]
    return [str(number) for number in range(count)]


def chosen_plane(axis: str, length: int, wanted: str, where: str) -> int | None:
    """Return which plane of a depth or time axis is read, None for a projection of all.

    Raises
    ------
    NgffError
        When there are several and `wanted` names none of them.
    """
    if length == 1 and wanted in ("", "0", *PROJECTIONS):
        return 0
    if wanted in PROJECTIONS and axis == "z":
        return None
    if wanted.isdecimal() and int(wanted) < length:
        return int(wanted)
    allowed = f"a number below {length}" + (" or one of max, mean" if axis == "z" else "")
    raise NgffError(
        f"{where}: axis {axis} has {length} planes and column {axis!r} of the table of plates is {wanted!r}; expected {allowed}"
    )


def read_array(path: Place) -> tuple[tuple[int, ...], str]:
    """Return the shape and data type, ``uint16``, that an array's metadata states.

    Raises
    ------
    NgffError
        When there is no array or its metadata is not of the expected form.
    """
    file = path / ("zarr.json" if (path / "zarr.json").is_file() else ".zarray")
    content = read_json(file)
    try:
        shape = tuple(int(length) for length in content["shape"])
        dtype = str(content["data_type"] if file.name == "zarr.json" else content["dtype"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise NgffError(f"{file}: no valid array metadata ({error!r:.300})") from error
    if len(shape) < 2:  # noqa: PLR2004 - y and x
        raise NgffError(f"{file}: an array of shape {shape}; expected at least y and x")
    return shape, _V2_TYPES.get(dtype.lstrip("<>|="), dtype)


def check_shape(axes: Sequence[str], shape: Sequence[int], where: str) -> None:
    """Refuse a shape that is not one length an axis, or of which a length is none that a microscope makes."""
    if len(shape) != len(axes):
        raise NgffError(f"{where}: axes {tuple(axes)} for an array of shape {tuple(shape)}")
    for axis, length in zip(axes, shape, strict=True):
        if not 1 <= length <= _LONGEST[axis]:
            raise NgffError(f"{where}: axis {axis} is {length} long; expected 1 to {_LONGEST[axis]}")


def read_labels(image: Place) -> list[str]:
    """Return the names of a field's label images, none where it has no labels group."""
    try:
        _, ome = attributes(image / "labels")
    except NgffError:
        return []
    names = ome.get("labels", [])
    found = names[: _MOST["images"]] if isinstance(names, list) else []
    return [name for name in found if isinstance(name, str) and _PART.fullmatch(name)]


def is_plain(name: str) -> bool:
    """Tell whether a name can be one part of a path in a plate: no separator, no leading dot, nothing unprintable, not long."""
    return _PART.fullmatch(name) is not None


def map_name(field: str) -> str:
    """Return a field's path in a plate of maps: its own where OME-Zarr 0.5 allows it, else one made from it.

    ``0`` stays ``0``; ``0_mip`` becomes ``0mip`` and six digits that keep it apart from ``0-mip``.
    """
    if _NAME.fullmatch(field):
        return field
    return re.sub(r"[^A-Za-z0-9]", "", field) + f"{keyed_number(field) % 16**6:06x}"
