"""Page: one classifier's evidence turned into what the template shows: words, rows, pictures with alternative texts."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim import figures, findings, panels
from pcim.config import CONTROLS
from pcim.plate import KEY_COLUMNS, well_order
from pcim.reading import Reading, ReadingSettings, percent, read_classifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray as xr
    from matplotlib.figure import Figure

    from pcim.config import ClassifierSettings
    from pcim.contract import Contract

METHOD_NAMES = {
    "pcim": "PCIM", "pcim_literal": "PCIM, literal", "integrated_gradients": "Integrated gradients", "grad_cam": "Grad-CAM",
    "occlusion": "Occlusion", "random": "Random", "edge": "Edges", "contrast": "Contrast",
}  # fmt: skip
METRIC_NAMES = {
    "deletion_auc": "deletion AUC ↓", "insertion_auc": "insertion AUC ↑", "relevance_mass_accuracy": "mass in objects ↑",
    "relevance_rank_accuracy": "rank accuracy ↑", "pointing_game": "pointing game ↑", "auprc": "AUPRC ↑",
}  # fmt: skip
_VERDICT_MARKS = {"looks at the biology": "biology", "looks elsewhere": "elsewhere", "looks at both": "both", "cannot tell": "unknown"}
_MEAN_MAPS = 12


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
    scores: pd.DataFrame
    interventions: pd.DataFrame
    mean_maps: Mapping[str, xr.DataArray]
    stores: Mapping[str, Path]
    maps: Mapping[str, Mapping[str, Path]]


@dataclass(frozen=True)
class Picture:
    """An inlined picture with its alternative text and caption."""

    source: str
    alt: str
    caption: str = ""


@dataclass
class Album:
    """Makes pictures for the page and keeps the PNG figures that go beside it: name -> bytes."""

    files: dict[str, bytes] = field(default_factory=dict)

    def figure(self, name: str, figure: Figure, alt: str, caption: str = "") -> Picture:
        """Inline a figure as SVG and keep it as ``name.png``."""
        self.files[f"{name}.png"] = figures.render(figure, "png")
        return Picture(_data_uri(figures.render(figure, "svg"), "svg+xml"), alt, caption)

    def png(self, content: bytes, alt: str, caption: str = "") -> Picture:
        """Inline a PNG picture."""
        return Picture(_data_uri(content, "png"), alt, caption)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass
class ClassifierPage:
    """What the template asks about one classifier."""

    evidence: Evidence
    album: Album
    number_of_panels: int
    draws: int
    reading_settings: ReadingSettings = ReadingSettings()
    controls: tuple[str, ...] = CONTROLS

    @property
    def name(self) -> str:
        """The classifier's name."""
        return self.evidence.name

    @property
    def methods(self) -> list[str]:
        """The methods that have maps, in the order of the config."""
        return list(dict.fromkeys(self.evidence.ledger["method"]))

    @property
    def method(self) -> str:
        """The method whose maps are read: PCIM, or the first where PCIM was not asked for."""
        return "pcim" if "pcim" in self.methods or not self.methods else self.methods[0]

    @cached_property
    def views(self) -> pd.DataFrame:
        """The classified views with what is known of them."""
        return findings.called_views(self.evidence.calls, self.evidence.fields, self.evidence.settings)

    @cached_property
    def wells(self) -> pd.DataFrame:
        """The classified wells, and the share of the map in the objects where views of the well were explained."""
        wells = findings.called_wells(self.views, self.evidence.contract.classes)
        shares = self.evidence.shares
        of_objects = shares[
            (shares["method"] == self.method) & (shares["channel"] == "all") & (shares["region"] == (self.evidence.settings.objects or ""))
        ]
        by_well = of_objects.groupby(findings.WELL, as_index=False)["share"].mean()
        return wells.merge(by_well, on=findings.WELL, how="left")

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Accuracy by well and by view, on held-out and on seen wells."""
        return findings.accuracy_table(self.views, self.wells)

    @cached_property
    def regions(self) -> pd.DataFrame:
        """Share of the map and lift by method and region."""
        return findings.region_table(self.evidence.shares, draws=self.draws)

    @cached_property
    def channels(self) -> pd.DataFrame:
        """Share of the map by method and channel."""
        return findings.channel_table(self.evidence.shares, draws=self.draws)

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
        return findings.method_table(self.evidence.scores, reference=self.method, controls=self.controls, draws=self.draws)

    @cached_property
    def doubts(self) -> pd.DataFrame:
        """Views on which this classifier's stages failed."""
        calls = self.evidence.calls.assign(stage=f"classify {self.name}")
        ledger = self.evidence.ledger
        ledger = ledger.assign(stage="attribute " + self.name + " " + ledger["method"].astype(str))
        ledger = ledger[ledger["status"] == "failed"]
        table = pd.concat([calls, ledger], ignore_index=True) if len(ledger) else calls
        fields = self.evidence.fields
        found = findings.doubts_table(fields, table)
        return found[found["stage"] != "ingest"]

    @cached_property
    def reading(self) -> Reading:
        """The words."""
        ledger = self.evidence.ledger
        return read_classifier(
            regions=self.regions,
            exchanges=self.exchanges,
            accuracy=self.accuracy,
            backgrounds=findings.background_table(ledger[ledger["method"] == self.method]),
            calls=int(self.views["call"].nunique()),
            objects=self.evidence.settings.objects,
            settings=self.reading_settings,
            method=self.method,
        )

    @property
    def mark(self) -> str:
        """The verdict as a style class."""
        return _VERDICT_MARKS[self.reading.verdict]

    @property
    def best_accuracy(self) -> dict[str, Any] | None:
        """The accuracy that the card shows: held out by well, or the next best that is known."""
        rows = self.accuracy.to_dict("records")
        return {str(k): v for k, v in rows[0].items()} if rows else None

    @property
    def headline_exchange(self) -> dict[str, Any] | None:
        """The exchange that the card shows: the region that most calls follow beyond its control."""
        rows = self.exchanges.assign(order=self.exchanges["effect"].fillna(self.exchanges["follows"] - 0.5))
        return None if rows.empty else {str(k): v for k, v in rows.sort_values("order").iloc[-1].items()}

    @property
    def confusions(self) -> list[tuple[str, pd.DataFrame]]:
        """Confusion tables by well, for each set of wells whose truth is known."""
        sets = dict.fromkeys(self.accuracy["wells"])
        classes = self.evidence.contract.classes
        return [(kind, findings.confusion_table(self.wells[self.wells["wells"] == kind], classes)) for kind in sets]

    @cached_property
    def examples(self) -> list[panels.Example]:
        """The shown views, read from the plates."""
        keys = list(KEY_COLUMNS)
        ledger = self.evidence.ledger
        explained = ledger[(ledger["status"] == "ok") & (ledger["method"] == self.method)]
        candidates = self.views.merge(explained[[*keys, "target"]], on=keys)
        chosen = panels.choose_views(candidates, self.number_of_panels)
        return [
            panels.read_example(
                row,
                store=self.evidence.stores[row["plate"]],
                maps=self.evidence.maps[row["plate"]],
                channels=self.evidence.contract.input.channels,
                regions=self.evidence.settings.regions,
            )
            for row in chosen.to_dict("records")
        ]

    @cached_property
    def ends(self) -> list[tuple[float, float]]:
        """Black and white of each channel, shared by all shown views."""
        return panels.stretch(self.examples)

    @cached_property
    def top(self) -> float:
        """The map value shown as white, shared by all shown views."""
        return panels.top_of([example.maps[self.method] for example in self.examples if self.method in example.maps])

    def outline_order(self) -> list[str]:
        """Return the regions that are outlined: the objects first."""
        names = list(self.evidence.settings.regions)
        objects = self.evidence.settings.objects
        return sorted(names, key=lambda name: name != objects)

    @property
    def outline_legend(self) -> list[tuple[str, str]]:
        """Colour and name of each outlined region."""
        return list(zip(panels.OUTLINES, self.outline_order(), strict=False))

    @property
    def channel_legend(self) -> list[tuple[str, str]]:
        """Colour and name of each channel in the image; none where there is one channel, shown in grey."""
        channels = self.evidence.contract.input.channels
        colours = panels.CHANNEL_COLOURS[min(len(channels), 3)]
        hexes = ["#" + "".join(f"{round(255 * part):02x}" for part in colours[n % len(colours)]) for n in range(len(channels))]
        return list(zip(hexes, channels, strict=True)) if len(channels) > 1 else []

    @cached_property
    def panel_rows(self) -> list[dict[str, Any]]:
        """A row a shown view: its title, whether the call is wrong, and image, map, overlay."""
        return [self._panel(example) for example in self.examples if self.method in example.maps]

    def _panel(self, example: panels.Example) -> dict[str, Any]:
        row, attribution = example.row, example.maps[self.method]
        picture = panels.composite(example.pixels, self.ends)
        outlines = {colour: example.regions[name] for colour, name in self.outline_legend}
        where = f"plate {row['plate']}, well {row['well']}, field {row['field']}, view {row['view']}"
        pictures = [
            self.album.png(panels.image_png(picture), f"Image of {where}", "image"),
            self.album.png(panels.map_png(attribution, self.top), f"Attribution map of {where}", "map"),
            self.album.png(
                panels.overlay_png(picture, attribution, self.top, outlines), f"Image of {where} with the map and outlines", "overlay"
            ),
        ]
        wrong = bool(row["truth"]) and row["truth"] != row["call"]
        return {"row": row, "where": where, "wrong": wrong, "pictures": pictures, "p": float(row["p"])}

    @cached_property
    def method_row(self) -> list[Picture]:
        """One view with the map of every method, each on its own scale."""
        if not self.examples:
            return []
        example = self.examples[0]
        picture = panels.composite(example.pixels, self.ends)
        shown = [self.album.png(panels.image_png(picture), f"Image of well {example.row['well']}", "Image")]
        for method, attribution in example.maps.items():
            top = panels.top_of([attribution])
            caption = f"{self.method_name(method)} · white ≥ {top:.0f}"
            shown.append(self.album.png(panels.map_png(attribution, top), f"Map by {self.method_name(method)}", caption))
        return shown

    def method_name(self, method: str) -> str:
        """Return a method's name for readers."""
        return METHOD_NAMES.get(method, method) + (" (control)" if method in self.controls else "")

    @cached_property
    def region_figure(self) -> Picture | None:
        """Share of the map in each region by method."""
        if self.regions.empty:
            return None
        names = {method: METHOD_NAMES.get(method, method) for method in self.methods}
        figure = figures.region_shares(self.regions, names=names, controls=self.controls)
        of_pcim = self.regions[self.regions["method"] == self.method].to_dict("records")
        spoken = "; ".join(f"{row['region']} {percent(row['share'])} of the map on {percent(row['area'])} of the area" for row in of_pcim)
        return self.album.figure(f"{self.name}_regions", figure, f"Share of the map by region and method. {self.method}: {spoken}.")

    @cached_property
    def exchange_figure(self) -> Picture | None:
        """Calls that follow the exchange of each region."""
        if self.exchanges.empty:
            return None
        spoken = "; ".join(f"{r['region']}: {r['k']} of {r['n']}, control {r['control_k']} of {r['control_n']}" for r in self.exchanges.to_dict("records"))
        return self.album.figure(f"{self.name}_exchanges", figures.exchanges(self.exchanges), f"Calls that follow an exchange. {spoken}.")

    @cached_property
    def mean_map_figures(self) -> list[Picture]:
        """Mean maps by call and treatment, a figure a plate."""
        shown = []
        for plate, maps in self.evidence.mean_maps.items():
            wanted = (maps["method"].values == self.method) & np.isin(maps["grouping"].values, ["call", "treatment"])
            order = [int(n) for n in np.flatnonzero(wanted)]
            order = sorted(order, key=lambda n: (str(maps["grouping"].values[n]) != "call", -int(maps["views"].values[n])))[:_MEAN_MAPS]
            if not order:
                continue
            titles = [
                f"{maps['grouping'].values[n]} {str(maps['group'].values[n])[:18]}\nn = {maps['views'].values[n]} views" for n in order
            ]
            figure = figures.mean_maps(maps.values[order], titles)
            alt = "Mean maps: " + "; ".join(title.replace("\n", ", ") for title in titles)
            shown.append(self.album.figure(f"{self.name}_{plate}_mean_maps", figure, alt, plate))
        return shown

    @cached_property
    def plate_figures(self) -> list[tuple[str, list[Picture]]]:
        """Heat maps by plate: probability of the last class, share of the map in the objects."""
        last, objects = self.evidence.contract.classes[-1], self.evidence.settings.objects
        shown = []
        for plate, wells in self.wells.groupby("plate", sort=True):
            label = f"probability of {last}"
            figure = figures.plate_heat(wells, "p_last", label=label, diverging=True)
            pictures = [self.album.figure(f"{self.name}_{plate}_calls", figure, f"{label} by well on plate {plate}", f"Probability of “{last}”, mean of the well's views; white = undecided.")]
            if objects and wells["share"].notna().any():
                figure = figures.plate_heat(wells, "share", label=f"share of the map in the {objects}", diverging=False)
                pictures.append(self.album.figure(f"{self.name}_{plate}_objects", figure, f"Share of the map in the {objects} by well on plate {plate}", f"Share of the map in the {objects}, mean of the well's explained views; hatched = none explained."))
            shown.append((str(plate), pictures))
        return shown

    @cached_property
    def dose_figure(self) -> Picture | None:
        """Probability of the last class by dose, where more than one dose is known."""
        if self.wells["dose"].nunique() < 2:  # noqa: PLR2004 - a response needs two doses
            return None
        last = self.evidence.contract.classes[-1]
        figure = figures.dose_response(self.wells, last_class=last)
        return self.album.figure(f"{self.name}_dose", figure, f"Probability of {last} by dose and treatment", f"Probability of “{last}” by dose: a dot a well, lines join the means; dashed = undecided.")

    @property
    def score_columns(self) -> list[dict[str, Any]]:
        """The columns of the table of methods: metric and substitute, in the order of the data."""
        columns = self.scores.drop_duplicates(["metric", "substitute"]).to_dict("records")
        order = {name: n for n, name in enumerate(METRIC_NAMES)}
        columns.sort(key=lambda c: (not c["substitute"], str(c["substitute"]), order.get(str(c["metric"]), len(order))))
        return [
            {"metric": c["metric"], "substitute": c["substitute"], "name": METRIC_NAMES.get(str(c["metric"]), str(c["metric"]).replace("_", " "))}
            for c in columns
        ]

    @property
    def score_rows(self) -> list[dict[str, Any]]:
        """The rows of the table of methods: a method, whether it is a control, and its cells in the order of the columns."""
        cells = {(row["method"], row["metric"], row["substitute"]): row for row in self.scores.to_dict("records")}
        return [
            {
                "name": METHOD_NAMES.get(method, method),
                "control": method in self.controls,
                "reference": method == self.method,
                "cells": [cells.get((method, column["metric"], column["substitute"])) for column in self.score_columns],
            }
            for method in dict.fromkeys(self.scores["method"])
        ]

    @property
    def chance_cells(self) -> list[float]:
        """The chance level of each column of the table of methods; NaN where there is none."""
        return [
            float(self.scores[(self.scores["metric"] == c["metric"]) & (self.scores["substitute"] == c["substitute"])]["chance"].mean())
            for c in self.score_columns
        ]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return what goes beside the page as CSV: name -> table."""
        wells = self.wells.assign(order=self.wells["well"].map(well_order)).sort_values(["plate", "order"]).drop(columns="order")
        named = {"accuracy": self.accuracy, "regions": self.regions, "channels": self.channels, "interventions": self.exchanges,
                 "methods": self.scores, "wells": wells}  # fmt: skip
        return {name: table.assign(classifier=self.name) for name, table in named.items()}
