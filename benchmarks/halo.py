"""What `halo_px` changes: the calls that follow the example's objects, exchanged with more and more around them.

``python benchmarks/halo.py [--quick] [--write]``, from the repository's root, after ``make demo``: its views, calls and maps are taken as
they are, and only the exchanges are made anew, for every width. Pixels are the plate's. `--quick`: two widths of each classifier.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from harness import Row, options, report

from pcim.campaign.campaign import Campaign
from pcim.campaign.input_tables import read_config
from pcim.plates.field_image import FieldImage
from pcim.report.analysis.findings import exchange_table
from pcim.revisions import REVISIONS
from pcim.runtime.job_log import log
from pcim.stages.interventions import intervene

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTHS = {"bbbc013_translocation": (0, 2, 4, 6, 8, 12), "bbbc010_rows": (0, 1, 2, 4, 8)}
DRAWS = 2000


def exchanged(campaign: Campaign, model: str, halo_px: float) -> pd.DataFrame:
    """Return the table of exchanges of a classifier of one plate, its objects `halo_px` wider."""
    entry, root = campaign.config.classifiers[model], Path("results") / campaign.name
    (plate,) = entry.plates
    with tempfile.TemporaryDirectory() as folder:
        table = f"{folder}/interventions.parquet"
        intervene(
            fields=[str(root / f"ingest/{plate}/fields.parquet")],
            calls=[str(file) for file in sorted(root.glob(f"classify/{model}/{plate}/*.parquet"))],
            ledgers=[str(file) for file in sorted(root.glob(f"attribute/{model}/pcim/{plate}/*.parquet"))],
            stores={plate: campaign.sources[plate]},
            model=Path(entry.model),
            table=table,
            regions=entry.regions,
            objects=entry.objects,
            halo_px=halo_px,
            maps={plate: str(root / f"maps/{model}/{plate}_pcim.zarr")},
            settings=campaign.config.evaluate,
            trusted_packages=campaign.config.classify.trusted_packages,
            intensities=[],
            gpus=0,
            revision=REVISIONS["evaluate"],
        )
        return exchange_table(pd.read_parquet(table), draws=DRAWS).set_index("region")


def diameter_px(campaign: Campaign, model: str) -> float:
    """Return the diameter of a disc of the median area of the objects, in the first 8 wells of a classifier's plate."""
    entry, areas = campaign.config.classifiers[model], []
    plate = entry.plates[0]
    for path, fields in list(campaign.plans[plate].survey.wells.values())[:8]:
        label = FieldImage.open(campaign.sources[plate], f"{path}/{fields[0]}").read_label(str(entry.objects))
        areas.append(np.bincount(label.ravel())[1:])
    found = np.concatenate(areas)
    return float(2 * np.sqrt(np.median(found[found > 0]) / np.pi))


def measured(campaign: Campaign, model: str, widths: tuple[int, ...]) -> Iterator[Row]:
    """Yield the rows of a classifier."""
    objects = str(campaign.config.classifiers[model].objects)
    yield Row(f"{model}: diameter of the median of the {objects}", diameter_px(campaign, model), "px", None, "higher")
    for halo_px in widths:
        table, name = exchanged(campaign, model, halo_px), f"{model}, {halo_px} px"
        for region in (objects, "background"):
            of = table.loc[region]
            told = f"{name}: calls that follow the {region}"
            yield Row(told, of["follows"], "share", None, "higher", of["follows_low"], of["follows_high"], int(of["n"]))
        own = table.loc[objects]
        yield Row(f"{name}: area that is exchanged", own["area"], "share", None, "lower")
        yield Row(f"{name}: exchanges with room for a control", own["control_n"] / own["n"], "share", None, "higher")
        if own["control_n"]:
            told, ends = f"{name}: effect, over the control", (own["effect_low"], own["effect_high"])
            yield Row(told, own["effect"], "share", None, "higher", *ends, int(own["control_n"]))


def main() -> None:
    """Exchange at every width and print the table."""
    asked = options(__doc__ or "")
    campaign = Campaign.load(read_config([Path("config/config.yaml")]))
    if not (Path("results") / campaign.name / "report/index.html").exists():
        raise SystemExit("there is no results/demo: run `make demo` first")
    log.disabled = True
    rows = [row for model, widths in WIDTHS.items() for row in measured(campaign, model, widths[1:3] if asked.quick else widths)]
    report("halo", rows, asked.quick, asked.write)


if __name__ == "__main__":
    main()
