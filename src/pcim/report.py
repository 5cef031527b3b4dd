"""Report: every table of a campaign read into one self-contained page, with CSV tables and PNG figures beside it.

The page holds no date and no timing: identical inputs give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd
import xarray as xr
import yaml
from zarr.storage import ZipStore

from pcim import findings
from pcim.config import Config
from pcim.contract import load_contract
from pcim.evidence import Evidence
from pcim.figures import Album
from pcim.jobs import log, whole_file
from pcim.method_settings import CONTROLS
from pcim.page import ClassifierPage
from pcim.plate import FIELD_COLUMNS
from pcim.source import Source
from pcim.summary import as_csv, summary_json
from pcim.words import interval, method_name, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcim.config import ClassifierSettings

SHOWN_SOFTWARE = (
    "pcim",
    "torch",
    "numpy",
    "pandas",
    "scipy",
    "zarr",
    "dask",
    "xarray",
    "captum",
    "matplotlib",
    "snakemake",
)


def installed_software() -> dict[str, str]:
    """Return the versions of the packages that matter for a result, where they are installed: name -> version."""
    found = {}
    for name in SHOWN_SOFTWARE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def report_campaign(  # noqa: PLR0913 - a job's inputs
    *,
    fields: Sequence[str],
    calls: Sequence[str],
    ledgers: Sequence[str],
    shares: Sequence[str],
    mean_maps: Sequence[str],
    scores: Sequence[str],
    interventions: Sequence[str],
    pairs: Sequence[str] = (),
    plates: Sequence[str],
    models: Sequence[str],
    page: str,
    summary: str,
    tables: str,
    figures: str,
    config: Mapping[str, Any],
    stores: Mapping[str, Mapping[str, Any]],
    revisions: Mapping[str, int],
    software: Mapping[str, str],
) -> None:
    """Write the page, the same for machines (`summary`), its tables and its figures.

    The paths are the campaign's, laid out as ``results/{campaign}/{stage}/{model}/...``; `plates` are the ``zarr.json`` of
    the plates of maps, `models` the classifiers' model.yaml in the order of the config, `stores` plate -> plain form of its source.
    """
    settings = Config.model_validate(config)
    inputs = _Inputs(
        root=Path(page).parent.parent,
        methods=settings.attribute.methods,
        fields=_read(fields),
        stores={plate: Source.of(store) for plate, store in stores.items()},
        paths={"calls": calls, "ledgers": ledgers, "shares": shares, "mean_maps": mean_maps, "scores": scores,
               "interventions": interventions, "pairs": pairs, "plates": plates},
    )  # fmt: skip
    pages, album = [], Album()
    for (name, entry), model in zip(settings.classifiers.items(), models, strict=True):
        evidence = inputs.evidence(name, entry, Path(model))
        pages.append(
            ClassifierPage(
                evidence,
                settings.report.draws,
                settings.report.reading,
                album=album,
                number_of_panels=settings.report.panels,
            )
        )
        log.info("%s: %s", name, pages[-1].reading.verdict)
    doubts = findings.doubts_table(inputs.fields, pd.DataFrame(columns=["status", *FIELD_COLUMNS]))
    doubts = pd.concat([doubts, *(shown.doubts for shown in pages)], ignore_index=True)
    html = render_page(
        settings,
        pages,
        inputs.fields,
        doubts,
        maps_root=inputs.root / "maps",
        stores={plate: source.address for plate, source in inputs.stores.items()},
        revisions=revisions,
        software=software,
    )
    _write_beside(pages, doubts, Path(tables), album, Path(figures))
    with whole_file(summary) as partial:
        told = summary_json(settings.campaign, pages, doubts, revisions=revisions, software=software)
        partial.write_text(told, encoding="utf-8")
    with whole_file(page) as partial:
        partial.write_text(html, encoding="utf-8")


def render_page(  # noqa: PLR0913 - what the page shows
    settings: Config,
    pages: Sequence[ClassifierPage],
    fields: pd.DataFrame,
    doubts: pd.DataFrame,
    *,
    maps_root: Path,
    stores: Mapping[str, str],
    revisions: Mapping[str, int],
    software: Mapping[str, str],
) -> str:
    """Return the page as HTML; every text from a table or a file is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pcim", "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "number": number}
    environment.globals |= {"interval": interval}
    methods = settings.attribute.methods
    return environment.get_template("page.html.j2").render(
        settings=settings,
        pages=pages,
        counts={
            "plates": fields["plate"].nunique(),
            "wells": len(fields.drop_duplicates(["plate", "well"])),
            "fields": len(fields),
            "views": sum(len(shown.views) for shown in pages),
            "explained": sum(shown.explained for shown in pages),
        },
        methods=[method_name(method) for method in methods if method not in CONTROLS],
        controls=[method_name(method) for method in methods if method in CONTROLS],
        doubts=doubts.fillna("").to_dict("records"),
        maps_root=maps_root.as_posix(),
        stores=stores,
        revisions=revisions,
        software=software,
        thresholds=[
            (name, getattr(settings.report.reading, name), field.description)
            for name, field in type(settings.report.reading).model_fields.items()
        ],
        config_text=yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )


@dataclass(frozen=True)
class _Inputs:
    """What the campaign wrote, of all classifiers: the field tables read, the rest as paths by what they hold."""

    root: Path
    methods: Sequence[str]
    fields: pd.DataFrame
    stores: Mapping[str, Source]
    paths: Mapping[str, Sequence[str]]

    def of(self, what: str, model: str) -> list[str]:
        """Return one classifier's paths: the second part below the campaign's results is its name."""
        return [path for path in self.paths[what] if Path(path).relative_to(self.root).parts[1] == model]

    def evidence(self, name: str, entry: ClassifierSettings, model: Path) -> Evidence:
        """Read all that was found about one classifier."""
        ledger = _scored_or_failed(_read(self.of("ledgers", name)))
        return Evidence(
            name=name,
            settings=entry,
            contract=load_contract(model),
            fields=self.fields[self.fields["plate"].isin(entry.plates)],
            calls=_read(self.of("calls", name)),
            ledger=_in_order(ledger, self.methods),
            shares=_in_order(_read(self.of("shares", name)), self.methods),
            scores=_in_order(_read(self.of("scores", name)), self.methods),
            interventions=_read(self.of("interventions", name)),
            mean_maps={Path(path).parent.name: read_mean_maps(path) for path in self.of("mean_maps", name)},
            stores=self.stores,
            maps={plate: _maps_of(plate, self.methods, self.of("plates", name)) for plate in entry.plates},
        )


def read_mean_maps(path: str | Path) -> xr.DataArray:
    """Read the mean maps (entry, y, x) of one classifier on one plate, with method, grouping, group and views."""
    with ZipStore(Path(path), mode="r") as store:
        maps: xr.DataArray = xr.open_zarr(store, consolidated=False)["mean_map"].load()
    return maps


def _read(paths: Sequence[str]) -> pd.DataFrame:
    parts = [pd.read_parquet(path) for path in paths]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled or parts[:1], ignore_index=True) if parts else pd.DataFrame()


def _scored_or_failed(ledger: pd.DataFrame) -> pd.DataFrame:
    """Leave out what nothing is wrong with and nothing is said of: maps of a second target."""
    return ledger[ledger["scored"].astype(bool) | (ledger["status"] != "ok")]


def _in_order(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Sort by the order in which the config names the methods."""
    rank = table["method"].map({method: number for number, method in enumerate(methods)})
    return table.assign(rank=rank).sort_values("rank", kind="stable").drop(columns="rank").reset_index(drop=True)


def _maps_of(plate: str, methods: Sequence[str], roots: Sequence[str]) -> dict[str, Path]:
    places = {Path(root).parent.name: Path(root).parent for root in roots}
    return {method: places[f"{plate}_{method}.zarr"] for method in methods if f"{plate}_{method}.zarr" in places}


def _write_beside(
    pages: Sequence[ClassifierPage], doubts: pd.DataFrame, tables: Path, album: Album, figures: Path
) -> None:
    """Write the CSV tables of all classifiers together, and the figures."""
    tables.mkdir(parents=True, exist_ok=True)
    figures.mkdir(parents=True, exist_ok=True)
    of_pages = [shown.tables() for shown in pages]
    for name in of_pages[0]:
        parts = [found[name] for found in of_pages if len(found[name])] or [of_pages[0][name]]
        table = pd.concat(parts, ignore_index=True)
        ordered = table[["classifier", *table.columns.drop("classifier")]]
        (tables / f"{name}.csv").write_text(as_csv(ordered), encoding="utf-8")
    (tables / "doubts.csv").write_text(as_csv(doubts), encoding="utf-8")
    for name, content in album.files.items():
        (figures / name).write_bytes(content)
