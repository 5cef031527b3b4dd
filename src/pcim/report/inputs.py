"""Everything that a report is made from, and the tables of one classifier read from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pcim.classifiers.contract import load_contract
from pcim.core.identity import KEY_COLUMNS
from pcim.core.plate_source import Source
from pcim.core.vocabulary import HOW, PAIR_COLUMNS
from pcim.report.analysis.method_scores import READ, MethodScores
from pcim.report.classifier_findings import Evidence
from pcim.runtime.tables import read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcim.config.config import Config


@dataclass(frozen=True)
class Tables:
    """Parquet tables that are too large to be held together: each is read when its turn comes, every time anew."""

    paths: Sequence[str]

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Read one table after another."""
        return (pd.read_parquet(path) for path in self.paths)


@dataclass(frozen=True)
class CampaignRun:
    """How the campaign was run: the `command` that starts it, the revision of each stage, the version of each program."""

    command: str
    revisions: Mapping[str, int]
    software: Mapping[str, str]


@dataclass(frozen=True)
class ReportInputs:
    """The files of a campaign that its report reads, by what they hold, and how the campaign was run.

    The paths are laid out as ``results/{campaign}/{stage}/{model}/...``. `maps` are the ``zarr.json`` of the plates of maps. `models` are
    the classifiers' model.yaml in the order of the config. `stores` is plate -> the plain form of its source.
    """

    fields: Sequence[str]
    calls: Sequence[str]
    ledgers: Sequence[str]
    shares: Sequence[str]
    mean_maps: Sequence[str]
    object_maps: Sequence[str]
    scores: Sequence[str]
    curves: Sequence[str]
    interventions: Sequence[str]
    pairs: Sequence[str]
    maps: Sequence[str]
    models: Sequence[str]
    stores: Mapping[str, Mapping[str, Any]]
    run: CampaignRun

    @property
    def root(self) -> Path:
        """The folder of the campaign's results: a table of fields lies in it as ``ingest/{plate}/fields.parquet``."""
        return Path(self.fields[0]).parents[2]

    @cached_property
    def field_table(self) -> pd.DataFrame:
        """The fields of all plates."""
        return read_tables(self.fields)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The source of each plate."""
        return {plate: Source.from_dict(store) for plate, store in self.stores.items()}

    def evidence(self, name: str, settings: Config) -> Evidence:
        """Read everything that was found about one classifier; methods come in the order of the config."""
        entry, methods = settings.classifiers[name], settings.attribute.methods
        contracts = dict(zip(settings.classifiers, self.models, strict=True))
        ledger = _drop_second_targets(read_tables(self._of(name, self.ledgers), job=True))
        scores = (pd.read_parquet(path, columns=READ) for path in self._of(name, self.scores))
        return Evidence(
            name=name,
            settings=entry,
            contract=load_contract(Path(contracts[name])),
            fields=self.field_table[self.field_table["plate"].isin(entry.plates)],
            calls=read_tables(self._of(name, self.calls), job=True).drop(columns=[*HOW, "fingerprint"], errors="ignore"),
            ledger=_sort_by_method(ledger, methods),
            shares=_sort_by_method(read_tables(self._of(name, self.shares)), methods),
            scores=MethodScores.from_tables(scores).in_order(methods),
            curves=Tables(self._of(name, self.curves)),
            interventions=read_tables(self._of(name, self.interventions)),
            pairs=read_tables(self._of(name, self.pairs), columns=(*KEY_COLUMNS, *PAIR_COLUMNS)),
            mean_maps={Path(path).parent.name: Path(path) for path in self._of(name, self.mean_maps)},
            object_maps={Path(path).parent.name: Path(path) for path in self._of(name, self.object_maps)},
            stores=self.sources,
            maps={plate: _maps_of(plate, methods, self._of(name, self.maps)) for plate in entry.plates},
        )

    def _of(self, name: str, paths: Sequence[str]) -> list[str]:
        """Return one classifier's paths: the second part below the campaign's results is its name."""
        return [path for path in paths if Path(path).relative_to(self.root).parts[1] == name]


def _drop_second_targets(ledger: pd.DataFrame) -> pd.DataFrame:
    """Leave out the maps of a second target: no score is asked of them, and nothing is wrong with them."""
    return ledger[ledger["scored"].astype(bool) | (ledger["status"] != "ok")]


def _sort_by_method(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Sort by the order in which the config names the methods."""
    rank = table["method"].map({method: number for number, method in enumerate(methods)})
    return table.assign(rank=rank).sort_values("rank", kind="stable").drop(columns="rank").reset_index(drop=True)


def _maps_of(plate: str, methods: Sequence[str], roots: Sequence[str]) -> dict[str, Path]:
    places = {Path(root).parent.name: Path(root).parent for root in roots}
    return {method: places[f"{plate}_{method}.zarr"] for method in methods if f"{plate}_{method}.zarr" in places}
