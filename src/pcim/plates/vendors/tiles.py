"""Any folder of TIFF files, described by a ``tiles.csv`` and an ``acquisition_details.toml``.

The format is that of the custom TIFF converter of fractal-uzh-converters: columns ``file_path``, ``row`` and ``column``, then
``fov_name`` and, for each of the axes c, z and t, ``start_*`` (where the file begins, from 0) and ``length_*`` (how many it holds).
Stage positions are not used: a field is one image, so two files for one plane of one field are refused. There any other column is
an attribute of the well: here it is passed over, unless it seems to be one of the format's that is not there.
"""

from __future__ import annotations

import io
import re
import tomllib
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.config.fault_messages import nearest
from pcim.config.yaml_lines import MAX_BYTES
from pcim.core.safe_read import read_bytes, read_table, read_text
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors.export import MAX_INDEX_BYTES, Export, Plane, Room, digest_of, row_letters
from pcim.plates.vendors.safe_tiff import open_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pcim.core.plate_source import Source

_TABLE, _DETAILS = "tiles.csv", "acquisition_details.toml"
REQUIRED = ("file_path", "row", "column")
OPTIONAL = ("fov_name", "start_c", "start_z", "start_t")
"""Columns for plates of several fields, channels, depths or times, where each plane is a file of its own."""

_KNOWN = (*REQUIRED, *OPTIONAL, *(f"{what}_{axis}" for what in ("start", "length") for axis in "xyczt"))
_CALLED = {
    "file_path": "path file filename file_name filepath image image_path",
    "row and column": "well well_name well_id well_position",
    "column": "col",
    "fov_name": "fov field field_id site position view",
    "start_c": "c ch channel channel_id channel_name channel_label wave wavelength wavelength_id",
    "start_z": "z slice plane depth",
    "start_t": "t timepoint time_point frame",
}
_MEANT = {theirs: ours for ours, words in _CALLED.items() for theirs in words.split()}
"""What people call a column -> the format's name: as attributes of wells these would be passed over in silence."""

_MOST_NAMED = 100
_OME_ORDER = re.compile(r'<Pixels[^>]* DimensionOrder="XY([CZT]{3})"')
_SHAPED_AXES = re.compile(r'\{"shape": .*"axes": "([TCZ]*YX)"')  # as tifffile writes it
_MOST_TOLD = 1_000_000  # characters of a description in which the axes are looked for


def read(source: Source) -> Export:
    """Read the folder that holds both files; image paths are relative to it."""
    root = Path(source.address)
    table, details = _read_table(root / _TABLE), _read_details(root / _DETAILS)
    depths = {axis: _ranks(table, f"start_{axis}") for axis in "czt"}
    axes = ""
    room = Room()
    fields: dict[tuple[str, str, str], list[Plane]] = {}
    for line, tile in enumerate(table, 2):
        try:
            row = tile["row"]
            key = (
                row_letters(int(row)) if row.isdecimal() else row,
                str(int(tile["column"])),
                tile.get("fov_name") or "0",
            )
            start = {axis: depths[axis].get(tile.get(f"start_{axis}") or "0", 0) for axis in "czt"}
            length = {axis: int(float(tile.get(f"length_{axis}") or 1)) for axis in "czt"}
        except (ValueError, OverflowError) as error:
            raise NgffError(f"{root / _TABLE}:{line}: {error}") from error
        axes = axes or _axes_of(root / tile["file_path"], details)
        fields.setdefault(key, []).extend(_planes(tile["file_path"], axes, start, length, room))
    size = details.get("pixelsize")
    labels = [c["channel_label"] if isinstance(c, dict) else str(c) for c in details.get("channels") or []]
    raw = [read_bytes(root / name, MAX_INDEX_BYTES) for name in (_TABLE, _DETAILS) if (root / name).is_file()]
    return Export(
        source,
        root,
        digest_of(raw),
        fields,
        dict(enumerate(labels)),
        pixel_size_um=(float(size), float(size)) if size else None,
    )


def _planes(file: str, axes: str, start: Mapping[str, int], length: Mapping[str, int], room: Room) -> Iterator[Plane]:
    """Yield the planes of one file, page by page, in the order of its leading axes."""
    inner = [axis for axis in axes if axis in "czt"]
    total = 1
    for axis in inner:
        total *= length[axis]
    for page in range(room.take(total)):
        place, rest = dict(start), page
        for axis in reversed(inner):
            rest, offset = divmod(rest, length[axis])
            place[axis] += offset
        yield Plane(file, page, place["c"], place["z"], place["t"])


def _read_table(file: Path) -> list[dict[str, str]]:
    try:
        header, lines = read_table(io.StringIO(read_text(file, MAX_INDEX_BYTES), newline=""), file)
        rows = [{name: value.strip() for name, value in zip_longest(header, row[: len(header)], fillvalue="")} for _, row in lines]
    except FileNotFoundError as error:
        raise NgffError(f"{file}: no such file") from error
    except (OSError, ValueError) as error:
        raise NgffError(f"{file}: not readable as a table: {error}") from error
    if faults := [*_faults_of(header), *([] if rows else ["no rows"])]:
        raise NgffError(f"{file}: {'; '.join(faults)}")
    return rows


def _faults_of(header: list[str]) -> Iterator[str]:
    """Yield what is wrong with the names of the columns: those that are missing, and those that mean one that is."""
    if lacking := [name for name in REQUIRED if name not in header]:
        yield f"columns {lacking} are missing; expected {', '.join(REQUIRED)}, and where there are several {', '.join(OPTIONAL)}"
    open_ones = [name for name in _KNOWN if name not in header]
    for name in [name for name in header if name not in _KNOWN][:_MOST_NAMED]:
        plain = re.sub(r"[\s-]+", "_", name.strip().lower())
        ours = plain if plain in open_ones else _MEANT.get(plain, "")
        near = nearest(plain, open_ones, least=0.8)
        if ours.partition(" ")[0] in open_ones:
            yield f"column {name!r:.80} has no meaning here: call it {ours}"
        elif near:
            yield f"column {name!r:.80} has no meaning here{near}"


def _read_details(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file, MAX_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise NgffError(f"{file}: not readable as TOML: {error}") from error


def _ranks(table: list[dict[str, str]], column: str) -> dict[str, int]:
    """Return the place of every value of a column: itself where all are whole numbers, else its rank."""
    texts = {row.get(column) or "0" for row in table}
    try:
        values = {text: float(text) for text in texts}
    except ValueError as error:
        raise NgffError(f"{_TABLE}: {column}: {error}; it counts from 0, and names of channels go elsewhere") from error
    if all(value.is_integer() and value >= 0 for value in values.values()):
        return {text: int(value) for text, value in values.items()}
    rank = {value: number for number, value in enumerate(sorted(set(values.values())))}
    return {text: rank[value] for text, value in values.items()}


def _axes_of(file: Path, details: Mapping[str, Any]) -> str:
    """Return the order of a file's axes: as the details say, else as the first file says, else t, c, z."""
    if details.get("axes"):
        return "".join(str(axis).lower() for axis in details["axes"])
    try:
        with open_tiff(file) as (_, first):  # not its series: of OME-TIFF they are whatever pages and files it names
            told = first.description[:_MOST_TOLD]
    except Exception:  # noqa: BLE001 - decoders raise what they like on broken files, and its own page says what is wrong
        return "tczyx"
    if told.startswith("ImageJ="):
        return "tzcyx"
    order, shaped = _OME_ORDER.match(told[told.find("<Pixels ") :]), _SHAPED_AXES.match(told)
    if order:
        return f"{order[1][::-1]}yx".lower()
    return shaped[1].lower() if shaped else "tczyx"
