"""Shares of maps by region, channel, class and treatment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


ALL_CHANNELS = "all"
GROUPINGS = ("well", "treatment", "dose", "call")

_KNOWN = ("treatment", "dose", "call", "method")
"""What a row of shares says of its view, beside its key."""


@dataclass(frozen=True)
class Share:
    """A region's part of a view's attribution; `lift` = share / area, 1 = chance."""

    region: str
    channel: str
    share: float
    area: float
    lift: float


def region_shares(maps: NDArray[np.floating], channels: Sequence[str], regions: Mapping[str, NDArray[np.bool_]]) -> list[Share]:
    """Return each region's share of the attribution in `maps` (channel, y, x), overall and by channel.

    The shares of the regions add up to 1, and so do those of all (region, channel) pairs where the method has a map a
    channel. The lift of a channel compares with that channel's own attribution. A map of zeros gives NaN.
    """
    total = float(maps.sum(dtype=np.float64))
    parts = {ALL_CHANNELS: maps.sum(0, dtype=np.float64)}
    if len(maps) == len(channels) > 1:
        parts |= dict(zip(channels, maps.astype(np.float64), strict=True))
    shares = []
    for name, region in regions.items():
        area = float(region.mean())
        for channel, part in parts.items():
            inside, own = float(part[region].sum()), float(part.sum())
            lift = inside / own / area if own > 0 and area > 0 else np.nan
            shares.append(Share(name, channel, inside / total if total > 0 else np.nan, area, lift))
    return shares


def name_dose(treatment: str, dose: float) -> str:
    """Name a treatment at a dose, ``DMSO @ 1.5``; nothing where there is no dose."""
    return "" if np.isnan(dose) else f"{treatment} @ {dose:.10g}"


def _doses(table: pd.DataFrame) -> list[str]:
    return [name_dose(*pair) for pair in zip(table["treatment"], table["dose"], strict=True)]


def group_shares(shares: pd.DataFrame, groupings: Iterable[str]) -> pd.DataFrame:
    """Average the shares over the views of each group (a well, a treatment, a dose of it, a call), one grouping after another.

    A group by dose is called ``DMSO @ 1.5``; rows without a dose are in none.
    """
    by = ["method", "region", "channel"]
    parts = []
    for grouping in groupings:
        named = shares.assign(group=_doses(shares) if grouping == "dose" else shares[grouping])
        means = named[named["group"] != ""].groupby(["group", *by], sort=True, observed=True)
        found = means.agg(views=("share", "size"), share=("share", "mean"), area=("area", "mean"), lift=("lift", "mean"))
        parts.append(found.reset_index().assign(grouping=grouping))
    table = pd.concat(parts, ignore_index=True)
    return table[["grouping", "group", *by, "views", "share", "area", "lift"]]
