"""OME-Zarr metadata of plates, 0.4 and 0.5, read as JSON: no zarr and no pixel is touched.

https://ngff.openmicroscopy.org/0.4/ and /0.5/, "plate", "well", "multiscales", "omero" and "labels" metadata.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9]+")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*")
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6}


class NgffError(ValueError):
    """A store that is not what it should be; the message says where and what was expected."""


@dataclass(frozen=True)
class WellLayout:
    """Where a well lies: its row, its column, and its path in the plate, ``A/01``."""

    row: str
    column: str
    path: str


@dataclass(frozen=True)
class PlateLayout:
    """What a plate's metadata says: rows and columns of the grid, and the wells that hold images."""

    version: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    wells: tuple[WellLayout, ...]


@dataclass(frozen=True)
class ImageLayout:
    """What a field's metadata says: axes of the arrays, paths of the levels, channel labels, pixel size.

    `pixel_size_um` is (height, width) of a pixel in micrometres, or None where no unit is given.
    """

    axes: tuple[str, ...]
    levels: tuple[str, ...]
    channels: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None


def metadata_file(group: Path) -> Path:
    """Return the file that holds a group's attributes: ``zarr.json`` (0.5) or ``.zattrs`` (0.4).

    Raises
    ------
    NgffError
        When the folder has neither.
    """
    for name in ("zarr.json", ".zattrs"):
        if (group / name).is_file():
            return group / name
    raise NgffError(
        f"{group}: not a zarr group (neither zarr.json nor .zattrs)" if group.exists() else f"{group}: no such folder"
    )


def attributes(group: Path) -> tuple[str, dict[str, Any]]:
    """Return the OME-Zarr version and the OME attributes of a group.

    Raises
    ------
    NgffError
        When the folder is no zarr group or its metadata is not JSON of the expected form.
    """
    file = metadata_file(group)
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise NgffError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise NgffError(f"{file}: expected a JSON object")
    if file.name == ".zattrs":
        return "0.4", content
    ome = content.get("attributes", {}).get("ome") if isinstance(content.get("attributes", {}), dict) else None
    if not isinstance(ome, dict):
        return "0.5", {}
    return str(ome.get("version", "")), ome


def read_plate(path: Path) -> PlateLayout:
    """Read a plate's layout and check that it agrees with itself.

    Raises
    ------
    NgffError
        When the store is no plate, of another version, or its wells do not agree with its rows and columns.
    """
    version, ome = attributes(path)
    plate = ome.get("plate")
    if not isinstance(plate, dict):
        raise NgffError(f"{path}: a zarr group, but not an OME-Zarr plate (no 'plate' metadata)")
    if version not in ("0.4", "0.5"):
        raise NgffError(f"{path}: OME-Zarr version {version!r}; read are 0.4 and 0.5")
    try:
        rows = tuple(str(row["name"]) for row in plate["rows"])
        columns = tuple(str(column["name"]) for column in plate["columns"])
        entries = [(str(well["path"]), int(well["rowIndex"]), int(well["columnIndex"])) for well in plate["wells"]]
    except (KeyError, TypeError, ValueError) as error:
        raise NgffError(f"{path}: plate metadata without valid rows, columns and wells ({error!r})") from error
    wells = []
    for well_path, row_index, column_index in entries:
        row, _, column = well_path.partition("/")
        in_grid = 0 <= row_index < len(rows) and 0 <= column_index < len(columns)
        if (
            not in_grid
            or (rows[row_index], columns[column_index]) != (row, column)
            or not _NAME.fullmatch(row + column)
        ):
            raise NgffError(
                f"{path}: well {well_path!r} does not lie at row {row_index}, column {column_index} of the plate"
            )
        wells.append(WellLayout(row, column, well_path))
    if len({well.path for well in wells}) < len(wells):
        raise NgffError(f"{path}: a well is listed twice")
    return PlateLayout(version, rows, columns, tuple(wells))


def read_well(plate: Path, well: WellLayout) -> list[str]:
    """Return the paths of a well's fields, in the well's own order.

    Raises
    ------
    NgffError
        When the well has no valid 'well' metadata.
    """
    _, ome = attributes(plate / well.path)
    try:
        names = [str(image["path"]) for image in ome["well"]["images"]]
    except (KeyError, TypeError) as error:
        raise NgffError(f"{plate / well.path}: no valid 'well' metadata ({error!r})") from error
    bad = [name for name in names if not _PART.fullmatch(name)]
    if bad:
        raise NgffError(f"{plate / well.path}: field path {bad[0]!r} is not a plain name")
    return names


def read_image(image: Path) -> ImageLayout:
    """Read a field's axes, levels, channel labels and pixel size.

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
        units = [axis.get("unit") for axis in multiscale["axes"]]
        scale = [float(v) for v in multiscale["datasets"][0]["coordinateTransformations"][0].get("scale", [])]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise NgffError(f"{image}: no valid 'multiscales' metadata ({error!r})") from error
    if axes[-2:] != ("y", "x") or not levels or not all(_PART.fullmatch(level) for level in levels):
        raise NgffError(f"{image}: axes {axes}, levels {levels}; expected axes that end in y, x and plain level names")
    channels = ome.get("omero", {}).get("channels", []) if isinstance(ome.get("omero", {}), dict) else []
    labels = tuple(str(channel.get("label", "")) for channel in channels if isinstance(channel, dict))
    known = len(scale) == len(axes) and all(unit in _MICROMETRES for unit in units[-2:])
    size = (scale[-2] * _MICROMETRES[units[-2]], scale[-1] * _MICROMETRES[units[-1]]) if known else None
    return ImageLayout(axes, levels, labels, size)


def read_labels(image: Path) -> list[str]:
    """Return the names of a field's label images, none where it has no labels group."""
    try:
        _, ome = attributes(image / "labels")
    except NgffError:
        return []
    names = ome.get("labels", [])
    return (
        [name for name in names if isinstance(name, str) and _PART.fullmatch(name)] if isinstance(names, list) else []
    )
