"""Sentences on where the maps lie, beside chance and beside the edge control.

The edge control is a map of edges that knows nothing of the classifier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pcim.report.number_format import interval, join, number, percent
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    import pandas as pd

    from pcim.report.wording.cautions import Row


def pointed_regions(regions: pd.DataFrame, method: str = "pcim", control: str = "edge") -> list[Row]:
    """Return the regions that the map points at, highest lift first: lift above 1, and above the edge control's on the same views."""
    rows = rows_of(regions[regions["method"] == method])
    edge = {row["region"]: row for row in rows_of(regions[regions["method"] == control])}
    found = [row for row in rows if row["lift_low"] > 1 and _above(row, edge.get(row["region"]))]
    return sorted(found, key=lambda row: -row["lift"])


def _above(row: Row, edge: Row | None) -> bool:
    """Tell whether a region's lift is above the edge control's: by the paired difference, else (one well) by the control's mean."""
    if not np.isnan(row.get("over_edge_low", np.nan)):
        return bool(row["over_edge_low"] > 0)
    return edge is None or bool(np.isnan(edge["lift"])) or bool(row["lift_low"] > edge["lift"])


def map_sentence(regions: pd.DataFrame, objects: str | None, method: str = "pcim", control: str = "edge", *, named: bool = True) -> str:
    """Say where the map lies, beside chance and beside the edge control; without `named` regions there is nothing to say."""
    if not named:
        return "No regions are named, so where in a view the maps lie is not measured."
    rows = {row["region"]: row for row in rows_of(regions[regions["method"] == method])}
    if not rows or all(np.isnan(row["share"]) for row in rows.values()):
        return "There are no maps to read."
    edge = {row["region"]: row for row in rows_of(regions[regions["method"] == control])}
    pointed = pointed_regions(regions, method, control)
    told = dict.fromkeys([*([objects] if objects in rows else []), *(row["region"] for row in pointed)])
    parts = []
    for region in told or rows:
        row = rows[str(region)]
        beside = f", the edge control {edge[region]['lift']:.1f} times" if edge.get(region, {"lift": 0})["lift"] > 0 else ""
        if beside and not np.isnan(row.get("over_edge_low", np.nan)):
            ends = interval(row["over_edge_low"], row["over_edge_high"], digits=1)
            beside += f", a difference of {number(row['over_edge'], 1)} {ends} on the same views"
        parts.append(
            f"{percent(row['share'])} of the map lies in the {region} ({percent(row['area'])} of a view): "
            f"{row['lift']:.1f} times chance {interval(row['lift_low'], row['lift_high'], digits=1)}{beside}"
        )
    if pointed:
        names = join([f"the {row['region']}" for row in pointed])
        return f"{'. '.join(parts)}. So the map points at {names}.{_compare_with_shuffled(regions, pointed)}"
    return f"{'. '.join(parts)}. So the map points at no region more than edges alone would."


def _compare_with_shuffled(regions: pd.DataFrame, pointed: list[Row]) -> str:
    """Name the regions at which the map of the network with shuffled weights points no less (Adebayo et al. 2018, arXiv 1810.03292)."""
    shuffled = {row["region"]: row for row in rows_of(regions[regions["method"] == "randomised_model"])}
    lifts = {row["region"]: shuffled[row["region"]]["lift"] for row in pointed if row["region"] in shuffled}
    no_less = [
        f"the {row['region']} ({lifts[row['region']]:.1f} times chance)"
        for row in pointed
        if lifts.get(row["region"], 0) >= row["lift_low"]
    ]
    if not no_less:
        return ""
    return (
        f" The map of the same network with shuffled weights lies no less in {join(no_less)}: "
        "that a map does need not come of what was learnt."
    )
