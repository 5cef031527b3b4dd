"""The report for machines, as JSON and CSV.

The JSON holds every verdict and every table but those of a row a view. No spreadsheet takes a text of the CSV for a program.
"""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

from pcim.runtime.provenance import code_digest
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pcim.report.classifier_findings import ClassifierFindings
    from pcim.report.inputs import CampaignRun

FORM = 2
"""The form of report.json; raised when a key changes its meaning or goes."""

_LONG = ("views",)
"""Tables of a row a view: a campaign has millions, and Parquet holds them better."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet would run (OWASP, CSV injection)."""


def summary_json(campaign: str, found: Sequence[ClassifierFindings], failures: pd.DataFrame, run: CampaignRun) -> str:
    """Return the campaign's report as JSON: verdict, words and tables by classifier; what is not defined is null."""
    content = {
        "form": FORM,
        "campaign": campaign,
        "revisions": dict(run.revisions),
        "software": dict(run.software),
        "code": code_digest(),
        "classifiers": {one.name: _of_classifier(one) for one in found},
        "failures": json_rows(failures),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _of_classifier(found: ClassifierFindings) -> dict[str, Any]:
    reading = found.reading
    return {
        "verdict": reading.verdict,
        "headline": reading.headline,
        "cautions": list(reading.cautions),
        "map": reading.map_sentence,
        "channels": reading.channels,
        "agreement": reading.agreement,
        "methods": found.trust_sentence,
        "exchanges": reading.exchanges,
        "classes": {name: {"verdict": of.verdict, "headline": of.headline} for name, of in found.by_class.items()},
        "tables": {name: json_rows(table) for name, table in found.tables.items() if name not in _LONG},
    }


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table as JSON holds it, a dictionary a row: numbers and texts of Python, None for NaN."""
    return [{name: _plain(value) for name, value in row.items()} for row in rows_of(table)]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe, so that it stays text."""
    texts = table.select_dtypes(exclude=["number", "bool"]).columns
    safe = table.assign(**{str(name): table[name].map(_as_text) for name in texts})
    # texts are quoted: pandas would leave a lone carriage return bare
    return safe.to_csv(index=False, float_format="%.6g", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def _as_text(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
