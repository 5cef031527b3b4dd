"""Compare the pixels of the plates with those that were ingested, and let a rerun redo what changed.

Source plates count as immutable, so nobody looks at their pixels again unless asked; this looks at every one of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from pcim.campaign.layout import lock_of_run, results_of, table_of
from pcim.config.fault_messages import nearest
from pcim.core.identity import well_name
from pcim.plates.field_image import FieldImage
from pcim.plates.inventory import fields_of
from pcim.plates.quality import digest_pixels
from pcim.plates.vendors import OMEZARR, read_export
from pcim.plates.vendors.read_planes import read_channel
from pcim.runtime.locks import hold_results
from pcim.runtime.progress import progress_bar
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pcim.campaign.campaign import Campaign
    from pcim.core.plate_source import Source

FORM = 1
ChangeKind = Literal["changed", "new", "missing"]


@dataclass(frozen=True)
class Difference:
    """A field that is not what was ingested: `kind`, and in words what is different."""

    plate: str
    well: str
    field: str
    path: str
    kind: ChangeKind
    why: str


@dataclass(frozen=True)
class PlateScan:
    """What became of one plate: ``same``, ``changed``, ``not ingested`` (nothing to compare with) or ``unreadable`` (and `why`)."""

    plate: str
    state: Literal["same", "changed", "not ingested", "unreadable"]
    fields: int = 0
    differences: list[Difference] = field(default_factory=list)
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def fields_table(campaign: str, plate: str) -> Path:
    """Return where a plate's table of fields lies."""
    return table_of(results_of(campaign), "ingest", plate=plate)


def scan_campaign(campaign: Campaign, names: Sequence[str], workers: int) -> list[PlateScan]:
    """Compare the named plates, or all, with what was ingested; a bar on stderr tells how far that is.

    Raises
    ------
    ValueError
        When a name is no plate of the campaign.
    """
    unknown = [name for name in names if name not in campaign.plates]
    if unknown:
        raise ValueError(f"plates {unknown} are not in {campaign.config.plates}{nearest(unknown[0], list(campaign.plates))}")
    chosen = list(names) or list(campaign.plates)
    survey = {plate: campaign.plans[plate].survey for plate in chosen}
    total = sum(len(fields) for plate in chosen for _, fields in survey[plate].wells.values())
    with progress_bar(total, "rescan", "field") as bar:
        return [
            scan_plate(plate, campaign.plates[plate].source, fields_table(campaign.name, plate), workers, bar.update) for plate in chosen
        ]


def scan_plate(plate: str, source: Source, table: Path, workers: int, tick: Callable[[], Any]) -> PlateScan:
    """Compare every pixel of a plate with the digests in its table of fields; `tick` is called once a field.

    A plate of which nothing can be read is taken for one that is out of reach, not for one that changed.
    """
    if not table.exists():
        return PlateScan(plate, "not ingested")
    try:
        names = ["path", "well", "field", "channels", "digests"]
        known = {row["path"]: row for row in rows_of(pd.read_parquet(table, columns=names))}
        present, read = _reader(source)
    except (OSError, ValueError) as error:
        return PlateScan(plate, "unreadable", why=str(error))

    def digests_now(path: str) -> tuple[list[str], str]:
        try:
            found = read(path), ""
        except Exception as error:  # noqa: BLE001 - decoders raise what they like on broken files: it is the field's reason
            found = [], str(error) or type(error).__name__
        tick()
        return found

    with ThreadPoolExecutor(workers) as pool:
        now = dict(zip(present, pool.map(digests_now, present), strict=True))
    had_pixels = [path for path, row in known.items() if len(row["digests"])]
    if had_pixels and not any(now[path][0] for path in had_pixels if path in now):
        why = next((why for _, why in now.values() if why), "no field of it is there")
        return PlateScan(plate, "unreadable", len(now), why=f"no pixel of {source.address} can be read: {why}")
    differences = [found for path in {**known, **now} if (found := _difference(plate, path, known, now, present))]
    return PlateScan(plate, "changed" if differences else "same", len(now), differences)


def _reader(source: Source) -> tuple[dict[str, tuple[str, str]], Callable[[str], list[str]]]:
    """Return the fields of a plate now, path -> well and field, and what gives the digests of a field's channels."""
    if source.format == OMEZARR:
        keys, _ = fields_of(source)
        named = {f"{well.path}/{name}": (well_name(well.row, well.column), name) for well, name in keys}
        return named, lambda path: [digest_pixels(plane) for plane in FieldImage.open(source, path).read()]
    export = read_export(source)
    of_path = {"/".join(key): key for key in export.fields if not source.fields or key[2] in source.fields}
    named = {path: (well_name(row, column), name) for path, (row, column, name) in of_path.items()}
    return named, lambda path: [digest_pixels(read_channel(export, planes)) for planes in export.planes_of(of_path[path])]


def _difference(
    plate: str, path: str, known: dict[str, Any], now: dict[str, Any], present: dict[str, tuple[str, str]]
) -> Difference | None:
    """Return how a field differs from what was ingested; None where it does not."""
    if path not in known:
        return Difference(plate, *present[path], path, "new", "not there when the plate was ingested")
    row = known[path]
    before = list(row["digests"])
    digests, why = now.get(path, ([], "it is gone from the plate"))
    if digests == before:
        return None
    about = (plate, str(row["well"]), str(row["field"]), path)
    if not digests:
        return Difference(*about, "missing", f"cannot be read any more: {why}")
    return Difference(*about, "changed", _what_changed(list(row["channels"]), before, digests))


def _what_changed(channels: Sequence[str], before: Sequence[str], now: Sequence[str]) -> str:
    if not before:
        return "could not be read when the plate was ingested, and can be now"
    if len(now) != len(before):
        return f"{len(now)} channels, {len(before)} when the plate was ingested"
    return f"other pixels in {', '.join(name for name, old, new in zip(channels, before, now, strict=True) if old != new)}"


def make_rerun(campaign: Campaign, scans: Sequence[PlateScan]) -> list[Path]:
    """Take away what says that changed plates are ingested, so that the next run reads them anew; return what was taken away.

    Maps stay: `attribute` keeps every field whose pixels have the digest that they had. Nothing of a source is touched.

    Raises
    ------
    RuntimeError
        When a run is at work on the campaign.
    """
    changed = [scan for scan in scans if scan.state == "changed"]
    if not changed:
        return []
    hold_results(lock_of_run(results_of(campaign.name)))
    taken: list[Path] = []
    for scan in changed:
        table = fields_table(campaign.name, scan.plate)
        gone = [table.parent / "conversion.parquet", table]
        if campaign.plates[scan.plate].source.format != OMEZARR:
            # an export's file may have changed and kept its size and time, by which its conversion knows it
            gone[1:1] = [table.parent / "plate.zarr" / one.path / "zarr.json" for one in scan.differences]
        for file in gone:
            if file.exists():
                file.unlink()
                taken.append(file)
    return taken


def scans_as_dict(campaign: str, scans: Sequence[PlateScan], taken: Sequence[Path], command: str) -> dict[str, Any]:
    """Return what was found as JSON holds it (docs/formats.md); `command` does again what changed."""
    return {
        "form": FORM,
        "campaign": campaign,
        "plates": [scan.to_dict() for scan in scans],
        "taken_away": [str(path) for path in taken],
        "command": command,
    }
