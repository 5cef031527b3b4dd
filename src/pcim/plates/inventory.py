"""What a plate holds by its metadata alone: wells, fields, channels, labels, the size of a field. No pixel is read."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pcim.core.identity import well_name
from pcim.core.safe_read import read_bytes
from pcim.plates import ngff
from pcim.plates.ngff_json import MAX_JSON_BYTES, metadata_file
from pcim.plates.vendors import OMEZARR, read_export

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pcim.core.plate_source import Source
    from pcim.plates.vendors.export import Export


_ELSEWHERE = 4


@dataclass(frozen=True)
class Survey:
    """What a plate's metadata says. `wells` is well name -> its path in the plate and its fields' names, in plate order.

    `channels`, `labels`, `shape` (height, width, px), `dtype` and `pixel_size_um` (None: not given) are those of the first field
    that can be read.
    """

    digest: str
    wells: Mapping[str, tuple[str, tuple[str, ...]]]
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    shape: tuple[int, int]
    dtype: str
    pixel_size_um: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Survey:
        """Read it from its plain form."""
        wells = {well: (str(path), tuple(fields)) for well, (path, fields) in told["wells"].items()}
        height, width = told["shape"]
        names = {name: tuple(told[name]) for name in ("channels", "labels")}
        size = told["pixel_size_um"]
        return cls(told["digest"], wells, **names, shape=(height, width), dtype=told["dtype"], pixel_size_um=size)


def metadata_digest(source: Source) -> str:
    """Return a digest of the one metadata file that says which wells a plate has.

    Raises
    ------
    ngff.NgffError
        When it is not there.
    """
    if source.format != OMEZARR:
        return read_export(source).digest
    file = metadata_file(source.place)
    try:
        return hashlib.sha256(read_bytes(file, MAX_JSON_BYTES)).hexdigest()
    except ValueError as error:
        raise ngff.NgffError(f"{file}: {error}") from error


def survey_plate(source: Source) -> Survey:
    """Read a plate's metadata.

    Raises
    ------
    ngff.NgffError
        When the plate, or every field that could stand for it, is not what it should be. A well that cannot be read counts
        as one field: ingest says what is wrong with it.
    """
    if source.format != OMEZARR:
        export = read_export(source)
        _choose_planes(export)
        wells = {well: (path, tuple(fields)) for well, (path, fields) in export.wells.items()}
        size = export.pixel_size_um[0] if export.pixel_size_um else None
        return Survey(export.digest, wells, tuple(export.channels), (), export.shape, export.dtype, size)
    layout = ngff.read_plate(source.place)
    if not layout.wells:
        raise ngff.NgffError(f"{source.address}: a plate without wells")
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    faults: list[ngff.NgffError] = []
    for well in layout.wells:
        name = well_name(well.row, well.column)
        if name in found:
            raise ngff.NgffError(f"{source.address}: wells {found[name][0]!r} and {well.path!r} are both {name}")
        try:
            fields = ngff.read_well(source.place, well, source.wanted_acquisition)
        except ngff.NgffError as error:
            faults.append(error)
            fields = ["0"]
        found[name] = (well.path, tuple(f for f in fields if not source.fields or f in source.fields))
    firsts = [f"{path}/{names[0]}" for path, names in found.values() if names]
    for field in firsts if len(faults) < len(layout.wells) else ():
        try:
            return _with_first_field(source, found, field)
        except ngff.NgffError as error:
            faults.append(error)
    raise faults[0] if faults else ngff.NgffError(f"{source.address}: no well has a field {list(source.fields)}")


def survey_elsewhere(source: Source, survey: Survey) -> Iterator[Survey]:
    """Yield what a few other fields of an OME-Zarr plate say, for one whose first field is odd; of an export the commonest is told."""
    fields = [f"{path}/{name}" for path, names in survey.wells.values() for name in names][1:]
    for field in fields[:: max(1, len(fields) // _ELSEWHERE)] if source.format == OMEZARR else ():
        with contextlib.suppress(ngff.NgffError):
            yield _with_first_field(source, survey.wells, field)


def _choose_planes(export: Export) -> None:
    """Refuse an export of which no field has all its channels at the chosen depth and time."""
    faults = []
    for key in export.fields:
        try:
            export.planes_of(key)
        except ngff.NgffError as error:
            faults.append(f"{export.source.address}: field {'/'.join(key)}: {error}")
        else:
            return
    raise ngff.NgffError(faults[0])


def _with_first_field(source: Source, wells: Mapping[str, tuple[str, tuple[str, ...]]], field: str) -> Survey:
    image = ngff.read_image(source.place / field)
    shape, dtype = ngff.read_array(source.place / field / image.levels[0])
    ngff.check_shape(image.axes, shape, str(source.place / field))
    lengths = dict(zip(image.axes, shape, strict=True))
    for axis, wanted in (("z", source.z), ("t", source.t)):
        ngff.chosen_plane(axis, lengths.get(axis, 1), wanted, str(source.place / field))
    size = image.space.pixel_size_um
    return Survey(
        metadata_digest(source),
        wells,
        tuple(ngff.channel_labels(image.channels, source.channels, lengths.get("c", 1))),
        tuple(ngff.read_labels(source.place / field)),
        (shape[-2], shape[-1]),
        dtype,
        size[0] if size else None,
    )


def fields_of(store: Source) -> tuple[list[tuple[ngff.WellLayout, str]], dict[ngff.WellLayout, str]]:
    """Return the plate's fields as (well, field), and the wells whose metadata cannot be read with the reason."""
    keys, broken = [], {}
    for well in ngff.read_plate(store.place).wells:
        try:
            fields = ngff.read_well(store.place, well, store.wanted_acquisition)
        except (ngff.NgffError, OSError) as error:
            broken[well] = str(error)
            continue
        keys += [(well, field) for field in fields if not store.fields or field in store.fields]
    return keys, broken
