"""Agreement of two classifiers of a campaign, where both see the same views of a plate: whether they look at the same pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pcim.core.identity import KEY_COLUMNS, ViewKey
from pcim.core.tiling import Box
from pcim.core.vocabulary import PAIR_COLUMNS
from pcim.metrics import agreement
from pcim.metrics.pixel_ranks import highest_pixels
from pcim.metrics.score_view import TOP_SHARE
from pcim.plates.attribution_plate import AttributionPlate
from pcim.runtime.job_log import log
from pcim.runtime.locks import sole_writer
from pcim.runtime.provenance import record
from pcim.runtime.tables import rows_of, write_table
from pcim.views.resize import fit
from pcim.views.views_with_maps import explained_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PLACE = ("top", "left", "height", "width")
COLUMNS = (*KEY_COLUMNS, *PAIR_COLUMNS)


def compare_classifiers(  # noqa: PLR0913 - a job's inputs
    *,
    classifiers: tuple[str, str],
    method: str,
    fields: str,
    calls: Sequence[str],
    other_calls: Sequence[str],
    ledgers: Sequence[str],
    other_ledgers: Sequence[str],
    maps: tuple[str, str],
    table: str,
    revision: int,
) -> None:
    """Write a row a view of one plate that both classifiers explained by `method`; `maps` are their two plates of maps."""
    with sole_writer(table):
        seen = pd.read_parquet(fields)
        both = shared_views(explained_views(ledgers, seen, calls), explained_views(other_ledgers, seen, other_calls))
        stores = [AttributionPlate(Path(place)) for place in maps]
        rows: list[dict[str, Any]] = []
        for path, of_field in both.groupby("path", sort=True):
            boxes = {str(row["view"]): Box.from_row(row) for row in rows_of(of_field)}
            first, second = (store.read_views(str(path), boxes) for store in stores)
            for row in rows_of(of_field):
                key, pair = ViewKey.from_row(row), (first[row["view"]], second[row["view"]])
                said = {"call": row["call"], "other_call": row["call_other"], "method": method}
                said |= {"classifier": classifiers[0], "other": classifiers[1]}
                said |= {"same_call": row["call"] == row["call_other"]}
                rows.append(key.columns() | said | compare_maps(*pair, key))
        log.info("%s: %d views", table, len(rows))
        made = record("evaluate", revision, classifiers=list(classifiers), method=method)
        write_table(pd.DataFrame(rows, columns=COLUMNS).assign(revision=revision), table, made)


def shared_views(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the views that both tables explain, at the same place in the same field, with both calls (`call`, `call_other`)."""
    by = [*KEY_COLUMNS, *PLACE]
    return one.merge(other[[*by, "call"]], on=by, suffixes=("", "_other"), validate="one_to_one")


def compare_maps(one: NDArray[np.floating], other: NDArray[np.floating], key: ViewKey) -> dict[str, float]:
    """Return how far two maps (channel, y, x) of a view agree, the second brought to the size of the first.

    `agreement`: Spearman's rank correlation, in [-1, 1], chance 0. `top_overlap`: the share of the highest 5 % of the one that is among
    the highest 5 % of the other, in [0, 1], chance 0.05; ties are broken by the view's key, in each map anew, so that two flat maps do
    not agree. Both are NaN where one of the maps is flat.
    """
    size = one.shape[-2], one.shape[-1]
    first, second = (fit(np.nan_to_num(m).sum(0, keepdims=True).astype(np.float32), size)[0] for m in (one, other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return {"agreement": float("nan"), "top_overlap": float("nan")}
    ranks = agreement(*(torch.from_numpy(np.ascontiguousarray(m, np.float32))[None] for m in (first, second)))
    tops = [highest_pixels(m, TOP_SHARE, key.number(lot)) for m, lot in ((first, "ties"), (second, "other ties"))]
    return {"agreement": float(ranks[0]), "top_overlap": float((tops[0] & tops[1]).sum() / tops[0].sum())}
