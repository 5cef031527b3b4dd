"""Images that a person should look at first, with the reasons, and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from pcim.config.stages import IngestSettings
from pcim.core.identity import FIELD_COLUMNS, KEY_COLUMNS
from pcim.report.number_format import number
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcim.config.report import DoubtSettings

ACCEPTABLE = get_args(get_args(IngestSettings.model_fields["accept"].annotation)[0])
"""The verdicts on fields that a campaign may let pass; fields of the others are not read whatever it says."""


def doubtful(views: pd.DataFrame, settings: DoubtSettings) -> pd.DataFrame:
    """Return the table of views with `doubts` (how many) and `why` (in words, "" where there is none), those most in doubt first.

    `views` has the key, `call`, `truth` ("" = not known), `p` of the call, and where a map was made `fidelity`, `agreement` (NaN =
    not known), `stop`, `p_keep` and `p_drop`. Views in equal doubt come in the order of their fidelity, lowest first.
    """
    found = views.copy()
    reasons = [_reasons(row, settings) for row in rows_of(views)]
    found["doubts"] = [len(of) for of in reasons]
    found["why"] = ["; ".join(of) for of in reasons]
    order = ["doubts", "fidelity", *KEY_COLUMNS]
    return found.sort_values(order, ascending=[False, *[True] * (len(order) - 1)], kind="stable").reset_index(drop=True)


def _reasons(row: dict[str, Any], settings: DoubtSettings) -> list[str]:
    """Name what is doubtful about a view and its map."""
    told = []
    if row["truth"] and row["truth"] != row["call"]:
        told.append(f"called {row['call']}, true class {row['truth']}")
    if row["p"] < settings.undecided:
        told.append(f"undecided, p = {number(row['p'], 3)}")
    if row["fidelity"] <= settings.unfaithful:
        told.append(f"map not faithful: its order is worth {number(row['fidelity'])}")
    if row["agreement"] < settings.disagreement:
        told.append(f"methods disagree: rank correlation {number(row['agreement'])}")
    if row["stop"] == "step limit" and (row["p_keep"] < settings.not_converged or row["p_drop"] > settings.not_converged):
        told.append(f"not converged: p = {number(row['p_keep'])} on what is kept, {number(row['p_drop'])} on what is dropped")
    return told


def failures(fields: pd.DataFrame, views: pd.DataFrame, accept: Sequence[str] = ()) -> pd.DataFrame:
    """Return the fields whose quality verdict is neither ok nor accepted, then the `views` without a result for another reason.

    `views` has the key, `stage`, `status`, `reason` and `job`, the file of the job that a rerun must make again.
    """
    columns = [*KEY_COLUMNS, "stage", "status", "reason", "job"]
    bad = fields[~fields["qc"].isin(["ok", *accept])].assign(view="", stage="ingest", status=lambda table: table["qc"], job="")
    failed = views[views["status"] != "ok"]
    known = failed.merge(bad[list(FIELD_COLUMNS)], on=list(FIELD_COLUMNS), how="left", indicator=True)["_merge"] == "both"
    rest = failed[~(known.to_numpy() & (failed["status"] == "skipped").to_numpy())]  # skipped because of its field: named above
    parts = [part.reindex(columns=columns) for part in (bad, rest) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def acceptable(failed: pd.DataFrame) -> list[str]:
    """Return the verdicts among the failures that `ingest.accept` may let pass."""
    return [verdict for verdict in ACCEPTABLE if ((failed["stage"] == "ingest") & (failed["status"] == verdict)).any()]
