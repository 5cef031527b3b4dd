"""Page: what the template shows of one classifier: table rows, pictures with alternative texts and captions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pcim import figures, findings, panels
from pcim.evidence import ClassifierFindings
from pcim.measured import BLURRED, METRICS, OBJECTS_MASK, OTHER_VIEW, SHOWN
from pcim.plate import KEY_COLUMNS
from pcim.reading import JUDGED
from pcim.words import VERDICT_MARKS, method_name, metric_name, percent

if TYPE_CHECKING:
    import pandas as pd

    from pcim.figures import Album, Picture

_MEAN_MAPS = 12


@dataclass(kw_only=True)
class ClassifierPage(ClassifierFindings):
    """What the template asks about one classifier; `album` makes its pictures."""

    album: Album
    number_of_panels: int

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
        rows = self.accuracy.to_dict("records")
        return {str(k): v for k, v in rows[0].items()} if rows else None

    @property
    def headline_exchange(self) -> dict[str, Any] | None:
        """The exchange that the card shows: of those that are judged, the region that most calls follow beyond its control."""
        judged = self.exchanges[self.exchanges["family"].isin(JUDGED)]
        rows = judged.assign(order=judged["effect"].fillna(judged["follows"] - 0.5))
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
        hexes = [
            "#" + "".join(f"{round(255 * part):02x}" for part in colours[n % len(colours)])
            for n in range(len(channels))
        ]
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
                panels.overlay_png(picture, attribution, self.top, outlines),
                f"Image of {where} with the map and outlines",
                "overlay",
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
            caption = f"{self.method_name(method)}\nwhite: {top:.0f} times"
            shown.append(
                self.album.png(panels.map_png(attribution, top), f"Map by {self.method_name(method)}", caption)
            )
        return shown

    def method_name(self, method: str) -> str:
        """Return a method's name for readers."""
        return method_name(method) + (" (control)" if self.is_control(method) else "")

    @cached_property
    def region_figure(self) -> Picture | None:
        """Share of the map in each region by method."""
        if self.regions.empty:
            return None
        names = {method: method_name(method) for method in self.methods}
        figure = figures.region_shares(self.regions, names=names, controls=self.controls)
        of_pcim = self.regions[self.regions["method"] == self.method].to_dict("records")
        spoken = "; ".join(
            f"{row['region']} {percent(row['share'])} of the map on {percent(row['area'])} of the area"
            for row in of_pcim
        )
        return self.album.figure(
            f"{self.name}_regions", figure, f"Share of the map by region and method. {self.method}: {spoken}."
        )

    @cached_property
    def exchange_figure(self) -> Picture | None:
        """Calls that follow the exchange of each region."""
        if self.exchanges.empty:
            return None
        spoken = "; ".join(
            f"{r['region']}: {r['k']} of {r['n']}, control {r['control_k']} of {r['control_n']}"
            for r in self.exchanges.to_dict("records")
        )
        return self.album.figure(
            f"{self.name}_exchanges", figures.exchanges(self.exchanges), f"Calls that follow an exchange. {spoken}."
        )

    @property
    def mean_maps_cut(self) -> bool:
        """Whether there are more groups than mean maps are shown of."""
        return int(self.evidence.shares[["call", "treatment"]].nunique().sum()) > _MEAN_MAPS

    @cached_property
    def mean_map_figures(self) -> list[Picture]:
        """Mean maps by call and treatment, a figure a plate."""
        shown = []
        for plate, maps in self.evidence.mean_maps.items():
            wanted = (maps["method"].values == self.method) & np.isin(maps["grouping"].values, ["call", "treatment"])
            order = [int(n) for n in np.flatnonzero(wanted)]
            order = sorted(
                order, key=lambda n: (str(maps["grouping"].values[n]) != "call", -int(maps["views"].values[n]))
            )[:_MEAN_MAPS]
            if not order:
                continue
            titles = [
                f"{maps['grouping'].values[n]} {str(maps['group'].values[n])[:16]}\nn = {maps['views'].values[n]} views"
                for n in order
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
            pictures = [
                self.album.figure(
                    f"{self.name}_{plate}_calls",
                    figure,
                    f"{label} by well on plate {plate}",
                    f"Probability of “{last}”, mean of the well's views; white = undecided.",
                )
            ]
            if objects and wells["share"].notna().any():
                figure = figures.plate_heat(wells, "share", label=f"share of the map in the {objects}", diverging=False)
                pictures.append(
                    self.album.figure(
                        f"{self.name}_{plate}_objects",
                        figure,
                        f"Share of the map in the {objects} by well on plate {plate}",
                        f"Share of the map in the {objects}, mean of the well's explained views; hatched = none explained.",
                    )
                )
            shown.append((str(plate), pictures))
        return shown

    @cached_property
    def dose_figure(self) -> Picture | None:
        """Probability of the last class by dose, where more than one dose is known."""
        if self.wells["dose"].nunique() < 2:  # noqa: PLR2004 - a response needs two doses
            return None
        last = self.evidence.contract.classes[-1]
        figure = figures.dose_response(self.wells, last_class=last)
        return self.album.figure(
            f"{self.name}_dose",
            figure,
            f"Probability of {last} by dose and treatment",
            f"Probability of “{last}” by dose: a dot a well, lines join the means; dashed = undecided.",
        )

    def is_control(self, method: str) -> bool:
        """Tell whether a row of the tables of methods is a control."""
        return method in {*self.controls, OBJECTS_MASK, OTHER_VIEW} or method.endswith(BLURRED)

    @property
    def score_tables(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """The tables of methods, title and columns: fidelity to the classifier, localization in the objects, complexity."""
        titles = {
            "fidelity": "Fidelity: does the call change when the map's pixels go?",
            "localization": f"Localization in the {self.evidence.settings.objects}",
            "complexity": "Complexity and agreement: how widely a map is spread, and how far its ranks are those of the first method",
        }
        of_family = {
            family: [c for c in self.score_columns if METRICS[c["metric"]].family == family] for family in titles
        }
        named = [(title, of_family[family]) for family, title in titles.items()]
        return [(title, columns) for title, columns in named if columns]

    @property
    def score_columns(self) -> list[dict[str, Any]]:
        """The columns of the tables of methods: metric, substitute, name and chance level (NaN where there is none)."""
        found = self.scores.drop_duplicates(["metric", "substitute"]).to_dict("records")
        shown = [column for column in found if column["metric"] in SHOWN]
        chance = self.scores.groupby(["metric", "substitute"])["chance"].mean()
        return [
            {"metric": c["metric"], "substitute": c["substitute"], "name": metric_name(str(c["metric"])),
             "chance": float(chance[c["metric"], c["substitute"]])}
            for c in sorted(shown, key=lambda column: SHOWN.index(column["metric"]))
        ]  # fmt: skip

    @property
    def score_rows(self) -> list[dict[str, Any]]:
        """The rows of the tables of methods: a method, whether it is a control, and its cells by (metric, substitute).

        Of the blurred maps only those of the method that the page reads are shown; every method's cells say whether it beats its own.
        """
        cells: dict[str, dict[tuple[str, str], dict[Any, Any]]] = {}
        for row in self.scores.to_dict("records"):
            if not row["method"].endswith(BLURRED) or row["method"] == self.method + BLURRED:
                cells.setdefault(row["method"], {})[row["metric"], row["substitute"]] = row
        ordered = sorted(cells, key=self.is_control)
        return [
            {"name": method_name(m), "control": self.is_control(m), "reference": m == self.method, "cells": cells[m]}
            for m in ordered
        ]
