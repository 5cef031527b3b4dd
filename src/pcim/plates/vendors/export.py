"""What every vendor's export comes down to: the planes of each field, the channels, the grid of the plate."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import defusedxml.ElementTree as ET  # noqa: N817 - its usual name

from pcim.core.identity import well_name, well_order
from pcim.core.plate_source import PROJECTIONS
from pcim.core.safe_read import check_file
from pcim.plates.ngff import is_plain
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors.decode import page_looks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcim.core.plate_source import Source

PROJECTED = -1
"""`Plane.z` of a projection that the microscope's own software made."""

MAX_XML_BYTES = 512_000_000
"""An index that is read element by element: ten times that of a plate of 1536 wells, 9 fields and 5 channels."""

MAX_TAG_BYTES, MAX_ELEMENT_BYTES = 1_000_000, 4_000_000
"""Of such an index: a tag or text, and an element that is looked at, with all that is in it."""

MAX_INDEX_BYTES = 64_000_000
"""An index that is read as a whole."""

MAX_PLANES = 2_000_000
MAX_CHANNELS = 1000
_MOST_ROWS, _MOST_COLUMNS = 26 * 27, 999
_LOOKED_AT = 9
MAX_DEPTH = 64


@dataclass(frozen=True)
class Plane:
    """One plane of a field: which page of which file, relative to the export, holds which channel, depth and time."""

    file: str
    page: int = 0
    channel: int = 1
    z: int = 0
    t: int = 0


@dataclass
class Export:
    """A vendor's plate: (row, column, field) -> planes, channel number -> label, and the names of all rows and columns."""

    source: Source
    root: Path
    digest: str
    fields: dict[tuple[str, str, str], list[Plane]]
    labels: dict[int, str]
    rows: int = 0
    columns: int = 0
    pixel_size_um: tuple[float, float] | None = None

    def check(self) -> Export:
        """Return the export, or refuse it: nothing in it, files outside it, or labels that are not one a channel."""
        if not self.fields:
            raise NgffError(f"{self.source.address}: no image of a well in this {self.source.format} export")
        if len(self.numbers) > MAX_CHANNELS:
            raise NgffError(f"{self.source.address}: {len(self.numbers)} channels; at most {MAX_CHANNELS} are read")
        if not (0 <= self.rows <= _MOST_ROWS and 0 <= self.columns <= _MOST_COLUMNS):
            raise NgffError(
                f"{self.source.address}: {self.rows} rows and {self.columns} columns; a plate has up to {_MOST_ROWS} and {_MOST_COLUMNS}"
            )
        for row, column, name in self.fields:
            well_name(row, column)
            if not is_plain(name):
                raise NgffError(f"{self.source.address}: field {name!r:.200} is not a plain name")
        wanted = self.source.channels
        if wanted and (len(wanted) != len(self.numbers) or len(set(wanted)) < len(wanted)):
            raise NgffError(f"{self.source.address}: channels {list(wanted)} for the {len(self.numbers)} channels {self.own_labels}")
        root = self.root.resolve()
        for name in {plane.file for planes in self.fields.values() for plane in planes}:
            if not (self.root / name).resolve().is_relative_to(root):
                raise NgffError(f"{self.source.address}: {name!r} lies outside the export")
        return self

    @cached_property
    def numbers(self) -> list[int]:
        """The numbers of the channels that have at least one plane, in order."""
        return sorted({plane.channel for planes in self.fields.values() for plane in planes})

    @cached_property
    def own_labels(self) -> list[str]:
        """The vendor's labels, made distinct by their numbers where they are not."""
        labels = [self.labels.get(number) or f"C{number:02d}" for number in self.numbers]
        return [label if labels.count(label) == 1 else f"{label} {n}" for n, label in zip(self.numbers, labels, strict=True)]

    @property
    def channels(self) -> list[str]:
        """Channel labels: those of the table of plates, else the vendor's."""
        return list(self.source.channels) or self.own_labels

    @cached_property
    def wells(self) -> dict[str, tuple[str, list[str]]]:
        """Well name -> path in the plate and field names, in plate order."""
        found: dict[str, tuple[str, list[str]]] = {}
        for row, column, name in self.fields:
            if not self.source.fields or name in self.source.fields:
                found.setdefault(well_name(row, column), (f"{row}/{column}", []))[1].append(name)
        for _, names in found.values():
            names.sort(key=lambda name: (len(name), name))
        return {well: found[well] for well in sorted(found, key=well_order)}

    @cached_property
    def looks(self) -> tuple[tuple[int, int], str]:
        """Shape (height, width) and data type of the commonest of a few files, spread over the plate.

        Raises
        ------
        NgffError
            When none of them can be opened.
        """
        planes = [planes[0] for _, planes in sorted(self.fields.items()) if planes]
        seen: Counter[tuple[tuple[int, int], str]] = Counter()
        reason = ""
        for plane in planes[:: max(1, len(planes) // _LOOKED_AT)]:
            try:
                seen[page_looks(self.root / plane.file, plane.page)] += 1
            except Exception as error:  # noqa: BLE001 - decoders raise what they like on broken files: it is the reason
                reason = reason or f"{self.root / plane.file}: {error}"
        if not seen:
            raise NgffError(f"{self.source.address}: no image can be opened; {reason}")
        return seen.most_common(1)[0][0]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a field, px."""
        return self.looks[0]

    @property
    def dtype(self) -> str:
        """Data type of the pixels."""
        return self.looks[1]

    def planes_of(self, key: tuple[str, str, str]) -> list[list[Plane]]:
        """Return, for each channel, the planes that make it: one, or those that are projected.

        Raises
        ------
        NgffError
            When a channel has no plane, or several of which the table of plates does not choose.
        """
        return [self._choose_planes([p for p in self.fields[key] if p.channel == number], number) for number in self.numbers]

    def _choose_planes(self, planes: list[Plane], number: int) -> list[Plane]:
        label = self.channels[self.numbers.index(number)]
        times = sorted({plane.t for plane in planes})
        if self.source.t:
            planes = [plane for plane in planes if plane.t == int(self.source.t)]
        elif len(times) > 1:
            raise NgffError(f"time points {times}; name one in the column 't' of the table of plates")
        depths = sorted({plane.z for plane in planes if plane.z != PROJECTED})
        if self.source.z in PROJECTIONS:
            chosen = [p for p in planes if p.z != PROJECTED] or planes
        elif self.source.z:
            chosen = [plane for plane in planes if plane.z == int(self.source.z)]
        else:
            chosen = [plane for plane in planes if plane.z == PROJECTED] or planes
            if len({plane.z for plane in chosen}) > 1:
                raise NgffError(f"{len(depths)} depths {depths[:5]}; name one, max or mean in the column 'z'")
        if not chosen:
            wanted = {name: value for name, value in (("z", self.source.z), ("t", self.source.t)) if value}
            raise NgffError(f"channel {label!r} has no image" + (f" at {wanted}" if wanted else ""))
        if len({(p.z, p.t) for p in chosen}) < len(chosen):
            raise NgffError(f"channel {label!r} has two images of one plane: {chosen[0].file}, {chosen[1].file}")
        return sorted(chosen, key=lambda plane: plane.z)


def digest_of(texts: Sequence[str | bytes | Path]) -> str:
    """Return a digest of an index: its bytes, those of a file, or the names of the files that are the index."""
    digest = hashlib.sha256()
    for text in texts:
        if isinstance(text, Path):
            with text.open("rb") as stream:
                while piece := stream.read(2**20):
                    digest.update(piece)
        else:
            digest.update(text if isinstance(text, bytes) else text.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def row_letters(number: int) -> str:
    """Return a row's letters for its number from 1: 1 is A, 27 is AA.

    Raises
    ------
    ValueError
        When there is no such row.
    """
    if not 1 <= number <= 26 * 27:
        raise ValueError(f"row {number}: expected 1 to {26 * 27}")
    first, last = divmod(number - 1, 26)
    return (chr(64 + first) if first else "") + chr(65 + last)


def elements(file: Path, tag: str) -> Iterator[tuple[Mapping[str, str], Mapping[str, str], str]]:
    """Yield (attributes, children's texts, own text) of every element of that name, namespaces left out; one at a time.

    Entities, DTDs and external references are refused (defusedxml): a bomb is an error, not a hang.

    Raises
    ------
    NgffError
        When the file is not there, not XML, hostile, or too large.
    """
    try:
        check_file(file, MAX_XML_BYTES)
        with file.open("rb") as opened:
            yield from _elements(_Pieces(opened), tag)
    except NgffError:
        raise
    except FileNotFoundError as error:
        raise NgffError(f"{file}: no such file") from error
    except (OSError, ValueError, SyntaxError) as error:  # ParseError is a SyntaxError, defusedxml's are ValueErrors
        raise NgffError(f"{file}: not readable as XML: {error!r:.200}") from error


def _elements(pieces: _Pieces, tag: str) -> Iterator[tuple[Mapping[str, str], Mapping[str, str], str]]:
    above: list[Any] = []
    wanted = begun = 0
    for event, element in ET.iterparse(pieces, events=("start", "end"), forbid_dtd=True):
        is_one = _local(element.tag) == tag
        if event == "start":
            above.append(element)
            begun = begun if wanted else pieces.taken
            wanted += is_one
            if len(above) > MAX_DEPTH or (wanted and pieces.taken - begun > MAX_ELEMENT_BYTES):
                raise ValueError(f"elements more than {MAX_DEPTH} deep, or one of more than {MAX_ELEMENT_BYTES:,} bytes")
            continue
        above.pop()
        wanted -= is_one
        if is_one:
            children = {_local(child.tag): (child.text or "").strip() for child in element}
            attributes = {_local(name): value for name, value in element.attrib.items()}
            yield attributes, children, (element.text or "").strip()
        if above and not wanted:
            above[-1].remove(element)  # nothing is kept of what was looked at: memory does not grow with the file


@dataclass
class _Pieces:
    """A file of XML as a parser reads it, of which no tag and no text is longer than `MAX_TAG_BYTES`: each is held in memory as a whole."""

    stream: BinaryIO
    taken: int = 0
    bare: int = 0

    def read(self, size: int = 2**16) -> bytes:
        """Return the next bytes; raises ValueError where too many have begun no tag."""
        piece = self.stream.read(size)
        last = piece.rfind(b"<")
        self.taken += len(piece)
        self.bare = self.bare + len(piece) if last < 0 else len(piece) - last
        if self.bare > MAX_TAG_BYTES:
            raise ValueError(f"a tag or text of more than {MAX_TAG_BYTES:,} bytes")
        return piece


@dataclass
class Room:
    """How many planes an index may still claim: a few words of it may claim any number."""

    left: int = MAX_PLANES

    def take(self, count: int) -> int:
        """Return `count`, taken from what is left; raises NgffError where that is not enough."""
        self.left -= max(count, 0)
        if self.left < 0:
            raise NgffError(f"more than {MAX_PLANES:,} planes")
        return count


def _local(name: str) -> str:
    return name.rpartition("}")[2]
