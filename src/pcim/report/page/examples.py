"""The shown views: choose them, and read their pixels, regions and maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pcim.core.identity import ViewKey
from pcim.core.tiling import Box
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.field_image import FieldImage
from pcim.runtime.tables import rows_of
from pcim.views.reader import read_regions
from pcim.views.resize import fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from pcim.config.classifier import Region
    from pcim.core.plate_source import Source


@dataclass(frozen=True)
class Example:
    """One shown view: its row of the tables, raw pixels (channel, y, x) and their colours, regions (y, x), and maps (y, x) by method.

    Maps are >= 0, in units of the view's mean attribution: 1 = an average pixel.
    """

    row: Mapping[str, Any]
    pixels: NDArray[Any]
    regions: Mapping[str, NDArray[np.bool_]]
    maps: Mapping[str, NDArray[np.float32]]
    colours: Sequence[str]


def choose_views(views: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return the shown views: calls take turns, each in the order of a key of the view; a wrong call is always among them.

    `views` has the key columns, call and truth ("" where it is not known). Where a wrong call exists and none was chosen,
    the first of them takes the last place.
    """
    if views.empty:
        return views
    draw = [ViewKey.from_row(row).number("report panels") for row in rows_of(views)]
    ordered = views.assign(draw=draw).sort_values("draw")
    turn = ordered.groupby("call").cumcount()
    chosen = ordered.assign(turn=turn).sort_values(["turn", "call"], kind="stable").head(number)
    wrong = ordered[(ordered["truth"] != "") & (ordered["truth"] != ordered["call"])]
    if len(wrong) and not chosen.index.isin(wrong.index).any():
        return ordered.loc[[*chosen.index[: number - 1], wrong.index[0]]]
    return ordered.loc[chosen.index]


def read_example(
    row: Mapping[str, Any],
    *,
    store: Source,
    maps: Mapping[str, Path],
    channels: Sequence[str],
    regions: Mapping[str, Region],
) -> Example:
    """Read what is shown of one view; `maps` = method -> plate of maps. A map that cannot be read is left out."""
    path = str(row["path"])
    box, name = Box(int(row["top"]), int(row["left"]), int(row["height"]), int(row["width"])), str(row["view"])
    seen = box.slices
    image = FieldImage.open(store, path)
    masks = {region: mask[seen] for region, mask in read_regions(image, regions).items()}
    found = {}
    for method, place in maps.items():
        try:
            field = fit(AttributionPlate(place).read_views(path, {name: box})[name], (box.height, box.width))
        except (OSError, ValueError, KeyError):
            continue
        if not np.isnan(field).all():
            found[method] = np.clip(np.nan_to_num(field.sum(0)), 0, None).astype(np.float32)
    pixels = image.read(channels)[:, *seen]
    return Example(row, pixels, masks, found, image.colours(channels))
