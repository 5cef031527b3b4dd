"""Operetta and Opera Phenix (Harmony export): ``Images/Index.idx.xml`` names every image, with its channel and pixel size.

In exports of Harmony 6 the channel's name and pixel size stand in the ``Maps`` instead of with each image.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors.export import Export, Plane, Room, digest_of, elements, row_letters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcim.core.plate_source import Source

_INDEX = "Index.idx.xml"


def read(source: Source) -> Export:
    """Read an export's folder, or its ``Images`` folder."""
    root = Path(source.address)
    images = root / "Images" if (root / "Images" / _INDEX).is_file() else root
    index = images / _INDEX
    fields: dict[tuple[str, str, str], list[Plane]] = {}
    labels: dict[int, str] = {}
    metres: dict[str, float] = {}
    room = Room()
    for _, told, _ in elements(index, "Image"):
        if "URL" not in told:
            continue  # the list of images of a well
        room.take(1)
        number = _add(fields, told, index)
        _note(labels, metres, number, told)
    for attributes, told, _ in elements(index, "Entry"):
        if attributes.get("ChannelID", "").isdecimal():
            _note(labels, metres, int(attributes["ChannelID"]), told)
    plate: Mapping[str, str] = next((told for _, told, _ in elements(index, "Plate") if "PlateRows" in told), {})
    um = (metres["ImageResolutionY"] * 1e6, metres["ImageResolutionX"] * 1e6) if len(metres) > 1 else None
    return Export(
        source,
        images,
        digest_of([index]),
        fields,
        labels,
        rows=int(plate.get("PlateRows", "0")),
        columns=int(plate.get("PlateColumns", "0")),
        pixel_size_um=um,
    )


def _add(fields: dict[tuple[str, str, str], list[Plane]], told: Mapping[str, str], index: Path) -> int:
    """Note one image's plane and return its channel's number."""
    try:
        key = (row_letters(int(told["Row"])), str(int(told["Col"])), str(int(told["FieldID"])))
        number = int(told["ChannelID"])
        plane = Plane(told["URL"], 0, number, int(told["PlaneID"]) - 1, int(told.get("TimepointID", "0")))
    except (KeyError, ValueError) as error:
        raise NgffError(f"{index}: an image without a valid place: {error!r}, {dict(told)}") from error
    fields.setdefault(key, []).append(plane)
    return number


def _note(labels: dict[int, str], metres: dict[str, float], number: int, told: Mapping[str, Any]) -> None:
    """Note a channel's name and the pixel size, in metres, where they stand."""
    if told.get("ChannelName"):
        labels.setdefault(number, told["ChannelName"])
    for name in ("ImageResolutionX", "ImageResolutionY"):
        try:
            metres.setdefault(name, float(told[name]))
        except (KeyError, ValueError):
            continue
