"""Everything that a campaign found about one classifier, and the numbers and words that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from pcim.config.methods import CONTROLS, method_read
from pcim.config.report import DoubtSettings, ReadingSettings
from pcim.core.identity import KEY_COLUMNS, well_order
from pcim.report.analysis import dose_and_position, findings
from pcim.report.analysis.confounding import accuracy_by_level, confounding_table
from pcim.report.analysis.method_scores import MethodScores, curve_table, is_control, method_table
from pcim.report.analysis.review import doubtful, failures
from pcim.report.wording.method_trust import method_sentence
from pcim.report.wording.verdict import ClassifierVerdict, read_classifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pcim.classifiers.contract import Contract
    from pcim.config.classifier import ClassifierSettings
    from pcim.core.plate_source import Source


@dataclass(frozen=True)
class Evidence:
    """Everything the campaign found about one classifier: its tables over all plates, its settings and its contract."""

    name: str
    settings: ClassifierSettings
    contract: Contract
    fields: pd.DataFrame
    calls: pd.DataFrame
    ledger: pd.DataFrame
    shares: pd.DataFrame
    scores: MethodScores
    curves: Iterable[pd.DataFrame]
    interventions: pd.DataFrame
    pairs: pd.DataFrame
    mean_maps: Mapping[str, Path]
    object_maps: Mapping[str, Path]
    stores: Mapping[str, Source]
    maps: Mapping[str, Mapping[str, Path]]


@dataclass
class ClassifierFindings:
    """The numbers and words of one classifier, each worked out once."""

    evidence: Evidence
    draws: int
    reading_settings: ReadingSettings = field(default_factory=ReadingSettings)
    doubt_settings: DoubtSettings = field(default_factory=DoubtSettings)
    accept: Sequence[str] = ()
    controls: tuple[str, ...] = CONTROLS

    @property
    def name(self) -> str:
        """The classifier's name."""
        return self.evidence.name

    @cached_property
    def methods(self) -> list[str]:
        """The methods that have maps, in the order of the config."""
        return list(dict.fromkeys(self.evidence.ledger["method"]))

    @cached_property
    def method(self) -> str:
        """The method whose maps are read: PCIM, or the first where PCIM was not asked for."""
        return method_read(self.methods)

    @property
    def explained_count(self) -> int:
        """How many views have a map by at least one method."""
        ledger = self.evidence.ledger
        return len(ledger[ledger["status"] == "ok"].drop_duplicates(list(KEY_COLUMNS)))

    @cached_property
    def views(self) -> pd.DataFrame:
        """The classified views with what is known of them."""
        return findings.called_views(self.evidence.calls, self.evidence.fields, self.evidence.settings)

    @cached_property
    def explained_views(self) -> pd.DataFrame:
        """The explained views: call, how the map was learnt, `share` and `lift` in the objects, `fidelity`, `agreement`, doubts, `why`."""
        keys, ledger = list(KEY_COLUMNS), self.evidence.ledger
        learnt = ledger[(ledger["status"] == "ok") & (ledger["method"] == self.method)]
        learnt = learnt.reindex(columns=[*keys, "target", "steps", "stop", "p_keep", "p_drop", "p_background"])
        views = self._measured_views.merge(learnt, on=keys, validate="one_to_one")
        others = [method for method in self.methods if not is_control(method) and method != self.method]
        for name, measured in (
            ("fidelity", self.evidence.scores.fidelity(self.method)),
            ("agreement", self.evidence.scores.agreement(others)),
        ):
            views = views.merge(measured.rename(name).reset_index(), on=keys, how="left")
        return doubtful(views, self.doubt_settings)

    @cached_property
    def wells(self) -> pd.DataFrame:
        """The classified wells, and the means of what was measured of their explained views."""
        wells = findings.called_wells(self.views, self.evidence.contract.classes)
        names = ["share", "lift", "fidelity", "agreement"]
        numbers = self.explained_views.astype(dict.fromkeys(names, float))  # a table without a view has no types
        return wells.merge(numbers.groupby(findings.WELL, as_index=False)[names].mean(), on=findings.WELL, how="left")

    @cached_property
    def plate_wells(self) -> pd.DataFrame:
        """Every well of the plates, in the order of the plate: what is known of it, what was measured, and its status."""
        known = ["row", "column", "treatment", "control_type", "dose"]
        wells = findings.well_status(self.evidence.fields, self.failures)
        wells = wells.merge(self.wells.drop(columns=known), on=findings.WELL, how="left")
        order = wells["well"].map(well_order)
        return wells.assign(order=order).sort_values(["plate", "order"]).drop(columns="order").reset_index(drop=True)

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Accuracy by well and by view, on held-out and on seen wells."""
        return findings.accuracy_table(self.views, self.wells)

    @cached_property
    def confounding(self) -> pd.DataFrame:
        """How well the place of a well on its plate tells its class."""
        return confounding_table(self.wells)

    @cached_property
    def levels(self) -> pd.DataFrame:
        """Accuracy within each row, column, ... and third of the light."""
        return accuracy_by_level(self.wells)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """How far it agrees with classifiers after it in the config that saw the same views."""
        return findings.pair_table(self.evidence.pairs, draws=self.draws)

    @cached_property
    def regions(self) -> pd.DataFrame:
        """Share of the map and lift by method and region."""
        return findings.region_table(self.evidence.shares, draws=self.draws)

    @cached_property
    def channels(self) -> pd.DataFrame:
        """Share of the map by method and channel."""
        return findings.channel_table(self.evidence.shares, draws=self.draws)

    @cached_property
    def organelles(self) -> pd.DataFrame:
        """Share of the map and lift by method, region and channel."""
        return dose_and_position.organelle_table(self.evidence.shares, draws=self.draws)

    @cached_property
    def _measured_views(self) -> pd.DataFrame:
        shares, objects = self.evidence.shares, self.evidence.settings.objects
        return dose_and_position.measured_views(self.views, shares, method=self.method, region=objects)

    @cached_property
    def _measured_wells(self) -> pd.DataFrame:
        return dose_and_position.measured_wells(self._measured_views)

    @cached_property
    def treatments(self) -> pd.DataFrame:
        """What is called and where the map lies, by treatment."""
        return dose_and_position.treatment_table(self._measured_views, draws=self.draws)

    @cached_property
    def doses(self) -> pd.DataFrame:
        """The same by treatment and dose."""
        return dose_and_position.dose_table(self._measured_views, draws=self.draws)

    @cached_property
    def trends(self) -> pd.DataFrame:
        """How both go with the dose."""
        return dose_and_position.trend_table(self._measured_wells, draws=self.draws)

    @cached_property
    def positions(self) -> pd.DataFrame:
        """How both go with the place on the plate."""
        return dose_and_position.position_table(self._measured_wells, draws=self.draws)

    @cached_property
    def exchanges(self) -> pd.DataFrame:
        """Calls that follow each region."""
        return findings.exchange_table(self.evidence.interventions, draws=self.draws)

    @cached_property
    def by_call(self) -> pd.DataFrame:
        """The exchanges by the call before and the partner's."""
        return findings.exchange_by_call(self.evidence.interventions)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The table of methods."""
        return method_table(self.evidence.scores, reference=self.method, draws=self.draws)

    @cached_property
    def trust_sentence(self) -> str:
        """Which method's maps to believe."""
        return method_sentence(self.scores, self.reading_settings.worth)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The mean deletion and insertion curves."""
        return curve_table(self.evidence.curves, draws=self.draws)

    @cached_property
    def failures(self) -> pd.DataFrame:
        """The fields of its plates that are not used, and the views on which a stage failed."""
        calls = self.evidence.calls.assign(stage=f"classify {self.name}")
        ledger = self.evidence.ledger
        ledger = ledger.assign(stage="attribute " + self.name + " " + ledger["method"].astype(str))
        ledger = ledger[ledger["status"] == "failed"].drop_duplicates([*KEY_COLUMNS, "stage", "reason"])
        views = pd.concat([calls, ledger], ignore_index=True) if len(ledger) else calls
        return failures(self.evidence.fields, views, self.accept)

    @cached_property
    def by_class(self) -> dict[str, ClassifierVerdict]:
        """What the exchanges of the views of each call say: class -> reading, in the order of the contract."""
        done = self.evidence.interventions
        classes = [name for name in self.evidence.contract.classes if (done["call_before"] == name).any()]
        parts = {name: done[done["call_before"] == name] for name in classes}
        return {
            name: self._read_verdict(findings.exchange_table(part, draws=self.draws), findings.exchange_by_call(part))
            for name, part in parts.items()
        }

    @cached_property
    def reading(self) -> ClassifierVerdict:
        """The words."""
        return self._read_verdict(self.exchanges, self.by_call)

    def _read_verdict(self, exchanges: pd.DataFrame, by_call: pd.DataFrame) -> ClassifierVerdict:
        ledger = self.evidence.ledger
        return read_classifier(
            regions=self.regions,
            exchanges=exchanges,
            accuracy=self.accuracy,
            confounding=self.confounding,
            backgrounds=findings.background_table(ledger[ledger["method"] == self.method]),
            calls=int(self.views["call"].nunique()),
            objects=self.evidence.settings.objects,
            settings=self.reading_settings,
            method=self.method,
            by_call=by_call,
            halo_px=self.evidence.settings.halo_px,
            named=bool(self.evidence.settings.regions),
            channels=self.channels,
        )

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Return what goes beside the page as CSV and Parquet: name -> table."""
        named = {"accuracy": self.accuracy, "confounding": self.confounding, "levels": self.levels, "pairs": self.pairs,
                 "regions": self.regions, "channels": self.channels,
                 "organelles": self.organelles, "treatments": self.treatments, "doses": self.doses, "trends": self.trends,
                 "positions": self.positions, "interventions": self.exchanges, "methods": self.scores, "curves": self.curves,
                 "wells": self.plate_wells,
                 "views": self.explained_views.drop(columns=["logits", "probabilities", "explained"], errors="ignore")}  # fmt: skip
        return {name: table.assign(classifier=self.name) for name, table in named.items()}
