"""The shown views of one classifier as image, map and overlay.

Some of the views are drawn, the others are those most in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pcim.plates.colours import channel_colours
from pcim.plates.rendering import OUTLINES, composite, image_png, map_png, outlines_png, overlay_png, stretch, top_of
from pcim.report.analysis.method_scores import is_control
from pcim.report.number_format import method_name
from pcim.report.page.examples import Example, choose_views, read_example
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pcim.report.classifier_findings import ClassifierFindings
    from pcim.report.page.figures import Album, Picture


@dataclass
class Gallery:
    """Panels of some of a classifier's explained views; all of them share one stretch of the image and one scale of the map."""

    found: ClassifierFindings
    album: Album
    drawn: int
    doubtful: int

    @cached_property
    def examples(self) -> list[Example]:
        """The views that were drawn, not picked, read from the plates."""
        return self._read_examples(choose_views(self.found.explained_views, self.drawn))

    @cached_property
    def in_doubt(self) -> list[Example]:
        """The views most in doubt, read from the plates."""
        views = self.found.explained_views
        return self._read_examples(views[views["doubts"] > 0].head(self.doubtful))

    def _read_examples(self, chosen: pd.DataFrame) -> list[Example]:
        evidence = self.found.evidence
        return [
            read_example(
                row,
                store=evidence.stores[row["plate"]],
                maps=evidence.maps[row["plate"]],
                channels=evidence.contract.input.channels,
                regions=evidence.settings.regions,
            )
            for row in rows_of(chosen)
        ]

    @cached_property
    def _examples_with_map(self) -> list[Example]:
        return [example for example in [*self.examples, *self.in_doubt] if self.found.method in example.maps]

    @cached_property
    def ends(self) -> list[tuple[float, float]]:
        """Black and white of each channel, shared by all shown views."""
        return stretch([example.pixels for example in self._examples_with_map])

    @cached_property
    def colours(self) -> Sequence[str]:
        """The channels' colours, of the first shown view's plate."""
        first = [example.colours for example in self._examples_with_map[:1]]
        return first[0] if first else channel_colours((), len(self.found.evidence.contract.input.channels))

    @cached_property
    def top(self) -> float:
        """The map value shown as white, shared by all shown views."""
        return top_of([example.maps[self.found.method] for example in self._examples_with_map])

    @property
    def outline_legend(self) -> list[tuple[str, str]]:
        """Colour and name of each outlined region, the objects first."""
        settings = self.found.evidence.settings
        names = sorted(settings.regions, key=lambda name: name != settings.objects)
        return list(zip(OUTLINES, names, strict=False))

    @property
    def channel_legend(self) -> list[tuple[str, str]]:
        """Colour and name of each channel in the image; none where there is one channel, shown in grey."""
        channels = self.found.evidence.contract.input.channels
        named = zip(self.colours, channels, strict=True)
        return [(f"#{colour}", channel) for colour, channel in named] if len(channels) > 1 else []

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row a drawn view: what is known of it, and its pictures."""
        return self._panels(self.examples)

    @cached_property
    def doubtful_rows(self) -> list[dict[str, Any]]:
        """The same of the views most in doubt."""
        return self._panels(self.in_doubt)

    def _panels(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        return [self._panel(example) for example in examples if self.found.method in example.maps]

    def _panel(self, example: Example) -> dict[str, Any]:
        """Return image, map, overlay and outlines of a view: the last two lie over one another."""
        row, attribution = example.row, example.maps[self.found.method]
        picture = composite(example.pixels, self.ends, self.colours)
        outlines = {colour: example.regions[name] for colour, name in self.outline_legend}
        where = f"plate {row['plate']}, well {row['well']}, field {row['field']}, view {row['view']}"
        drawn = {
            "image": (image_png(picture), f"Image of {where}"),
            "map": (map_png(attribution, self.top), f"Attribution map of {where}"),
            "overlay": (overlay_png(picture, attribution, self.top), f"Image of {where} with the map over it"),
            "outlines": (outlines_png(outlines, attribution.shape[:2]), "Outlines of the named regions"),
        }
        wrong = bool(row["truth"]) and row["truth"] != row["call"]
        pictures = {name: self.album.png(content, alt) for name, (content, alt) in drawn.items()}
        return {"row": row, "where": where, "wrong": wrong, "p": float(row["p"]), **pictures}

    @cached_property
    def methods(self) -> list[Picture]:
        """The first drawn view with the map of every method, each on its own scale."""
        if not self.examples:
            return []
        example = self.examples[0]
        picture = composite(example.pixels, self.ends, self.colours)
        shown = [self.album.png(image_png(picture), f"Image of well {example.row['well']}", "Image")]
        for method, attribution in example.maps.items():
            top, name = top_of([attribution]), method_name(method)
            name += " (control)" if is_control(method) else ""
            caption = f"{name}\nwhite: {top:.0f} times"
            shown.append(self.album.png(map_png(attribution, top), f"Map by {name}", caption))
        return shown
