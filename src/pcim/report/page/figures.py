"""Charts and pictures, on the page and as SVG and PNG beside it.

The same numbers give the same bytes.
"""

from __future__ import annotations

import base64
import functools
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import altair
import matplotlib as mpl
import numpy as np
import vl_convert
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pcim.report.page.charts import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_INK = "#23292F"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "pcim", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9, "text.color": _INK,
    "axes.titlesize": 9, "axes.titlelocation": "left", "xtick.color": "#59636E",
}  # fmt: skip


def render(figure: Figure, kind: str, dpi: int = 200) -> bytes:
    """Return the figure as ``svg`` or ``png``, without date or software in it."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata, bbox_inches="tight", pad_inches=0.04)
    return buffer.getvalue()


@dataclass(frozen=True)
class Picture:
    """An inlined picture with its alternative text and caption."""

    source: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Plot:
    """A chart that the page draws from its Vega-Lite specification, with its alternative text and caption; `name` is its file's."""

    name: str
    spec: dict[str, Any]
    alt: str
    caption: str = ""


@dataclass
class Album:
    """Makes pictures and charts for the page, and keeps those that go beside it as SVG and PNG: name -> bytes."""

    files: dict[str, bytes] = field(default_factory=dict)

    def chart(self, name: str, chart: altair.TopLevelMixin, alt: str, caption: str = "") -> Plot:
        """Take a chart for the page and keep it as ``name.svg`` and ``name.png``, on light paper, its choices as they start.

        Raises
        ------
        ValueError
            When there is a chart of that name already: the page would show one in the other's place.
        """
        if f"{name}.svg" in self.files:
            raise ValueError(f"two charts are called {name!r}")
        with altair.data_transformers.disable_max_rows():  # every number is drawn, however many there are
            spec: dict[str, Any] = chart.to_dict()
        svg = _own_ids(vl_convert.vegalite_to_svg(spec, config=theme(dark=False), vl_version=VEGA_LITE))
        self.files |= {f"{name}.svg": svg.encode(), f"{name}.png": vl_convert.svg_to_png(svg, scale=2)}
        return Plot(name, spec, alt, caption)

    def png(self, content: bytes, alt: str, caption: str = "") -> Picture:
        """Inline a PNG picture."""
        return Picture(f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}", alt, caption)


VEGA_LITE = "6.4"
"""The version that charts are drawn with, on the page and beside it: what Altair writes."""


def _own_ids(svg: str) -> str:
    """Return a drawing whose gradients and clips count from 0. Vega counts on between drawings; equal charts must be equal bytes."""
    numbers: dict[str, int] = {}
    return re.sub(r"(?<=\bid=\")(clip|gradient_)\d+|(?<=url\(#)(clip|gradient_)\d+",
                  lambda found: f"own{numbers.setdefault(found[0], len(numbers))}", svg)  # fmt: skip


_SHOWN = "window.vegaEmbed = vegaEmbed;"


@functools.cache
def javascript() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that asks no address (BSD-3-Clause, the copy in vl-convert)."""
    return str(vl_convert.javascript_bundle(_SHOWN, vl_version=VEGA_LITE))


def _figure(width: float, height: float, **grid: Any) -> tuple[Figure, NDArray[Any]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(squeeze=False, **grid)


def top_of_means(stack: NDArray[np.floating]) -> float:
    """Return the value that mean maps show as white, in units of the views' mean attribution: their 99.8th percentile, at least 2."""
    return max(2.0, float(np.quantile(stack, 0.998)))


def mean_maps(stack: NDArray[np.floating], titles: Sequence[str], *, columns: int = 4) -> Figure:
    """Draw mean maps (entry, y, x), in units of the views' mean attribution, on one scale from 0."""
    with mpl.rc_context(_STYLE):
        lines, ratio = -(-len(stack) // columns), stack.shape[1] / stack.shape[2]
        figure, axes = _figure(5.4, 0.55 + lines * (0.42 + 5.0 / columns * ratio), nrows=lines, ncols=columns)
        top = top_of_means(stack)
        image = None
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, picture, title in zip(axes.flat, stack, titles, strict=False):
            image = axis.imshow(picture, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
            axis.set_title(title, fontsize=8, parse_math=False)  # a treatment may be called $x$
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=34, pad=0.08)  # type: ignore[arg-type]
        bar.set_label("mean attribution; 1 = the view's mean", fontsize=8)
        bar.outline.set_visible(False)
        return figure
