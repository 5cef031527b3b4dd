"""A row a well in the naming that cytomining tools read, so that what a classifier looks at joins CellProfiler's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pcim.core.identity import GIVEN_COLUMNS, well_order

if TYPE_CHECKING:
    from collections.abc import Sequence

METADATA = "Metadata_"
FEATURE = "PCIM_"

_WELL = ["plate", "well"]


def profile_wells(fields: pd.DataFrame, calls: pd.DataFrame, shares: pd.DataFrame, *, classes: Sequence[str], method: str) -> pd.DataFrame:
    """Return the profiles, a row a well of the plate map that has a field, in plate order.

    ``Metadata_Plate``, ``Metadata_Well`` (``A01``) and ``Metadata_`` with every column of the plate map; ``Metadata_method``,
    ``Metadata_views`` and ``Metadata_explained`` (views with a call, and with a map by `method`). Then the features, float, NaN
    where a well has none: ``PCIM_Probability_{class}``, ``PCIM_Share_{region}_{channel}`` and ``PCIM_Lift_{region}_{channel}``,
    means over the well's views; channel ``all`` is the whole map.
    """
    platemap = [name for name in fields.columns if name not in GIVEN_COLUMNS]
    known = fields.drop_duplicates(_WELL).set_index(_WELL)[platemap]
    known = known.loc[sorted(known.index, key=lambda well: (well[0], well_order(well[1])))]
    called = calls[calls["status"] == "ok"]
    of_method = shares[shares["method"] == method]
    explained = of_method.drop_duplicates([*_WELL, "field", "view"])
    sizes = [table.groupby(_WELL).size().reindex(known.index, fill_value=0) for table in (called, explained)]
    metadata = known.assign(method=method, views=sizes[0], explained=sizes[1])
    features = pd.concat([_probabilities(called, classes), _shares(of_method)], axis=1).reindex(known.index)
    named = metadata.add_prefix(METADATA).join(features.astype(float).add_prefix(FEATURE)).reset_index()
    return named.rename(columns={"plate": f"{METADATA}Plate", "well": f"{METADATA}Well"})


def _probabilities(called: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return each well's mean probability of every class."""
    values = np.array([np.asarray(each, dtype=float) for each in called["probabilities"]]).reshape(-1, len(classes))
    names = [f"Probability_{name}" for name in classes]
    table = pd.DataFrame(values, columns=names, index=pd.MultiIndex.from_frame(called[_WELL]))
    return table.groupby(level=_WELL).mean()


def _shares(shares: pd.DataFrame) -> pd.DataFrame:
    """Return each well's mean share and lift of every region and channel, in the order of the table."""
    parts = ["region", "channel"]
    wide = pd.DataFrame(shares.groupby([*_WELL, *parts])[["share", "lift"]].mean().unstack(parts))
    pairs = list(dict.fromkeys(shares[parts].itertuples(index=False, name=None)))
    columns = [(measure, *pair) for measure in ("share", "lift") for pair in pairs]
    wide = wide.reindex(columns=pd.MultiIndex.from_tuples(columns, names=[None, *parts]))
    return wide.set_axis(["_".join((measure.title(), *pair)) for measure, *pair in columns], axis=1)
