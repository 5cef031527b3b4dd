"""The report of a whole plate: how long it takes to build, how large it is, and how fast it opens.

The plate has 384 wells of 9 fields, and nine methods explain every view.

``python benchmarks/report_page.py [--quick] [--write]``, from the repository's root; it needs the tests' environment and Chromium. The
tables are made up, as many rows as the evaluate stage writes; images and maps are small. Two lines more are of 100 such plates: what grows
fastest with the wells. `--quick`: 24 wells of 2 fields, and 2 plates.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from harness import Row, options, report, seconds

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))
import finished_campaign as reported

from pcim.config.methods import CONTROLS
from pcim.core.identity import KEY_COLUMNS
from pcim.core.vocabulary import BLURRED, METRICS, OBJECTS_MASK, OTHER_VIEW
from pcim.report.analysis.dose_and_position import MEASURES, position_table
from pcim.report.analysis.intervals import bootstrap_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("pcim", "pcim_literal", "integrated_gradients", "grad_cam", "occlusion", *CONTROLS)
SUBSTITUTES = ("mean", "blur", "noise", "road")
WELLS_A_CHUNK = 48
COLUMNS = 480
"""Columns of the table of methods: what nine methods and their controls are measured by."""


def of_fields(table: pd.DataFrame, fields: int) -> pd.DataFrame:
    """Repeat a table of field 0 for every field."""
    parts = [table.assign(field=str(n)) for n in range(fields)]
    if "path" in table:
        parts = [part.assign(path=part["path"].str.rsplit("/", n=1).str[0] + f"/{n}") for n, part in enumerate(parts)]
    return pd.concat(parts, ignore_index=True)


def scores_of(views: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Make up every score that the evaluate stage would write of these views."""
    named = [*METHODS, *(method + BLURRED for method in METHODS if method not in CONTROLS), OBJECTS_MASK, OTHER_VIEW]
    columns = []
    for metric, of in METRICS.items():
        kinds = ("road",) if metric == "road" else ("noise",) if metric in {"sensitivity_n", "infidelity"} else SUBSTITUTES[:3]
        columns += [(metric, kind) for kind in (kinds if of.family == "fidelity" else ("",))]
    grid = pd.MultiIndex.from_tuples([(m, *c) for m in named for c in columns], names=["method", "metric", "substitute"])
    keys = views.loc[views.index.repeat(len(grid)), list(KEY_COLUMNS)].reset_index(drop=True)
    labels = grid.to_frame(index=False)
    told = pd.concat([labels] * len(views), ignore_index=True)
    values = rng.normal(0.3, 0.2, len(told)).clip(-1, 1)
    return pd.concat([keys, told], axis=1).assign(seen=told["substitute"] == "mean", value=values, chance=0.0)


def curves_of(views: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Make up the curves of these views."""
    shares = np.linspace(0, 1, 15, dtype=np.float32)
    parts = []
    for method in METHODS:
        for substitute in SUBSTITUTES:
            drawn = {order: list(rng.random((len(views), 15), np.float32)) for order in ("deletion", "insertion")}
            known = {"method": method, "substitute": substitute, "shares": [shares] * len(views)}
            parts.append(views[list(KEY_COLUMNS)].assign(**known, **drawn))
    return pd.concat(parts, ignore_index=True)


def chunks_of(views: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the views of whole wells, as many as a job works on."""
    wells = list(dict.fromkeys(views["well"]))
    for start in range(0, len(wells), WELLS_A_CHUNK):
        yield views[views["well"].isin(wells[start : start + WELLS_A_CHUNK])].reset_index(drop=True)


def make(folder: Path, wells: list[tuple[str, int]], fields: int) -> dict[str, Any]:
    """Make the campaign's files and return what the report is told."""
    reported.WELLS, reported.METHODS = wells, METHODS[:1]  # images, and maps of the method that is read
    arguments = reported.make_campaign(folder).arguments
    rng = np.random.default_rng(0)
    ledger, maps = Path(arguments["ledgers"][0]), Path(arguments["maps"][0])
    for name in ("fields", "calls", "ledgers", "shares"):
        (path,) = arguments[name]
        of_fields(pd.read_parquet(path), fields).to_parquet(path, index=False)
    (shares,) = (pd.read_parquet(path) for path in arguments["shares"])
    of_one = shares[shares["method"] == "pcim"]
    pd.concat([of_one.assign(method=method) for method in METHODS]).to_parquet(arguments["shares"][0], index=False)
    for method in METHODS[1:]:
        place = Path(str(ledger).replace("/pcim/", f"/{method}/"))
        place.parent.mkdir(parents=True)
        pd.read_parquet(ledger).assign(method=method).to_parquet(place, index=False)
        arguments["ledgers"].append(str(place))
        arguments["maps"].append(str(maps).replace("_pcim.zarr", f"_{method}.zarr"))
    for store in (folder / "p1.zarr", maps.parent):
        for row, column in wells:
            for number in range(1, fields):
                if (store / row / str(column) / "0").is_dir():
                    (store / row / str(column) / str(number)).symlink_to("0")
    arguments["config"]["attribute"]["methods"] = list(METHODS)
    views = of_fields(reported.calls_table(), fields)
    root = Path(arguments["scores"][0]).parent
    arguments["scores"], arguments["curves"] = [], []
    for number, chunk in enumerate(chunks_of(views[views["status"] == "ok"])):
        for name, table in (("scores", scores_of(chunk, rng)), ("curves", curves_of(chunk, rng))):
            path = root / f"chunk{number}.{name}.parquet"
            table.to_parquet(path, index=False)
            arguments[name].append(str(path))
    arguments["config"]["report"]["draws"] = 10_000
    return dict(arguments)


def wells_of(plates: int, rng: np.random.Generator) -> pd.DataFrame:
    """Make up the wells of many plates, 64 treatments at six doses spread over each, with a measure that goes with the column."""
    places = [(row, column) for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    parts = []
    for number in range(plates):
        order = rng.permutation(len(places))
        known = {
            "plate": f"p{number}",
            "row": [row for row, _ in places],
            "column": [str(column) for _, column in places],
        }
        known |= {"well": [f"{row}{column:02d}" for row, column in places], "control_type": ""}
        parts.append(pd.DataFrame(known).assign(treatment=[f"t{n % 64}" for n in order], dose=order % 6 + 1.0))
    wells = pd.concat(parts, ignore_index=True)
    drawn = {name: rng.normal(size=len(wells)) for name in MEASURES}
    return wells.assign(**drawn).assign(lift=lambda table: table["lift"] + 0.1 * table["column"].astype(int))


def campaign_rows(plates: int) -> list[Row]:
    """Time what grows fastest with the wells of a campaign: the place on the plate, and the bootstrap of the table of methods."""
    rng = np.random.default_rng(0)
    wells = wells_of(plates, rng)
    placed = seconds(lambda: position_table(wells, draws=10_000))
    sums, counts = rng.normal(size=(len(wells), COLUMNS)), np.ones((len(wells), COLUMNS))
    drawn = seconds(lambda: bootstrap_sums(sums, counts, draws=10_000))
    return [
        Row(f"place on the plate, {plates} plates of 384 wells", placed, "s", None, "lower"),
        Row(f"bootstrap of {len(wells)} wells x {COLUMNS} columns", drawn, "s", None, "lower"),
    ]


def opening(page: Path) -> float:
    """Return the seconds that headless Chromium takes to open the page; what it complains of is an error."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        shown, complaints = browser.new_page(), []
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        start = time.perf_counter()
        shown.goto(page.as_uri(), wait_until="load")
        taken = time.perf_counter() - start
        shown.wait_for_timeout(1000)
        browser.close()
    if complaints:
        raise RuntimeError(f"{page}: {complaints}")
    return taken


def main(*, quick: bool, write: bool) -> None:
    """Measure."""
    torch.set_num_threads(1)
    rows, columns, fields = ("AB", 12, 2) if quick else ("ABCDEFGHIJKLMNOP", 24, 9)
    wells = [(row, column) for row in rows for column in range(1, columns + 1)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = make(Path(folder), wells, fields)
        size = sum(Path(path).stat().st_size for path in arguments["scores"])
        built = seconds(lambda: reported.write_report(arguments))
        page = Path(arguments["page"])
        table = [
            Row("build the report after the scores exist", built, "s", 180.0, "lower"),
            Row("size of the page", page.stat().st_size / 1e6, "MB", 15.0, "lower"),
            Row("open the page in Chromium", opening(page), "s", 3.0, "lower"),
            Row("explained views", float(len(wells) * fields), "", None, "higher"),
            Row("size of the scores", size / 1e6, "MB", None, "lower"),
        ]
    report("report_page", [*table, *campaign_rows(2 if quick else 100)], quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
