"""A finished campaign made by hand, tables and maps: what the report reads, with every awkward thing in it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from planted_campaign import write_model, write_plate
from zarr.storage import ZipStore

from pcim.config.config import Config
from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate, FieldMaps
from pcim.report.inputs import CampaignRun, ReportInputs
from pcim.stages.aggregate.mean_maps import ObjectMaps, write_dataset
from pcim.stages.report import ReportOutputs, report_campaign

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOSTILE = "<script>alert('x')</script>&amp;"
METHODS = ("pcim", "edge", "random")
CLASSES = ("plain", "spot")
WELLS = [("A", column) for column in range(1, 7)] + [("B", column) for column in range(1, 7)]
SIZE = 48


@dataclass(frozen=True)
class Made:
    """The inputs, outputs and params of the rule `report` by their names, and the folder of the campaign's results."""

    folder: Path
    arguments: dict[str, Any]


def key_of(row: str, column: int) -> dict[str, str]:
    return {
        "plate": "p1",
        "row": row,
        "column": str(column),
        "well": f"{row}{column:02d}",
        "field": "0",
        "view": "0_0",
    }


def called(column: int) -> str:
    return CLASSES[column % 2]


def fields_table() -> pd.DataFrame:
    rows = [
        key_of(row, column)
        | {
            "path": f"{row}/{column}/0",
            "digest": f"{row}{column}",
            "treatment": HOSTILE if column == 2 else f"drug {column % 3}",
            "control_type": {1: "negcon", 2: "poscon"}.get(column, ""),
            "dose": float(column),
            "label": CLASSES[(column + (row == "A" and column == 3)) % 2],
            "split": "test" if row == "A" else "train",
            "qc": "ok" if column != 6 else "saturated",
            "reason": "" if column != 6 else f"{HOSTILE} 31 % of the pixels sit at 65535",
        }
        for row, column in WELLS
    ]
    return pd.DataFrame(rows).drop(columns="view")


def ledger_of(method: str) -> pd.DataFrame:
    rows = [
        key_of(row, column)
        | {"top": 0, "left": 0, "height": SIZE, "width": SIZE, "status": "ok", "reason": "", "method": method}
        | {"layer": "call", "scored": True}
        | {"steps": 20, "stop": "step limit" if column == 5 else "settled", "p_keep": 0.4, "p_drop": 0.1}
        | {"target": called(column), "p_background": 0.9 if called(column) == "plain" else 0.1, "channels": ["all"]}
        for row, column in WELLS
        if column != 6
    ]
    return pd.DataFrame(rows)


def calls_table() -> pd.DataFrame:
    rows = []
    for row, column in WELLS:
        p = 0.9 if called(column) == "spot" else 0.2
        base = key_of(row, column) | {"top": 0, "left": 0, "height": SIZE, "width": SIZE}
        ok = column != 6
        rows.append(
            base
            | {"status": "ok" if ok else "skipped", "reason": "" if ok else "saturated"}
            | {"probabilities": [1 - p, p] if ok else [], "call": called(column) if ok else "", "p": max(p, 1 - p)}
        )
    return pd.DataFrame(rows)


def shares_table(lift: float = 6.0) -> pd.DataFrame:
    rows = []
    for method, factor in (("pcim", lift), ("edge", 2.0), ("random", 1.0)):
        for row, column in WELLS:
            if column == 6:
                continue
            share = min(0.95, 0.1 * factor + 0.01 * column)
            for region, part, area in (("spots", share, 0.1), ("background", 1 - share, 0.9)):
                known = {"treatment": "drug", "call": called(column), "method": method, "region": region}
                rows.append(key_of(row, column) | known | {"channel": "all", "share": part, "area": area, "lift": part / area})
    return pd.DataFrame(rows)


def scores_table() -> pd.DataFrame:
    rows = []
    for number, method in enumerate(METHODS):
        for row, column in WELLS:
            if column == 6:
                continue
            for metric, substitute in (("deletion_auc", "blur"), ("insertion_auc", "mean"), ("auprc", "")):
                value = 0.2 + 0.2 * number + 0.01 * column
                scored = {"method": method, "metric": metric, "substitute": substitute, "seen": substitute == "mean"}
                value = np.nan if metric == "auprc" and column == 1 else value
                rows.append(key_of(row, column) | scored | {"value": value, "chance": np.nan if substitute else 0.1})
    return pd.DataFrame(rows)


def curves_table() -> pd.DataFrame:
    shares, rows = np.linspace(0, 1, 5), []
    for number, method in enumerate(METHODS):
        for row, column in WELLS:
            if column != 6:
                for substitute in ("mean", "blur"):
                    drawn = {"deletion": (1 - shares) ** max(3 - number, 1), "insertion": shares ** (1 + number)}
                    rows.append(key_of(row, column) | {"method": method, "substitute": substitute, "shares": shares} | drawn)
    return pd.DataFrame(rows)


def pairs_table() -> pd.DataFrame:
    rows = []
    for row, column in WELLS:
        if column != 6:
            known = {
                "classifier": "spots",
                "other": HOSTILE,
                "method": "pcim",
                "call": called(column),
                "other_call": called(column),
            }
            found = {"same_call": True, "agreement": 0.1 * column, "top_overlap": 0.05 * column}
            rows.append(key_of(row, column) | known | found)
    return pd.DataFrame(rows)


def interventions_table(spots: float = 1.0, background: float = 0.0) -> pd.DataFrame:
    """Exchanges in which the given share of the calls follow the region; the control patch is never followed."""
    rows = []
    wells = [(row, column) for row, column in WELLS if column != 6]
    for region, share in (("spots", spots), ("background", background)):
        for number, (row, column) in enumerate(wells):
            before, other = called(column), called(column + 1)
            for kind in ("exchange", "control") if region == "spots" else ("exchange",):
                follows = kind == "exchange" and number < share * len(wells)
                known = {"partner": "p1/A/1/0/0_0", "region": region, "family": "label", "kind": kind, "area": 0.2}
                known["call_before"] = before
                after = {"partner_call": other, "call_after": other if follows else before, "follows": follows}
                rows.append(key_of(row, column) | known | after)
    return pd.DataFrame(rows)


def make_campaign(folder: Path) -> Made:
    """Write the campaign's files below `folder` and return what the rule `report` is told."""
    rng = np.random.default_rng(0)
    shape = (SIZE, SIZE)
    pixels = {(r, str(c), "0"): rng.integers(100, 900, (2, *shape)).astype(np.uint16) for r, c in WELLS}
    spot = np.zeros(shape, np.uint8)
    spot[20:28, 20:28] = 1
    store = write_plate(folder / "p1.zarr", pixels, labels={key: {"spots": spot} for key in pixels})
    model = write_model(folder / "model", description=f"Sees spots. {HOSTILE}", licence="CC0 1.0")
    root = folder / "results" / "made"
    tables = {
        "ingest/p1/fields": fields_table(),
        "classify/spots/p1/A01-B06": calls_table(),
        **{f"attribute/spots/{method}/p1/A01-B06": ledger_of(method) for method in METHODS},
        "aggregate/spots/p1/shares": shares_table(),
        "evaluate/spots/p1/A01-B06": scores_table(),
        "evaluate/spots/p1/A01-B06.curves": curves_table(),
        "evaluate/spots/interventions": interventions_table(),
        "evaluate/spots/p1/against_other": pairs_table(),
    }
    paths = {name: root / f"{name}.parquet" for name in tables}
    for name, table in tables.items():
        paths[name].parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(paths[name], index=False)
    mean_maps = root / "aggregate/spots/p1/mean_maps.zarr.zip"
    write_mean_maps(mean_maps, rng)
    object_maps = root / "aggregate/spots/p1/object_maps.zarr.zip"
    write_object_maps(object_maps, rng)
    arguments = {
        "fields": [str(paths["ingest/p1/fields"])],
        "calls": [str(paths["classify/spots/p1/A01-B06"])],
        "ledgers": [str(paths[f"attribute/spots/{method}/p1/A01-B06"]) for method in METHODS],
        "shares": [str(paths["aggregate/spots/p1/shares"])],
        "mean_maps": [str(mean_maps)],
        "object_maps": [str(object_maps)],
        "scores": [str(paths["evaluate/spots/p1/A01-B06"])],
        "curves": [str(paths["evaluate/spots/p1/A01-B06.curves"])],
        "interventions": [str(paths["evaluate/spots/interventions"])],
        "pairs": [str(paths["evaluate/spots/p1/against_other"])],
        "maps": [write_maps(root, store, method, rng) for method in METHODS],
        "models": [str(model)],
        "page": str(root / "report/index.html"),
        "plates": str(root / "report/plates"),
        "summary": str(root / "report/report.json"),
        "tables": str(root / "report/tables"),
        "figures": str(root / "report/figures"),
        "workflow": str(root / "workflow"),
        "crate": str(root / "ro-crate-metadata.json"),
        "config": config_of(folder, model),
        "stores": {"p1": Source(str(store)).to_dict()},
        "command": "snakemake --configfile made.yaml",
        "revisions": {"report": 1},
        "software": {"pcim": "0.0"},
    }
    return Made(root, arguments)


def write_report(arguments: Mapping[str, Any]) -> None:
    """Write a report as the rule's script does."""
    inputs = {one.name: arguments[one.name] for one in fields(ReportInputs) if one.name != "run"}
    outputs = {one.name: arguments[one.name] for one in fields(ReportOutputs)}
    run = CampaignRun(arguments["command"], arguments["revisions"], arguments["software"])
    config = Config.model_validate(arguments["config"])
    report_campaign(ReportInputs(**inputs, run=run), ReportOutputs.from_texts(**outputs), config)


def config_of(folder: Path, model: Path) -> dict[str, Any]:
    spots = {"model": str(model), "plates": ["p1"], "truth": "label", "split": "split", "objects": "spots"}
    values = {
        "campaign": "made",
        "plates": str(folder / "plates.tsv"),
        "classifiers": {"spots": spots | {"regions": {"spots": {"label": "spots"}}}},
        "attribute": {"methods": list(METHODS)},
        "report": {"draws": 200, "panels": 2, "title": f"Spots {HOSTILE}"},
    }
    return Config.model_validate(values).model_dump(mode="json")


def write_mean_maps(path: Path, rng: np.random.Generator, group: str = HOSTILE) -> None:
    names = {"method": ["pcim", "pcim"], "grouping": ["call", "treatment"], "group": ["plain", group]}
    coordinates = {name: ("entry", values) for name, values in names.items()} | {"views": ("entry", [5, 2])}
    maps = xr.Dataset({"mean_map": (("entry", "y", "x"), rng.random((2, SIZE, SIZE)))}, coords=coordinates)
    with ZipStore(path, mode="w") as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr 3 has no final type for text; xarray writes the root's metadata twice
        maps.to_zarr(store, zarr_format=3, consolidated=False)


def write_object_maps(path: Path, rng: np.random.Generator) -> None:
    means = ObjectMaps(16, ["GFP", "DNA"])
    for call in CLASSES:
        maps, image = rng.random((SIZE, SIZE)), rng.random((2, SIZE, SIZE))
        means.add("pcim", {"call": call}, np.array([[4, 4], [20, 20]]), maps, image)
    write_dataset(means.dataset(), path)


def write_maps(root: Path, store: Path, method: str, rng: np.random.Generator) -> str:
    plate = AttributionPlate(root / "maps" / "spots" / f"p1_{method}.zarr")
    explained = [(row, column) for row, column in WELLS if column != 6]
    for row, column in explained:
        maps = rng.exponential(1, (1, SIZE, SIZE)).astype(np.float32)
        label = ("top", (maps[0] > 3).astype(np.uint8))
        plate.write_field(f"{row}/{column}/0", FieldMaps(maps, {"call": ["all channels"]}, label, ngff.Space()))
    plate.finish(ngff.read_plate(store), {f"{row}/{column}": ["0"] for row, column in explained}, plate.path.stem)
    return str(plate.path / "zarr.json")
