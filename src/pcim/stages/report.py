"""The report of a campaign: one self-contained page read from all its tables, with tables and figures beside it.

The page holds no date and no timing: identical inputs give the same bytes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pcim.campaign.job_list import read_made
from pcim.report.json_csv import as_csv, summary_json
from pcim.report.page.campaign_page import Pages
from pcim.report.page.classifier_page import ClassifierPage
from pcim.report.page.figures import Album
from pcim.report.ro_crate import CrateInput, copy_workflow, write_crate
from pcim.runtime.atomic_file import whole_file
from pcim.runtime.job_log import log
from pcim.runtime.provenance import record
from pcim.runtime.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcim.config.config import Config
    from pcim.report.inputs import ReportInputs


@dataclass(frozen=True)
class ReportOutputs:
    """Where a report is written: the `page`, the folder of the `plates`' own pages, the `summary` for machines, `tables` and `figures`.

    The `crate` is the metadata of the campaign as an RO-Crate; the folder of the copied `workflow` lies beside it.
    """

    page: Path
    plates: Path
    summary: Path
    tables: Path
    figures: Path
    workflow: Path
    crate: Path

    @classmethod
    def from_texts(cls, **places: str) -> ReportOutputs:
        """Return the outputs whose places a rule names as text."""
        return cls(**{name: Path(place) for name, place in places.items()})


def report_campaign(inputs: ReportInputs, outputs: ReportOutputs, settings: Config) -> None:
    """Write the campaign's page and, of a campaign of many plates, a page a plate; beside them the same for machines, tables and figures.

    Last comes the campaign as an RO-Crate.
    """
    album = Album()
    classifiers = _read_classifiers(inputs, settings, album)
    for classifier in classifiers:
        log.info("%s: %s", classifier.name, classifier.reading.verdict)
    pages = Pages(settings, classifiers, inputs)
    texts = {outputs.page: pages.index(outputs.page.parent)} | pages.plates(outputs.plates)
    made = record("report", inputs.run.revisions["report"], settings=settings.report.model_dump(mode="json"))
    _write_tables(classifiers, pages.failures, outputs.tables, made)
    _write_figures(album, outputs.figures)
    _write_text(outputs.summary, summary_json(settings.campaign, classifiers, pages.failures, inputs.run))
    outputs.plates.mkdir(parents=True, exist_ok=True)
    for place, html in reversed(texts.items()):  # the page that links to the others comes last
        _write_text(place, html)
    _write_crate(inputs, outputs, settings, classifiers)


def _read_classifiers(inputs: ReportInputs, settings: Config, album: Album) -> list[ClassifierPage]:
    """Read what the page says of each classifier, in the order of the config."""
    return [
        ClassifierPage(
            inputs.evidence(name, settings),
            settings.report.draws,
            settings.report.reading,
            settings.report.doubt,
            settings.ingest.accept,
            album=album,
            number_of_panels=settings.report.panels,
            number_in_doubt=settings.report.doubtful,
        )
        for name in settings.classifiers
    ]


def _write_tables(classifiers: Sequence[ClassifierPage], failures: pd.DataFrame, folder: Path, made: Mapping[str, Any]) -> None:
    """Write the tables of all classifiers together, each as CSV and Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in ({"failures": failures} | _join_tables([one.tables for one in classifiers])).items():
        (folder / f"{name}.csv").write_text(as_csv(table), encoding="utf-8")
        write_table(table, folder / f"{name}.parquet", made)


def _join_tables(of_classifiers: Sequence[Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Join the classifiers' tables of one name, the classifier in the first column."""
    joined = {}
    for name, first in of_classifiers[0].items():
        # a table without rows has no types to add
        parts = [tables[name] for tables in of_classifiers if len(tables[name])] or [first]
        table = pd.concat(parts, ignore_index=True)
        joined[name] = table[["classifier", *table.columns.drop("classifier")]]
    return joined


def _write_figures(album: Album, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in album.files.items():
        (folder / name).write_bytes(content)


def _write_text(place: Path, text: str) -> None:
    with whole_file(place) as partial:
        partial.write_text(text, encoding="utf-8")


def _write_crate(inputs: ReportInputs, outputs: ReportOutputs, settings: Config, classifiers: Sequence[ClassifierPage]) -> None:
    """Write the campaign as an RO-Crate, with a copy of the workflow."""
    copy_workflow(outputs.workflow)
    told = CrateInput(
        config=settings,
        contracts={one.name: one.evidence.contract for one in classifiers},
        sources=inputs.sources,
        fields=inputs.field_table,
        made=read_made(outputs.crate.parent),
        software=inputs.run.software,
        revisions=inputs.run.revisions,
        ended=time.time(),
    )
    write_crate(outputs.crate, outputs.workflow, told)
