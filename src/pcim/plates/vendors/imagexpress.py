"""ImageXpress (MetaXpress): the file names are the index, the ``.HTD`` beside them names the channels and the grid.

``[TimePoint_1/][ZStep_2/]{name}_{A01}[_s1][_w1][GUID].tif``; ``ZStep_0``, or a file beside ``ZStep_n`` folders, is the microscope's
own projection; ``_thumb`` files are skipped. With a site or a wave, the name before the well may be left out and the well be ``B3``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import defusedxml.ElementTree as ET  # noqa: N817 - its usual name

from pcim.core.identity import parse_well
from pcim.core.safe_read import read_bytes
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors.export import MAX_INDEX_BYTES, PROJECTED, Export, Plane, digest_of
from pcim.plates.vendors.safe_tiff import open_tiff

if TYPE_CHECKING:
    from pcim.core.plate_source import Source

_FILE = re.compile(
    r"(?:(?:.*?_)??(?=[A-Z]{1,2}[0-9]{1,3}_[sw][0-9])|.*?_(?=[A-Z]{1,2}[0-9]{2}(?:[_.]|[0-9A-F]{8}-)))"
    r"(?P<well>[A-Z]{1,2}[0-9]{1,3}?)(?:_s(?P<site>[0-9]+?))?(?:_w(?P<wave>[0-9]{1,2}?))?"
    r"(?:[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})?\.tiff?",
    re.IGNORECASE,
)
_FOLDER = re.compile(r"(TimePoint|ZStep)_([0-9]+)", re.IGNORECASE)
_MOST_TOLD = 1_000_000  # characters that MetaXpress writes with an image
_SETTING = re.compile(r'"(\w+)",(.*)')


def read(source: Source) -> Export:
    """Read a plate's folder."""
    root = Path(source.address)
    if not root.is_dir():
        raise NgffError(f"{root}: no such folder")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path))
    folders = {name.rpartition("/")[0] for name in names}
    stacked = {f.rpartition("/")[0] for f in folders if f.rpartition("/")[2].lower().startswith("zstep_")}
    fields: dict[tuple[str, str, str], list[Plane]] = {}
    for name in names:
        found = _FILE.fullmatch(name.rpartition("/")[2])
        if found is None:
            continue
        well = parse_well(found["well"])
        row, column = well.rstrip("0123456789"), str(int(well.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")))
        t, z = _place(name, stacked)
        plane = Plane(name, 0, int(found["wave"] or 1), z, t)
        fields.setdefault((row, column, found["site"] or "1"), []).append(plane)
    settings = _settings(root)
    return Export(
        source,
        root,
        digest_of(names),
        fields,
        {number: settings[f"WaveName{number}"] for number in range(1, 100) if f"WaveName{number}" in settings},
        rows=int(settings.get("YWells", "0")),
        columns=int(settings.get("XWells", "0")),
        pixel_size_um=_pixel_size(root, names),
    )


def named_otherwise(folder: Path) -> tuple[int, list[str]]:
    """Return how many TIFFs lie in a folder, and those not named as ImageXpress does, with a site or a wave: wells' names prove nothing."""
    names = sorted(path.name for path in folder.glob("*") if is_image(path))
    return len(names), [name for name in names if not ((found := _FILE.fullmatch(name)) and (found["site"] or found["wave"]))]


def is_image(path: Path) -> bool:
    """Tell whether a file is a TIFF by its name, and no thumbnail."""
    return path.suffix.lower() in {".tif", ".tiff"} and "_thumb" not in path.name.lower()


def _place(name: str, stacked: set[str]) -> tuple[int, int]:
    """Return a file's time point and depth, both from 0, by the folders that it lies in."""
    found = {kind.lower(): int(number) for kind, number in _FOLDER.findall(name)}
    beside_a_stack = "zstep" not in found and name.rpartition("/")[0] in stacked
    z = PROJECTED if beside_a_stack or found.get("zstep") == 0 else found.get("zstep", 1) - 1
    return found.get("timepoint", 1) - 1, z


def _settings(root: Path) -> dict[str, str]:
    """Return the settings of the first ``.HTD``: lines of ``"Key", value``, in whatever encoding the operator typed."""
    for file in sorted(path for path in root.rglob("*") if path.suffix.lower() == ".htd"):
        lines = read_bytes(file, MAX_INDEX_BYTES).decode("latin-1").splitlines()
        told = (found for line in lines if (found := _SETTING.fullmatch(line)))
        return {found[1]: found[2].strip().removeprefix('"').removesuffix('"') for found in told}
    return {}


def _pixel_size(root: Path, names: list[str]) -> tuple[float, float] | None:
    """Return the pixel size that MetaXpress wrote into the first image that can be opened."""
    for name in names[:20]:
        try:
            with open_tiff(root / name) as (opened, first):
                told = first.description if opened.is_metaseries else "<MetaData/>"
            tree = ET.fromstring(told[:_MOST_TOLD], forbid_dtd=True)
            of = {prop.get("id"): prop.get("value", "") for prop in tree.findall("PlaneInfo/prop")}
            is_um = of.get("spatial-calibration-units") == "um"
            return (float(of["spatial-calibration-y"]), float(of["spatial-calibration-x"])) if is_um else None
        except Exception:  # noqa: BLE001, S112 - decoders raise what they like on broken files: another image is asked
            continue
    return None
