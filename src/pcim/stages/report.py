"""Report: every table of a campaign read into one self-contained page, with tables and figures beside it.

The page holds no date and no timing: identical inputs give the same bytes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pcim.campaign.job_list import read_made
from pcim.config.config import Config
from pcim.core.plate_source import Source
from pcim.report.inputs import ReportInputs
from pcim.report.json_csv import as_csv, summary_json
from pcim.report.page.campaign_page import Pages
from pcim.report.page.classifier_page import ClassifierPage
from pcim.report.page.figures import Album
from pcim.report.ro_crate import CrateInput, copy_workflow, write_crate
from pcim.runtime.atomic_file import whole_file
from pcim.runtime.job_log import log
from pcim.runtime.provenance import record
from pcim.runtime.tables import read_tables, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def report_campaign(  # noqa: PLR0913 - a job's inputs
    *,
    fields: Sequence[str],
    calls: Sequence[str],
    ledgers: Sequence[str],
    shares: Sequence[str],
    mean_maps: Sequence[str],
    object_maps: Sequence[str],
    scores: Sequence[str],
    curves: Sequence[str],
    interventions: Sequence[str],
    pairs: Sequence[str],
    maps: Sequence[str],
    models: Sequence[str],
    page: str,
    plates: str,
    summary: str,
    tables: str,
    figures: str,
    workflow: str,
    crate: str,
    config: Mapping[str, Any],
    stores: Mapping[str, Mapping[str, Any]],
    command: str,
    revisions: Mapping[str, int],
    software: Mapping[str, str],
) -> None:
    """Write the page (and, of a campaign of many plates, a page a plate), the same for machines (`summary`), its tables and figures.

    Last comes the campaign as an RO-Crate: its metadata (`crate`), with a copy of the `workflow` in a folder beside it.

    The paths are the campaign's, laid out as ``results/{campaign}/{stage}/{model}/...``; `maps` are the ``zarr.json`` of the plates of
    maps, `models` the classifiers' model.yaml in the order of the config, `stores` plate -> plain form of its source, `command` what
    starts the campaign.
    """
    settings = Config.model_validate(config)
    inputs = ReportInputs(
        root=Path(page).parent.parent,
        methods=settings.attribute.methods,
        fields=read_tables(fields),
        stores={plate: Source.of(store) for plate, store in stores.items()},
        paths={"calls": calls, "ledgers": ledgers, "shares": shares, "mean_maps": mean_maps, "object_maps": object_maps, "scores": scores,
               "curves": curves, "interventions": interventions, "pairs": pairs, "maps": maps},
    )  # fmt: skip
    album = Album()
    pages = _classifier_pages(settings, inputs, models, album)
    written = Pages(settings, pages, inputs, command=command, revisions=revisions, software=software)
    for shown in pages:
        log.info("%s: %s", shown.name, shown.reading.verdict)
    texts = {Path(page): written.index(Path(page).parent)} | written.plates(Path(plates))
    made = record("report", revisions["report"], settings=settings.report.model_dump(mode="json"))
    _write_beside(pages, written.failures, Path(tables), album, Path(figures), made)
    with whole_file(summary) as partial:
        told = summary_json(settings.campaign, pages, written.failures, revisions=revisions, software=software)
        partial.write_text(told, encoding="utf-8")
    Path(plates).mkdir(parents=True, exist_ok=True)
    for place, html in reversed(texts.items()):  # the page that links to the others comes last
        with whole_file(place) as partial:
            partial.write_text(html, encoding="utf-8")
    _write_crate(Path(crate), Path(workflow), settings, inputs, pages, software=software, revisions=revisions)


def _write_crate(  # noqa: PLR0913 - what it says
    crate: Path,
    workflow: Path,
    settings: Config,
    inputs: ReportInputs,
    pages: Sequence[ClassifierPage],
    *,
    software: Mapping[str, str],
    revisions: Mapping[str, int],
) -> None:
    """Write the campaign as an RO-Crate."""
    contracts = {shown.name: shown.evidence.contract for shown in pages}
    copy_workflow(workflow)
    told = CrateInput(
        settings,
        contracts,
        inputs.stores,
        inputs.fields,
        read_made(crate.parent),
        software=software,
        revisions=revisions,
        ended=time.time(),
    )
    write_crate(crate, workflow, told)


def _classifier_pages(
    settings: Config, inputs: ReportInputs, models: Sequence[str], album: Album
) -> list[ClassifierPage]:
    """Return what the page asks about each classifier, in the order of the config."""
    return [
        ClassifierPage(
            inputs.evidence(name, entry, Path(model)),
            settings.report.draws,
            settings.report.reading,
            settings.report.doubt,
            settings.ingest.accept,
            album=album,
            number_of_panels=settings.report.panels,
            number_in_doubt=settings.report.doubtful,
        )
        for (name, entry), model in zip(settings.classifiers.items(), models, strict=True)
    ]


def _write_beside(  # noqa: PLR0913, PLR0917 - what is written, and where
    pages: Sequence[ClassifierPage],
    failures: pd.DataFrame,
    tables: Path,
    album: Album,
    figures: Path,
    made: Mapping[str, Any],
) -> None:
    """Write the tables of all classifiers together, as CSV and Parquet, and the figures."""
    tables.mkdir(parents=True, exist_ok=True)
    figures.mkdir(parents=True, exist_ok=True)
    of_pages = [shown.tables for shown in pages]
    named = {"failures": failures}
    for name in of_pages[0]:
        parts = [found[name] for found in of_pages if len(found[name])] or [of_pages[0][name]]
        table = pd.concat(parts, ignore_index=True)
        named[name] = table[["classifier", *table.columns.drop("classifier")]]
    for name, table in named.items():
        (tables / f"{name}.csv").write_text(as_csv(table), encoding="utf-8")
        write_table(table, tables / f"{name}.parquet", made)
    for name, content in album.files.items():
        (figures / name).write_bytes(content)
