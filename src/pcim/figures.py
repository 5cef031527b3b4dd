"""Figures: one function a figure, numbers in, `Figure` out; no global state, and the same numbers give the same bytes.

Widths are chosen so that the text is still legible on a phone. Colours are Okabe and Ito's, told apart by colour-blind
readers; what a colour says is also said by shape or position.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#9AA3AB", "#23292F"
SERIES = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
_DARK = 0.3  # colours this far from the light end carry white marks
PLATES = ((8, 12), (16, 24), (32, 48))
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "pcim", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK,
    "axes.edgecolor": "#C4CAD0", "axes.labelcolor": INK, "xtick.color": "#59636E", "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "hatch.linewidth": 0.4,
    "axes.titlesize": 9, "axes.titlelocation": "left", "xtick.major.size": 2.5, "ytick.major.size": 0,
    "legend.frameon": False, "legend.fontsize": 8.5,
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


@dataclass
class Album:
    """Makes pictures for the page and keeps the PNG figures that go beside it: name -> bytes."""

    files: dict[str, bytes] = field(default_factory=dict)

    def figure(self, name: str, figure: Figure, alt: str, caption: str = "") -> Picture:
        """Inline a figure as SVG and keep it as ``name.png``."""
        self.files[f"{name}.png"] = render(figure, "png")
        return Picture(_data_uri(render(figure, "svg"), "svg+xml"), alt, caption)

    def png(self, content: bytes, alt: str, caption: str = "") -> Picture:
        """Inline a PNG picture."""
        return Picture(_data_uri(content, "png"), alt, caption)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _figure(width: float, height: float, **grid: Any) -> tuple[Figure, NDArray[Any]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(squeeze=False, **grid)


def region_shares(table: pd.DataFrame, *, names: Mapping[str, str], controls: Sequence[str]) -> Figure:
    """Draw each method's share of the map in each region, with its interval; a dashed line marks the area share = chance."""
    with mpl.rc_context(_STYLE):
        regions, methods = list(dict.fromkeys(table["region"])), list(dict.fromkeys(table["method"]))
        figure, axes = _figure(4.9, 0.75 + 0.25 * len(methods), ncols=len(regions), sharey=True)
        for axis, region in zip(axes[0], regions, strict=True):
            rows = table[table["region"] == region].set_index("method")
            area = float(rows["area"].mean())
            axis.axvline(100 * area, color=INK, linestyle=(0, (3, 2)), linewidth=0.9)
            for place, method in enumerate(methods):
                if method in rows.index:
                    colour = GREY if method in controls else (ORANGE if place == 0 else BLUE)
                    _dot(axis, place, rows.loc[method], "share", (colour, "s" if method in controls else "o"))
            axis.set_title(f"{region}\nchance {100 * area:.0f} %")
            _percent_axis(axis)
            axis.set_yticks(range(len(methods)), [names.get(method, method) for method in methods])
            axis.set_ylim(len(methods) - 0.4, -0.6)
        figure.supxlabel("share of the map, %", fontsize=9)
        return figure


def exchanges(table: pd.DataFrame) -> Figure:
    """Draw, a row a region, the share of calls that follow its exchange, and that follow the control patch, with intervals."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.8, 0.95 + 0.46 * len(table))
        axis = axes[0, 0]
        for place, row in enumerate(table.to_dict("records")):
            _dot(axis, place - 0.12, row, "follows", (ORANGE, "o"))
            if row["control_n"]:
                _dot(axis, place + 0.16, row, "control", (GREY, "s"))
        axis.set_yticks(range(len(table)), list(table["region"]))
        axis.set_ylim(len(table) - 0.45, -0.55)
        axis.plot([], [], "o", color=ORANGE, label="region exchanged")
        axis.plot([], [], "s", color=GREY, label="control patch of the same area")
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2, columnspacing=1.2)
        _percent_axis(axis)
        axis.set_xlabel("calls that follow, %")
        return figure


def _dot(axis: Axes, place: float, row: Mapping[Any, Any] | pd.Series[Any], name: str, style: tuple[str, str]) -> None:
    colour, marker = style
    low, high, mean = (100 * float(row[key]) for key in (f"{name}_low", f"{name}_high", name))
    if not np.isnan([low, high]).any():
        axis.plot([low, high], [place, place], color=colour, linewidth=1.6, alpha=0.55, solid_capstyle="round")
    axis.plot([mean], [place], marker, color=colour, markersize=5)


def _percent_axis(axis: Axes) -> None:
    axis.set_xlim(-4, 104)
    axis.set_xticks([0, 50, 100])
    axis.grid(axis="x", color="#ECEFF1", linewidth=0.8)
    axis.set_axisbelow(True)


def plate_shape(rows: Sequence[int], columns: Sequence[int]) -> tuple[int, int]:
    """Return the smallest plate (rows, columns) of 96, 384 or 1536 wells that has these zero-based positions."""
    need = (max(rows, default=0) + 1, max(columns, default=0) + 1)
    return next((shape for shape in PLATES if shape[0] >= need[0] and shape[1] >= need[1]), need)


def row_index(row: str) -> int:
    """Return a plate row's zero-based position: A 0, Z 25, AA 26."""
    number = 0
    for letter in row:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def plate_heat(wells: pd.DataFrame, value: str, *, label: str, diverging: bool) -> Figure:
    """Draw a value in [0, 1] by well (row, column, control_type) on the plate's grid; wells without one are hatched.

    Positive controls carry a plus, negative controls a minus.
    """
    with mpl.rc_context(_STYLE):
        places = [(row_index(row), int(column) - 1) for row, column in zip(wells["row"], wells["column"], strict=True)]
        shape = plate_shape([row for row, _ in places], [column for _, column in places])
        grid = np.full(shape, np.nan)
        figure, axes = _figure(5.2, 0.6 + 4.6 * shape[0] / shape[1])
        axis = axes[0, 0]
        axis.add_patch(
            Rectangle((0, 0), shape[1], shape[0], facecolor="#FAFAFA", hatch="/////", edgecolor="#C3CAD0", linewidth=0)
        )
        for place, number in zip(places, wells[value], strict=True):
            grid[place] = number
        limits = {"vmin": 0.0, "vmax": 1.0 if diverging else max(0.05, float(np.nanmax(grid, initial=0.05)))}
        mesh = axis.pcolormesh(np.ma.masked_invalid(grid), cmap="PuOr_r" if diverging else "cividis", edgecolors="white",
                               linewidth=0.6, **limits)  # fmt: skip
        for (row, column), control in zip(places, wells["control_type"].fillna(""), strict=True):
            if control:
                mark, shown = ("+" if control == "poscon" else "\N{MINUS SIGN}"), grid[row, column]
                dark = (abs(shown - 0.5) if diverging else limits["vmax"] - shown) > _DARK * limits["vmax"]
                axis.text(
                    column + 0.5, row + 0.52, mark, ha="center", va="center", fontsize=7, color="white" if dark else INK
                )
        _plate_axes(axis, shape)
        figure.colorbar(mesh, ax=axis, shrink=0.9, aspect=18, label=label, pad=0.02).outline.set_visible(False)
        return figure


def _plate_axes(axis: Axes, shape: tuple[int, int]) -> None:
    step = 1 if shape[1] <= 12 else 2 if shape[1] <= 24 else 4  # noqa: PLR2004 - so that the numbers do not touch
    names = [(chr(64 + n // 26) if n >= 26 else "") + chr(65 + n % 26) for n in range(shape[0])]  # noqa: PLR2004 - letters
    axis.set_xticks(np.arange(0, shape[1], step) + 0.5, [str(n + 1) for n in range(0, shape[1], step)])
    tall = max(1, shape[0] // 16)
    axis.set_yticks(np.arange(0, shape[0], tall) + 0.5, names[::tall])
    axis.set(xlim=(0, shape[1]), ylim=(shape[0], 0), aspect="equal")
    axis.tick_params(length=0, labelsize=7, labeltop=True, labelbottom=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def dose_response(wells: pd.DataFrame, *, last_class: str) -> Figure:
    """Draw the probability of the last class by dose, a colour and a marker a treatment: a dot a well, a line its means."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.8, 2.6)
        axis = axes[0, 0]
        known = wells[wells["dose"].notna()]
        for number, (treatment, group) in enumerate(known.groupby("treatment", sort=True)):
            colour, marker = SERIES[number % len(SERIES)], "osD^vP"[number % 6]
            means = group.groupby("dose")["p_last"].mean()
            axis.plot(group["dose"], group["p_last"], marker, color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
            axis.plot(
                means.index, means, "-" if len(means) > 1 else marker, color=colour, linewidth=1.4, label=str(treatment)
            )
        axis.axhline(0.5, color="#C4CAD0", linewidth=0.8, linestyle=(0, (3, 2)))
        axis.set(xlabel="dose (as in the plate map)", ylabel=f"probability of {last_class}", ylim=(-0.05, 1.05))
        figure.legend(loc="outside upper left", ncols=3)
        return figure


def mean_maps(stack: NDArray[np.floating], titles: Sequence[str], *, columns: int = 4) -> Figure:
    """Draw mean maps (entry, y, x), in units of the views' mean attribution, on one scale from 0."""
    with mpl.rc_context(_STYLE):
        lines, ratio = -(-len(stack) // columns), stack.shape[1] / stack.shape[2]
        figure, axes = _figure(5.4, 0.55 + lines * (0.42 + 5.0 / columns * ratio), nrows=lines, ncols=columns)
        top = max(2.0, float(np.quantile(stack, 0.998)))
        image = None
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, picture, title in zip(axes.flat, stack, titles, strict=False):
            image = axis.imshow(picture, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
            axis.set_title(title, fontsize=8)
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=34, pad=0.08)  # type: ignore[arg-type]
        bar.set_label("mean attribution; 1 = the view's mean", fontsize=8)
        bar.outline.set_visible(False)
        return figure
