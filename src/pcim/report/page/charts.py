"""Altair charts from tables. The page draws the charts, and the same charts are kept beside the page as SVG and PNG.

Texts from tables are data, never part of an expression or of a field's name. What a colour says is also said by shape, letter or
position, and by the table beside the chart. Colours are Okabe and Ito's, viridis' kin and PuOr: told apart by colour-blind readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from pcim.core.identity import row_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A939B"
_DASHES = ([4, 3], [1, 2], [8, 3], [8, 2, 2, 2])
SERIES = (ORANGE, BLUE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#A6761D", "#7570B3")
PLATES = ((8, 12), (16, 24), (32, 48))
WIDTH, _MAP_WIDTH = 430, 408
"""Width of a chart, px; the page shrinks what is wider than a phone."""

_LOG_FROM = 20.0
"""Doses that span more than this factor are drawn on a logarithmic scale."""

Kind = Literal["share", "lift", "signed", "class"]


def theme(*, dark: bool) -> dict[str, Any]:
    """Return how every chart looks on light or dark paper: a Vega-Lite configuration."""
    ink, soft, line = ("#E6EAED", "#A7B0B8", "#3A434B") if dark else ("#1D2329", "#4F5963", "#D5DADE")
    return {
        "background": None if dark else "#FFFFFF",
        "font": "DejaVu Sans, Verdana, sans-serif",
        "aria": False,  # the page's own element carries the words
        "axis": {"labelColor": soft, "titleColor": ink, "domainColor": line, "tickColor": line, "gridColor": line,
                 "gridOpacity": 0.6, "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8},
        "legend": {"labelColor": ink, "titleColor": soft, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
                   "labelLimit": 260, "symbolStrokeWidth": 2},
        "header": {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "labelFontWeight": "bold"},
        "title": {"color": ink, "fontSize": 13, "anchor": "start", "fontWeight": "bold", "offset": 10},
        "text": {"color": ink},
        "rule": {"color": soft},
        "view": {"stroke": None},
    }  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """What a plate map shows: a column of the table of wells, how it is called, and what its colours mean."""

    column: str
    title: str
    kind: Kind


def plate_shape(rows: Sequence[int], columns: Sequence[int]) -> tuple[int, int]:
    """Return the smallest plate (rows, columns) of 96, 384 or 1536 wells that has these places, counted from 1."""
    need = (max(rows, default=1), max(columns, default=1))
    return next((shape for shape in PLATES if shape[0] >= need[0] and shape[1] >= need[1]), need)


def row_names(count: int) -> list[str]:
    """Return the names of a plate's first rows: A to Z, then AA."""
    return [(chr(64 + n // 26) if n >= 26 else "") + chr(65 + n % 26) for n in range(count)]  # noqa: PLR2004 - letters


def plate_map(wells: pd.DataFrame, measure: Measure) -> alt.LayerChart | alt.FacetChart:
    """Draw one measure by well where it lies on the plate; a well without a value shows the paper's grey.

    Positive controls carry a plus, negative ones a minus; classes carry their letter. A click marks a well (parameter ``well``).
    """
    places = [(row_number(row), int(column)) for row, column in zip(wells["row"], wells["column"], strict=True)]
    shape = plate_shape([row for row, _ in places], [column for _, column in places])
    told = ["well", "treatment", "dose", "truth", "call", measure.column]
    table = _plain(wells, list(dict.fromkeys(told))).assign(
        row=wells["row"].to_numpy(), column=[column for _, column in places], plate=wells["plate"].to_numpy(),
        mark=_marks(wells, measure),
    )  # fmt: skip
    step, picked = _MAP_WIDTH / shape[1], alt.selection_point(name="well", fields=["plate", "well"], empty=False)
    base = alt.Chart(table).encode(
        x=alt.X("column:O", title=None, scale=alt.Scale(domain=list(range(1, shape[1] + 1)), paddingInner=0.06),
                axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False, labelOverlap=True)),
        y=alt.Y("row:O", title=None, scale=alt.Scale(domain=row_names(shape[0]), paddingInner=0.06),
                axis=alt.Axis(ticks=False, domain=False, labelOverlap=True)),
    )  # fmt: skip
    cells = base.mark_rect(cursor="pointer").encode(
        color=_colour(table, measure),
        stroke=alt.condition(picked, alt.value("#E69F00"), alt.value(None)),
        strokeWidth=alt.value(3),
        tooltip=[alt.Tooltip(_encode(table, name),
        title=name if name != measure.column else measure.title) for name in dict.fromkeys(told)],
    ).add_params(picked)  # fmt: skip
    size: dict[str, Any] = {"fontSize": max(7.0, min(12.0, step * 0.62)), "fontWeight": "bold", "tooltip": False}
    named = base.transform_filter("datum.mark != ''").encode(text="mark:N")
    halo = named.mark_text(color="#1D2329", stroke="#1D2329", strokeWidth=2.5, **size)  # legible on every colour
    marks = named.mark_text(color="#FFFFFF", **size)
    return alt.layer(cells, halo, marks).properties(
        width=_MAP_WIDTH, height=round(step * shape[0]), title=measure.title,
        view=alt.ViewBackground(fill="#8A939B", fillOpacity=0.18),
    )  # fmt: skip


def _marks(wells: pd.DataFrame, measure: Measure) -> list[str]:
    if measure.kind != "class":
        signs = {"poscon": "+", "negcon": "\N{MINUS SIGN}"}
        return [signs.get(control, "") for control in wells["control_type"].fillna("")]
    values = wells[measure.column].fillna("").astype(str)
    names = sorted(set(values) - {""})
    firsts = [name[:1].upper() for name in names]
    letters = dict(zip(names, firsts, strict=True)) if len(set(firsts)) == len(firsts) else {n: str(i) for i, n in enumerate(names, 1)}
    return [letters.get(value, "") if value != "ok" else "" for value in values]


def _colour(table: pd.DataFrame, measure: Measure) -> Any:
    """Choose the colours by what the numbers mean: a middle where there is one, one scale from 0 else."""
    legend = alt.Legend(title=None, orient="bottom", gradientLength=180, gradientThickness=9)
    if measure.kind == "class":
        names = sorted({str(value) for value in table[measure.column].dropna()} - {""})
        if not names:  # a plate without a call
            return alt.value(GREY)
        shades = {name: SERIES[(n + 1) % len(SERIES)] for n, name in enumerate(names)} | {"ok": "#56B4E9"}
        scale = alt.Scale(domain=names, range=[shades[name] for name in names])
        return alt.Color(f"{measure.column}:N", scale=scale, legend=alt.Legend(title=None, orient="bottom", columns=3))
    known = table[measure.column].dropna().astype(float)
    top = float(known.max()) if len(known) else 1.0
    scale = {
        "share": alt.Scale(scheme="cividis", domain=[0, max(top, 0.05)]),
        "lift": alt.Scale(scheme="purpleorange", domain=[0, max(top, 2.0)], domainMid=1),
        "signed": alt.Scale(scheme="purpleorange", domain=[-_reach(known), _reach(known)], domainMid=0),
    }[measure.kind]
    return alt.Color(f"{measure.column}:Q", scale=scale, legend=legend)


def _reach(values: pd.Series[float]) -> float:
    return max(0.05, float(values.abs().max())) if len(values) else 1.0


def curves(table: pd.DataFrame, *, names: Mapping[str, str], controls: Sequence[str], seen: Sequence[str]) -> alt.FacetChart:
    """Draw every method's deletion and insertion curves in their 95 % intervals; a substitute is chosen, a method is picked in the legend.

    `names` = method -> name, in order; `seen` = the substitutes that the first method was given, named so in the list.
    """
    shown = table[table["method"].isin(list(names))]
    data = _plain(shown, ["share", "mean", "low", "high"]).assign(
        method=shown["method"].map(names).to_numpy(), substitute=shown["substitute"].to_numpy(), order=shown["order"].to_numpy(),
    )  # fmt: skip
    kinds = list(dict.fromkeys(shown["substitute"]))
    kinds.sort(key=lambda kind: kind in seen)
    labels = [f"{kind} (PCIM's own: in-sample)" if kind in seen else kind for kind in kinds]
    removed = alt.param(
        name="removed",
        value=kinds[0],
        bind=alt.binding_select(options=kinds, labels=labels, name="Removed pixels become "),
    )
    picked = alt.selection_point(name="method", fields=["method"], bind="legend")
    legend = alt.Legend(title=None, orient="right", symbolType="stroke", symbolOpacity=1, symbolSize=400)
    base = alt.Chart(data).transform_filter("datum.substitute == removed").encode(
        x=alt.X("share:Q", title="share of the pixels moved", axis=alt.Axis(format="%", tickCount=6)),
        color=alt.Color("method:N", scale=_method_scale(names, controls), legend=legend),
    )  # fmt: skip
    line = base.mark_line(strokeWidth=2).encode(
        y=alt.Y("mean:Q", title="probability of the class", scale=alt.Scale(domain=[0, 1])),
        strokeDash=alt.StrokeDash("method:N", scale=_dash_scale(names, controls), legend=legend),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.12)),
        tooltip=["method", "substitute", "order", alt.Tooltip("share:Q", format=".0%"), alt.Tooltip("mean:Q", format=".3f"),
                 alt.Tooltip("low:Q", format=".3f"), alt.Tooltip("high:Q", format=".3f")],
    )  # fmt: skip
    band = base.mark_area().encode(y="low:Q", y2="high:Q", opacity=alt.condition(picked, alt.value(0.15), alt.value(0)))
    chart = alt.layer(band, line).add_params(removed, picked).properties(width=WIDTH - 60, height=170)
    return chart.facet(row=alt.Row("order:N", title=None, header=alt.Header(labelOrient="top", labelAnchor="start")))


def _method_scale(names: Mapping[str, str], controls: Sequence[str]) -> alt.Scale:
    shades, free = {}, iter(SERIES * (1 + len(names) // len(SERIES)))
    for method, name in names.items():
        shades[name] = GREY if method in controls else next(free)
    return alt.Scale(domain=list(shades), range=list(shades.values()))


def _dash_scale(names: Mapping[str, str], controls: Sequence[str]) -> alt.Scale:
    """Break the lines of controls, each in its own way, as they share one grey."""
    grey = [name for method, name in names.items() if method in controls]
    broken = dict(zip(grey, _DASHES * len(grey), strict=False))
    return alt.Scale(domain=list(names.values()), range=[broken.get(name, [1, 0]) for name in names.values()])


def regions(table: pd.DataFrame, *, names: Mapping[str, str], controls: Sequence[str]) -> alt.FacetChart:
    """Draw each method's share of the map in each region with its interval; a dashed line marks the area's share = chance."""
    shown = table[table["method"].isin(list(names))]
    data = _plain(shown, ["share", "share_low", "share_high", "area"]).assign(
        method=shown["method"].map(names).to_numpy(), region=shown["region"].to_numpy(),
        kind=["control" if method in controls else "method" for method in shown["method"]],
    )  # fmt: skip
    base = alt.Chart(data).encode(
        y=alt.Y("method:N", title=None, sort=list(names.values()), axis=alt.Axis(ticks=False, domain=False, labelLimit=170))
    )
    dots = _dots(base, ("share", "share_low", "share_high"), ["method", "control"], "share of the map")
    chance = base.mark_rule(strokeDash=[3, 2]).encode(x="mean(area):Q", y=alt.value(0), y2=alt.value("height"))
    order = list(dict.fromkeys(shown["region"]))
    chart = alt.layer(chance, *dots).properties(width=150, height=max(90, 19 * len(names)))
    return chart.facet(facet=alt.Facet("region:N", title=None, sort=order), columns=2)


def exchanges(table: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Draw, a row a region, the share of calls that follow its exchange, and that follow the control patch, with intervals."""
    parts = []
    for prefix, kind in (("follows", "region exchanged"), ("control", "control patch of the same area")):
        columns = [prefix, f"{prefix}_low", f"{prefix}_high"]
        part = _plain(table, columns).set_axis(["share", "low", "high"], axis=1)
        parts.append(part.assign(region=table["region"].to_numpy(), kind=kind))
    data = pd.concat(parts, ignore_index=True).dropna(subset=["share"])
    kinds = ["region exchanged", "control patch of the same area"]
    base = alt.Chart(data).encode(
        y=alt.Y("region:N", title=None, sort=list(table["region"]), axis=alt.Axis(ticks=False, domain=False, labelLimit=150)),
        yOffset=alt.YOffset("kind:N", sort=kinds),
    )  # fmt: skip
    dots = _dots(base, ("share", "low", "high"), kinds, "calls that follow")
    return alt.layer(*dots).properties(width=WIDTH - 120, height=max(80, 34 * table["region"].nunique()))


def dose_response(table: pd.DataFrame, *, last_class: str, objects: str | None) -> alt.LayerChart | alt.FacetChart:
    """Draw by dose, a line a treatment, the probability of the last class or where the map lies, with intervals; the measure is chosen.

    `table` is `dose_and_position.dose_table`'s. Doses are drawn on a logarithmic scale where all are above 0 and span more than a factor
    of 20.
    """
    measures = {"p_last": f"probability of {last_class}"}
    if objects:
        measures |= {"share": f"share of the map in the {objects}", "lift": f"lift in the {objects}, 1 = chance"}
    parts = []
    for measure, title in measures.items():
        part = _plain(table, [measure, f"{measure}_low", f"{measure}_high"]).set_axis(["mean", "low", "high"], axis=1)
        known = {name: table[name].to_numpy() for name in ("treatment", "dose", "wells")}
        parts.append(part.assign(measure=title, **known).dropna(subset=["mean"]))
    shown = alt.param(name="measure", value=measures["p_last"],
                      bind=alt.binding_select(options=list(measures.values()), name="Show the "))  # fmt: skip
    picked = alt.selection_point(name="treatment", fields=["treatment"], bind="legend")
    doses = table["dose"].to_numpy(dtype=float)
    wide = len(doses) and doses.min() > 0 and doses.max() / doses.min() > _LOG_FROM
    treatments = list(dict.fromkeys(table["treatment"]))
    legend = alt.Legend(title=None, orient="right", symbolOpacity=1)
    base = alt.Chart(pd.concat(parts, ignore_index=True)).transform_filter("datum.measure == measure").encode(
        x=alt.X("dose:Q", title="dose (as in the plate map)", scale=alt.Scale(type="log" if wide else "linear", zero=False)),
        color=alt.Color("treatment:N", legend=legend,
                        scale=alt.Scale(domain=treatments, range=[SERIES[n % len(SERIES)] for n in range(len(treatments))])),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.12)),
    )  # fmt: skip
    told = ["treatment:N", "dose:Q", alt.Tooltip("mean:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f"),
            alt.Tooltip("high:Q", format=".3f"), "wells:Q"]  # fmt: skip
    lines = base.mark_line(strokeWidth=1.5).encode(y=alt.Y("mean:Q", title="mean over views"))
    ends = base.mark_errorbar(ticks={"size": 9}, rule={"strokeWidth": 2}).encode(y=alt.Y("low:Q", title="mean over views"), y2="high:Q")
    marks = base.mark_point(filled=True, size=50).encode(
        y="mean:Q", tooltip=told, shape=alt.Shape("treatment:N", scale=alt.Scale(domain=treatments), legend=legend)
    )
    return alt.layer(lines, ends, marks).add_params(shown, picked).properties(width=WIDTH - 110, height=220)


def _dots(base: alt.Chart, columns: tuple[str, str, str], kinds: Sequence[str], title: str) -> tuple[alt.Chart, alt.Chart]:
    """Return a line from end to end of each interval, and a mark at its mean: the first kind orange and round, the second grey and square.

    `columns` = mean, low and high end; the column ``kind`` is one of `kinds`.
    """
    value, low, high = columns
    shown = alt.Legend(title=None, orient="top")
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[ORANGE, GREY]), legend=shown)
    axis = alt.X(f"{low}:Q", title=title, axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domain=[0, 1]))
    lines = base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=axis, x2=f"{high}:Q", color=colour)
    told = [alt.Tooltip(f"{name}:Q", format=".1%") for name in columns]
    marks = base.mark_point(filled=True, size=55, opacity=1).encode(
        x=f"{value}:Q", color=colour, tooltip=["region:N", "kind:N", *told],
        shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["circle", "square"]), legend=shown),
    )  # fmt: skip
    return lines, marks


def _encode(table: pd.DataFrame, name: str) -> str:
    return f"{name}:Q" if pd.api.types.is_numeric_dtype(table[name]) else f"{name}:N"


def _plain(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns with four digits after the point, which keeps the page small; text where there is none is empty."""
    found = table[list(columns)].reset_index(drop=True)
    for name in found:
        if pd.api.types.is_float_dtype(found[name]):
            found[name] = found[name].astype(np.float64).round(4)
        elif not pd.api.types.is_numeric_dtype(found[name]):
            found[name] = found[name].astype(object).where(found[name].notna(), "")
    return found
