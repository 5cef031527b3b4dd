"""Which views have maps, read from the status tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcim.core.identity import FIELD_COLUMNS, KEY_COLUMNS
from pcim.runtime.tables import read_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def explained_views(ledgers: Sequence[str], fields: pd.DataFrame, calls: Sequence[str] = ()) -> pd.DataFrame:
    """Return a row a view and method that has a map: the ledgers' rows with the field's path, treatment and dose, and the call.

    Of several targets it is the first, whose maps are scored.
    """
    keys = list(KEY_COLUMNS)
    ledger = read_tables(ledgers)
    found = ledger[ledger["scored"].astype(bool) & (ledger["status"] == "ok")]
    found = found.merge(fields[[*FIELD_COLUMNS, "path", "treatment", "dose"]], on=list(FIELD_COLUMNS), validate="many_to_one")
    if calls:
        called = read_tables(calls)
        found = found.merge(called[[*keys, "call"]], on=keys, validate="many_to_one")
    return found
