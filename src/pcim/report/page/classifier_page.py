"""Everything that the template shows of one classifier: table rows, pictures with alternative texts and captions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.core.vocabulary import BLURRED, METRICS, SHOWN
from pcim.report.analysis import findings
from pcim.report.analysis.method_scores import is_control
from pcim.report.classifier_findings import ClassifierFindings
from pcim.report.number_format import VERDICT_MARKS, method_name, metric_name, percent
from pcim.report.page import charts
from pcim.report.page.gallery import Gallery
from pcim.report.wording.verdict import JUDGED
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    import pandas as pd

    from pcim.report.page.figures import Album, Plot

_DRAWN_TREATMENTS = 12


@dataclass(kw_only=True)
class ClassifierPage(ClassifierFindings):
    """What the template asks about one classifier; `album` makes its pictures."""

    album: Album
    number_of_panels: int
    number_in_doubt: int

    def region_rank(self, names: pd.Series[str]) -> pd.Series[int]:
        """Return the places of regions in the order of the tables, to sort by."""
        return names.map({name: place for place, name in enumerate(dict.fromkeys(self.regions["region"]))})

    @property
    def mark(self) -> str:
        """The verdict as a style class."""
        return VERDICT_MARKS[self.reading.verdict]

    @property
    def best_accuracy(self) -> dict[str, Any] | None:
        """The accuracy that the card shows: held out by well, or the next best that is known."""
        rows = rows_of(self.accuracy.head(1))
        return rows[0] if rows else None

    @property
    def headline_exchange(self) -> dict[str, Any] | None:
        """The exchange that the card shows: of those that are judged, the region that most calls follow beyond its control."""
        judged = self.exchanges[self.exchanges["family"].isin(JUDGED)]
        rows = judged.assign(order=judged["effect"].fillna(judged["follows"] - 0.5))
        return None if rows.empty else {str(k): v for k, v in rows.sort_values("order").iloc[-1].items()}

    @property
    def headline_lift(self) -> dict[str, Any] | None:
        """The region whose lift the summary shows, the objects or the one of the highest lift, with the edge control's beside."""
        of_read = self.regions[(self.regions["method"] == self.method) & self.regions["lift"].notna()]
        if of_read.empty:
            return None
        objects = of_read[of_read["region"] == self.evidence.settings.objects]
        row = (objects if len(objects) else of_read.sort_values("lift").tail(1)).iloc[0].to_dict()
        edge = self.regions[(self.regions["method"] == "edge") & (self.regions["region"] == row["region"])]["lift"]
        return {str(k): v for k, v in row.items()} | {"edge": float(edge.iloc[0]) if len(edge) else np.nan}

    @property
    def worst_place(self) -> dict[str, Any] | None:
        """What of a well's place tells its class best."""
        rows = self.confounding.sort_values("share", kind="stable", ascending=False)
        return rows_of(rows)[0] if len(rows) else None

    @property
    def in_doubt(self) -> int:
        """How many of the explained views are in doubt."""
        return int((self.explained_views["doubts"] > 0).sum())

    @property
    def confusions(self) -> list[tuple[str, pd.DataFrame]]:
        """Confusion tables by well, for each set of wells whose truth is known."""
        sets = dict.fromkeys(self.accuracy["wells"])
        classes = self.evidence.contract.classes
        return [(kind, findings.confusion_table(self.wells[self.wells["wells"] == kind], classes)) for kind in sets]

    @cached_property
    def gallery(self) -> Gallery:
        """The shown views."""
        return Gallery(self, self.album, self.number_of_panels, self.number_in_doubt)

    def method_name(self, method: str) -> str:
        """Return a method's name for readers."""
        return method_name(method) + (" (control)" if self.is_control(method) else "")

    @property
    def _names(self) -> dict[str, str]:
        """Method -> its name, of the methods that have maps."""
        return {method: method_name(method) for method in self.methods}

    @cached_property
    def region_plot(self) -> Plot | None:
        """Share of the map in each region by method."""
        if self.regions.empty:
            return None
        of_read = rows_of(self.regions[self.regions["method"] == self.method])
        spoken = "; ".join(f"{row['region']} {percent(row['share'])} of the map on {percent(row['area'])} of the area" for row in of_read)
        chart = charts.regions(self.regions, names=self._names, controls=self.controls)
        words = f"Share of the map by region and method. {method_name(self.method)}: {spoken}."
        return self.album.chart(f"{self.name}.regions", chart, words)

    @cached_property
    def exchange_plot(self) -> Plot | None:
        """Calls that follow the exchange of each region."""
        if self.exchanges.empty:
            return None
        spoken = "; ".join(
            f"{r['region']}: {r['k']} of {r['n']}, control {r['control_k']} of {r['control_n']}" for r in rows_of(self.exchanges)
        )
        words = f"Calls that follow an exchange. {spoken}."
        return self.album.chart(f"{self.name}.exchanges", charts.exchanges(self.exchanges), words)

    @cached_property
    def curve_plot(self) -> Plot | None:
        """Mean deletion and insertion curves of every method."""
        if not self.curves["method"].isin(self.methods).any():
            return None
        seen = self.scores[(self.scores["method"] == self.method) & self.scores["seen"].astype(bool)]
        chart = charts.curves(self.curves, names=self._names, controls=self.controls, seen=sorted(set(seen["substitute"]) - {""}))
        words = "Mean deletion and insertion curves by method and substitute; tables/curves.csv holds the numbers."
        return self.album.chart(f"{self.name}.curves", chart, words)

    @cached_property
    def dose_plot(self) -> Plot | None:
        """Calls and maps by dose, of the treatments that go with it most; None where no treatment has two doses."""
        several = self.doses.groupby("treatment")["dose"].nunique()
        surest = self.trends.groupby("treatment")["p"].min()  # not the strongest: three wells at three doses reach 1 by chance
        ranked = surest.reindex(several.index[several > 1]).sort_values(kind="stable")
        shown = self.doses[self.doses["treatment"].isin(ranked.index[:_DRAWN_TREATMENTS])]
        if shown.empty:
            return None
        last = self.evidence.contract.classes[-1]
        chart = charts.dose_response(shown, last_class=last, objects=self.evidence.settings.objects)
        cut = "" if len(ranked) <= _DRAWN_TREATMENTS else f" The {_DRAWN_TREATMENTS} that go with the dose most surely, of {len(ranked)}."
        return self.album.chart(
            f"{self.name}.doses", chart, f"Probability of {last}, and where the map lies, by dose and treatment; tables/doses.csv holds "
                                         f"the numbers.",
            f"Means over the views of each treatment and dose; bars are 95 % intervals by well, which a dose of one well has not.{cut} A "
            f"click in the legend picks one.",
        )  # fmt: skip

    @property
    def lift_trends(self) -> dict[str, dict[str, Any]]:
        """Treatment -> how the lift goes with its dose, where that is known."""
        of_lift = self.trends[(self.trends["measure"] == "lift") & self.trends["rho"].notna()]
        return {str(row["treatment"]): row for row in rows_of(of_lift)}

    @property
    def organelle_rows(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Region -> the read method's share in each channel, and in all: rows of the table by organelle and channel."""
        own = self.organelles[self.organelles["method"] == self.method]
        return [(str(region), rows_of(group)) for region, group in own.groupby("region", sort=False)]

    def is_control(self, method: str) -> bool:
        """Tell whether a row of the tables of methods is a control."""
        return is_control(method)

    @property
    def score_tables(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """The tables of methods, title and columns: fidelity to the classifier, localization in the objects, complexity."""
        titles = {
            "fidelity": "Fidelity: does the call change when the map's pixels go?",
            "localization": f"Localization in the {self.evidence.settings.objects}",
            "complexity": "Complexity and agreement: how widely a map is spread, and how far its ranks are those of the first method",
        }
        of_family = {family: [c for c in self.score_columns if METRICS[c["metric"]].family == family] for family in titles}
        named = [(title, of_family[family]) for family, title in titles.items()]
        return [(title, columns) for title, columns in named if columns]

    @property
    def score_columns(self) -> list[dict[str, Any]]:
        """The columns of the tables of methods: metric, substitute, name and chance level (NaN where there is none)."""
        found = rows_of(self.scores.drop_duplicates(["metric", "substitute"]))
        shown = [column for column in found if column["metric"] in SHOWN]
        chance = self.scores.groupby(["metric", "substitute"])["chance"].mean()
        return [
            {"metric": c["metric"], "substitute": c["substitute"], "name": metric_name(c["metric"]),
             "chance": float(chance[c["metric"], c["substitute"]])}
            for c in sorted(shown, key=lambda column: SHOWN.index(column["metric"]))
        ]  # fmt: skip

    @property
    def score_rows(self) -> list[dict[str, Any]]:
        """The rows of the tables of methods: a method, whether it is a control, and its cells by (metric, substitute).

        Of the blurred maps only those of the method that the page reads are shown; every method's cells say whether it beats its own.
        """
        cells: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        for row in rows_of(self.scores):
            if not row["method"].endswith(BLURRED) or row["method"] == self.method + BLURRED:
                cells.setdefault(row["method"], {})[row["metric"], row["substitute"]] = row
        ordered = sorted(cells, key=self.is_control)
        return [{"name": method_name(m), "control": self.is_control(m), "reference": m == self.method, "cells": cells[m]} for m in ordered]
