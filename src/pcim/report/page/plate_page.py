"""One plate as one classifier saw it.

The plate's page shows where on the plate the classifier calls what, and lists every explained view with its paths.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from pcim.core.plate_source import REMOTE
from pcim.plates import ngff
from pcim.report.json_csv import json_rows
from pcim.report.page import charts, mean_map_figures

if TYPE_CHECKING:
    import pandas as pd

    from pcim.report.page.classifier_page import ClassifierPage
    from pcim.report.page.figures import Album, Picture, Plot

_LISTED = (
    "well", "field", "view", "treatment", "dose", "truth", "call", "p", "share", "lift", "fidelity", "agreement", "stop", "why",
)  # fmt: skip


@dataclass
class PlatePage:
    """What the template asks about one plate and classifier; `folder` is where the page lies, from where links go."""

    found: ClassifierPage
    plate: str
    album: Album
    folder: Path
    listed: int

    @property
    def id(self) -> str:
        """Name of this part of the page and of its figures: neither name has a dot, so no two are alike."""
        return f"{self.found.name}.{self.plate}"

    @cached_property
    def wells(self) -> pd.DataFrame:
        """The plate's wells."""
        wells = self.found.plate_wells
        return wells[wells["plate"] == self.plate]

    @cached_property
    def plots(self) -> list[Plot]:
        """Plate maps of the call, its confidence, where the map lies, how faithful it is, and what went wrong."""
        objects = self.found.evidence.settings.objects
        measures = [
            charts.Measure("call", "Call", "class"),
            charts.Measure("p", "Confidence: probability of the call", "share"),
            charts.Measure("lift", f"Lift of the map in the {objects}: 1 = chance", "lift"),
            charts.Measure("fidelity", "Fidelity: what the map's order is worth, 0 = chance", "signed"),
            charts.Measure("status", "Status of the well's images", "class"),
        ]
        return [
            self.album.chart(
                f"{self.id}.{one.column}",
                charts.plate_map(self.wells, one),
                f"{one.title}, by well, on plate {self.plate}; the wells' table holds the same numbers.",
            )
            for one in measures
            if objects or one.column != "lift"
        ]

    @cached_property
    def mean_maps(self) -> tuple[list[Picture], float]:
        """Mean maps by call and treatment, and the value shown as white."""
        path = self.found.evidence.mean_maps.get(self.plate)
        name = f"{self.id}.mean_maps"
        return ([], 1.0) if path is None else mean_map_figures.mean_maps(path, self.found.method, self.album, name)

    @cached_property
    def object_maps(self) -> tuple[list[tuple[Picture, Picture]], float]:
        """Mean image and mean map around the objects by call, and the value shown as white."""
        path = self.found.evidence.object_maps.get(self.plate)
        colours = self.found.gallery.colours
        return ([], 1.0) if path is None else mean_map_figures.object_maps(path, self.found.method, self.album, colours)

    @property
    def views(self) -> pd.DataFrame:
        """The plate's explained views, those most in doubt first."""
        views = self.found.explained_views
        return views[views["plate"] == self.plate]

    @property
    def in_doubt(self) -> int:
        """How many of the explained views are in doubt."""
        return int((self.views["doubts"] > 0).sum())

    @cached_property
    def failures(self) -> pd.DataFrame:
        """The plate's fields and views without a result."""
        failures = self.found.failures
        return failures[failures["plate"] == self.plate]

    @property
    def _places(self) -> tuple[str, Path | None]:
        """Where the source plate lies, and the plate of maps that is read; None where there is none."""
        evidence = self.found.evidence
        return evidence.stores[self.plate].address, evidence.maps[self.plate].get(self.found.method)

    @property
    def viewer(self) -> str:
        """The command that opens the plate with its maps, quoted for a shell; "" where there are no maps."""
        store, maps = self._places
        return self._view or (shlex.join(["napari", "--plugin", "napari-ome-zarr", store, maps.as_posix()]) if maps else "")

    @property
    def _view(self) -> str:
        """``pcim view`` of the plate; "" where there are no maps, or its images lie on a server, which that does not ask."""
        store, maps = self._places
        if maps is None or store.startswith(REMOTE):
            return ""
        names = ["--plate", self.plate, "--model", self.found.name, "--method", self.found.method]
        return shlex.join(["pcim", "view", maps.parents[2].as_posix(), *names])  # results/{campaign}/maps/{model}/{plate}

    @property
    def listing(self) -> dict[str, Any]:
        """The explained views for the page's list: columns, rows, and where plate and maps lie."""
        views, evidence = self.views.head(self.listed), self.found.evidence
        names = [name for name in _LISTED if name not in {"share", "lift"} or evidence.settings.objects]
        (store, maps), paths = self._places, [str(path) for path in views["path"]]
        return {
            "names": names,
            "rows": [list(row.values()) for row in json_rows(views[names].round(4))],
            "paths": paths,
            "map_paths": [_map_path(path) for path in paths],
            "source": {"address": store, "href": self._href(store)},
            "view": self._view,
            "maps": {"address": maps.as_posix(), "href": self._href(str(maps))} if maps else None,
        }

    def _href(self, address: str) -> str:
        """Return a link to a plate from where the page lies: relative for what lies on this file system, else the address itself."""
        if address.startswith(("http://", "https://")):
            return address
        if "://" in address:
            return ""  # no browser follows it
        return quote(Path(os.path.relpath(address, self.folder)).as_posix())

    @property
    def mean(self) -> dict[str, float]:
        """Means over the plate's wells, for the list of plates."""
        return {
            name: float(np.nanmean(values)) if (values := self.wells[name]).notna().any() else np.nan for name in ("p", "lift", "fidelity")
        }


def _map_path(field: str) -> str:
    well, _, name = field.rpartition("/")
    return f"{well}/{ngff.map_name(name)}"
