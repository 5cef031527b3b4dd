"""Find the plates in a folder: their format and what each holds. Only metadata is read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pcim.config.base import is_name
from pcim.core.plate_source import REMOTE, Source, holds_secret
from pcim.plates.inventory import Survey, survey_plate
from pcim.plates.ngff_json import NgffError, attributes
from pcim.plates.vendors import MARKS, OMEZARR
from pcim.plates.vendors.imagexpress import named_otherwise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DEPTH = 4
"""So many folders down plates are looked for."""


@dataclass(frozen=True)
class FoundPlate:
    """A plate, the name that the campaign gives it, and what it holds."""

    name: str
    source: Source
    survey: Survey

    @property
    def folder(self) -> str:
        """The last part of its address."""
        return self.source.address.rstrip("/").rpartition("/")[2]


def find_plates(place: str) -> Iterator[tuple[str, str]]:
    """Yield (address, format) of every plate at or below a place, in the order of their names; a server is not searched."""
    if place.startswith(REMOTE):
        yield place, OMEZARR
    else:
        yield from _below(Path(place), _DEPTH)


def _below(folder: Path, depth: int) -> Iterator[tuple[str, str]]:
    kind = _format_of(folder)
    if kind is not None:
        yield from [(str(folder), kind)] * bool(kind)
        return
    for child in sorted(folder.iterdir()) if depth and folder.is_dir() and os.access(folder, os.R_OK | os.X_OK) else ():
        if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
            yield from _below(child, depth - 1)


def _format_of(place: Path) -> str | None:
    """Return the format of the plate at a place; empty for a zarr store that is no plate, None where there may be some below."""
    if place.is_file():
        return "ometiff" if place.name.endswith((".ome", ".ome.tif", ".ome.tiff")) else None
    if any((place / name).is_file() for name in ("zarr.json", ".zattrs", ".zgroup")):
        try:
            return OMEZARR if isinstance(attributes(place)[1].get("plate"), dict) else ""
        except NgffError:
            return ""
    found = (kind for kind, marks in MARKS.items() if any(any(place.glob(mark)) for mark in marks))
    return next(found, None) or _by_names(place)


def _by_names(folder: Path) -> str | None:
    """Tell an export without its .HTD, and any other folder whose TIFFs are all named as in one."""
    count, others = named_otherwise(folder)
    return "imagexpress" if count and not others else None


def survey_plates(places: Sequence[str], planes: Source, channels: Sequence[str], faults: list[str]) -> list[FoundPlate]:
    """Return what the plates at or below these places hold.

    `planes` says which planes are used (its address and format are not read); its channel labels hold for plates that have not
    all of `channels` themselves. A plate that cannot be read is a fault.
    """
    found: dict[str, FoundPlate] = {}
    for place in places:
        if holds_secret(place):
            faults.append("--plates: an address with a user, a password or a query; credentials belong in the environment")
            continue
        for address, kind in find_plates(place):
            source = replace(planes, address=address, format=kind, channels=())
            try:
                survey = survey_plate(source)
                if planes.channels and not set(channels) <= set(survey.channels):
                    source = replace(source, channels=planes.channels)
                    survey = survey_plate(source)
            except (NgffError, ValueError, OSError) as error:
                faults.append(f"{address} looks like {kind}: {error}{_flags(str(error))}")
                continue
            name = _name(address, found)
            found[name] = FoundPlate(name, source, survey)
    return list(found.values())


def _flags(error: str) -> str:
    """Name the options that write the columns of the table of plates which an error asks for."""
    asked = [f"--{name}" for name in ("z", "t", "acquisition") if f"column {name!r}" in error]
    return f" (here: {', '.join(asked)})" if asked else ""


def _name(address: str, taken: dict[str, FoundPlate]) -> str:
    """Return a plate's name from the end of its address: letters, digits, '_' and '-', and none twice."""
    stem = re.sub(r"(\.ome)?(\.zarr|\.tiff?)?$|\.companion\.ome$", "", address.rstrip("/").rpartition("/")[2], flags=re.IGNORECASE)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:50] or "plate"
    name = name if is_name(name) else f"plate_{name}"
    number = 2
    while (given := name if number == 2 else f"{name}_{number - 1}") in taken:  # noqa: PLR2004 - the second gets a 2
        number += 1
    return given
