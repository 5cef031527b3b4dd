"""OME-TIFF: a plate whose OME-XML says which image is which well and field, and which page of which file is which plane.

https://docs.openmicroscopy.org/ome-model/latest/developers/screen-plate-well.html
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree as ET  # noqa: N817 - its usual name

from pcim.core.safe_read import read_text
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors.export import MAX_INDEX_BYTES, Export, Plane, Room, digest_of, row_letters
from pcim.plates.vendors.safe_tiff import open_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from pcim.core.plate_source import Source

MAX_TAGS = 4_000_000  # two for each plane that is read; each takes far more memory than its text
_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6, "pm": 1e-6}


def read(source: Source) -> Export:
    """Read one OME-TIFF file, a ``*.companion.ome``, or the folder that holds one of them (or the several files of one plate)."""
    file, text = _ome_xml(Path(source.address))
    room = Room()
    if text.count("<") > MAX_TAGS:
        raise NgffError(f"{file}: OME-XML of more than {MAX_TAGS:,} tags")
    try:
        tree = ET.parse(io.StringIO(text), forbid_dtd=True).getroot()
    except (ValueError, SyntaxError) as error:
        raise NgffError(f"{file}: not readable as OME-XML: {error!r:.200}") from error
    images = {image.get("ID", ""): image for image in _all(tree, "Image")}
    plates = list(_all(tree, "Plate"))
    if len(plates) != 1:
        raise NgffError(f"{file}: {len(plates)} plates in its OME-XML; expected one (a folder of single images: tiles.csv)")
    plate = plates[0]
    fields: dict[tuple[str, str, str], list[Plane]] = {}
    first: Element | None = None
    for well in _all(plate, "Well"):
        row, column = row_letters(int(well.get("Row", "0")) + 1), str(int(well.get("Column", "0")) + 1)
        for number, sample in enumerate(_all(well, "WellSample")):
            for reference in _all(sample, "ImageRef"):
                image = images.get(reference.get("ID", ""))
                if image is None:
                    raise NgffError(f"{file}: well {row}{column} names image {reference.get('ID')!r}, which is not there")
                first = image if first is None else first
                fields[row, column, str(number)] = list(_planes(image, file.name, room))
    labels, size = _looks(first)
    return Export(
        source, file.parent, digest_of([text]), fields, labels,
        rows=int(plate.get("Rows", "0")), columns=int(plate.get("Columns", "0")), pixel_size_um=size,
    )  # fmt: skip


def _ome_xml(path: Path) -> tuple[Path, str]:
    """Return the file that holds the OME-XML, and the text."""
    if path.is_dir():
        found = sorted(path.glob("*.companion.ome")) or sorted(path.glob("*.ome.tif*"))
        if not found:
            raise NgffError(f"{path}: neither *.companion.ome nor *.ome.tif in this folder")
        path = found[0]
    try:
        if path.suffix == ".ome":
            return path, read_text(path, MAX_INDEX_BYTES)
        with open_tiff(path) as (opened, first):
            length = first.tags["ImageDescription"].count if opened.is_ome else 0
            text = first.description if 0 < length <= MAX_INDEX_BYTES else ""
    except FileNotFoundError as error:
        raise NgffError(f"{path}: no such file") from error
    except NgffError:
        raise
    except (OSError, ValueError) as error:
        raise NgffError(f"{path}: not readable as OME-TIFF: {error}") from error
    if not text:
        raise NgffError(f"{path}: a TIFF without OME-XML, or with more than {MAX_INDEX_BYTES} bytes of it")
    return path, text


def _planes(image: Element, own_file: str, room: Room) -> Iterator[Plane]:
    """Yield the planes of an image: its TiffData elements, each a run of pages in the image's order of dimensions."""
    pixels = next(_all(image, "Pixels"))
    sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "CZT"}
    order = [axis for axis in pixels.get("DimensionOrder", "XYCZT") if axis in "CZT"]
    for block in _all(pixels, "TiffData"):
        name = next((uuid.get("FileName") for uuid in _all(block, "UUID")), None) or own_file
        place = {axis: int(block.get(f"First{axis}", "0")) for axis in "CZT"}
        page = int(block.get("IFD", "0"))
        bare = "IFD" not in block.attrib and "PlaneCount" not in block.attrib
        count = sizes["C"] * sizes["Z"] * sizes["T"] if bare else int(block.get("PlaneCount", "1"))
        for offset in range(room.take(count)):
            yield Plane(name, page + offset, place["C"], place["Z"], place["T"])
            for axis in order:
                place[axis] += 1
                if place[axis] < sizes[axis]:
                    break
                place[axis] = 0


def _looks(image: Element | None) -> tuple[dict[int, str], tuple[float, float] | None]:
    """Return the channels' names and the pixel size, micrometres, of an image."""
    if image is None:
        return {}, None
    pixels = next(_all(image, "Pixels"))
    labels = {number: channel.get("Name", "") for number, channel in enumerate(_all(pixels, "Channel"))}
    sizes = [(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm")) for a in "YX"]
    um = [float(value) * _UM[unit] for value, unit in sizes if value and unit in _UM]
    return labels, (um[0], um[1]) if len(um) == len(sizes) else None


def _all(element: Any, tag: str) -> Iterator[Element]:
    """Yield the elements of that name below an element, whatever their namespace."""
    for child in element.iter():
        if child.tag.rpartition("}")[2] == tag:
            yield child
