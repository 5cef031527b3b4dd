"""Found: what a campaign wrote, read back for its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pcim.classifiers.contract import load_contract
from pcim.core.identity import KEY_COLUMNS
from pcim.core.vocabulary import HOW, PAIR_COLUMNS
from pcim.report.analysis.method_scores import READ, MethodScores
from pcim.report.classifier_findings import Evidence
from pcim.runtime.tables import read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcim.config.classifier import ClassifierSettings
    from pcim.core.plate_source import Source


@dataclass(frozen=True)
class Tables:
    """Parquet tables that are too large to be held together: each is read when its turn comes, every time anew."""

    paths: Sequence[str]

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Read one table after another."""
        return (pd.read_parquet(path) for path in self.paths)


@dataclass(frozen=True)
class ReportInputs:
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
        ledger = _scored_or_failed(read_tables(self.of("ledgers", name), job=True))
        return Evidence(
            name=name,
            settings=entry,
            contract=load_contract(model),
            fields=self.fields[self.fields["plate"].isin(entry.plates)],
            calls=read_tables(self.of("calls", name), job=True).drop(columns=[*HOW, "fingerprint"], errors="ignore"),
            ledger=_in_order(ledger, self.methods),
            shares=_in_order(read_tables(self.of("shares", name)), self.methods),
            scores=MethodScores.of(pd.read_parquet(path, columns=READ) for path in self.of("scores", name)).in_order(
                self.methods
            ),
            curves=Tables(self.of("curves", name)),
            interventions=read_tables(self.of("interventions", name)),
            pairs=read_tables(self.of("pairs", name), columns=(*KEY_COLUMNS, *PAIR_COLUMNS)),
            mean_maps={Path(path).parent.name: Path(path) for path in self.of("mean_maps", name)},
            object_maps={Path(path).parent.name: Path(path) for path in self.of("object_maps", name)},
            stores=self.stores,
            maps={plate: _maps_of(plate, self.methods, self.of("maps", name)) for plate in entry.plates},
        )


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
