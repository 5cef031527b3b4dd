"""Results of a campaign as `pcim view` finds them: two plates, of OME-Zarr 0.5 and 0.4, one classifier, and maps of one well of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from planted_campaign import write_plate

from pcim.campaign.job_list import JobList
from pcim.campaign.plan_file import PlatePlan
from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate, FieldMaps
from pcim.plates.inventory import survey_plate

SIDE, SPOT = 256, (64, 192)


def make_results(folder: Path, channels: tuple[str, ...] = ("DNA",)) -> Path:
    """Write plates ``p5`` and ``p4`` and ``results/seen`` into `folder`; all attribution lies in a disc around SPOT (y, x) of well A/1."""
    results = folder / "results/seen"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = ((y - SPOT[0]) ** 2 + (x - SPOT[1]) ** 2 < 30**2).astype(np.float32)[np.newaxis]
    for name, version in (("p5", "0.5"), ("p4", "0.4")):
        grey = {(r, c, "0"): rng.integers(0, 40000, (len(channels), SIDE, SIDE)).astype(np.uint16) for r, c in (("A", "1"), ("B", "3"))}
        plate = write_plate(folder / f"{name}.zarr", grey, channels=channels, version=version)
        _set_window(plate, version)
        source = Source(f"{name}.zarr")
        (results / "plan").mkdir(parents=True, exist_ok=True)
        PlatePlan(source, survey_plate(source), {}).write(results / f"plan/{name}.json")
        maps = AttributionPlate(results / f"maps/spots/{name}_pcim.zarr")
        label, space = ("top", disc[0].astype(np.uint8)), ngff.read_image(plate / "A/1/0").space
        maps.write_field("A/1/0", FieldMaps(10 * disc, {"call": ["pcim DNA"]}, label, space, levels=3))
        maps.finish(ngff.read_plate(plate), {"A/1": ["0"]}, f"{name}_pcim")
    told = {"intensities": False, "objects": False, "plates": {name: {} for name in ("p5", "p4")}}
    plates = {name: {"convert": False, "fields": 2} for name in ("p5", "p4")}
    JobList("seen", "snakemake", ("pcim", "edge"), ("ok",), plates, {"spots": told}, ()).write()
    return results


def _set_window(plate: Path, version: str) -> None:
    """Give the fields a window that fits their pixels; `active` is left out, as many writers do."""
    for file in plate.glob("*/*/0/zarr.json" if version == "0.5" else "*/*/0/.zattrs"):
        text = file.read_text()
        file.write_text(text.replace('"end": 1', '"end": 60000').replace('"max": 1', '"max": 60000'))
