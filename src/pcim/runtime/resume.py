"""What a job has made of its views, found again by a rerun of the job.

`Journal` is the record of rows: it says which rows are final, line by line, and nothing of it is ever rewritten.
`ResultCache` serves stages whose results are rows: it is a journal while the job runs, and hidden links to the tables once they are
written.
`Spool` (stages/attribute) serves results that are not rows: it holds the arrays of a field that is not whole yet, a file a batch.

One mechanism for the three would do each worse. A spooled map is not a finished one: it is deleted when its field is stored, where
a finished row stays. A finished field is not a row either: the job asks the stored maps themselves, because a node that lost its
power may have kept the row and lost the maps. And arrays are megabytes, which a line of JSON cannot hold, nor a table that is
written at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pcim.runtime.atomic_file import whole_file
from pcim.runtime.job_log import log
from pcim.runtime.journal import Journal
from pcim.runtime.tables import rows_of, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

Rows: TypeAlias = "list[dict[str, Any]]"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return a digest (BLAKE2b, 128 bit) of what a result depends on, in plain form."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


class ResultCache:
    """The views that a job has finished, by fingerprint, for the job's own rerun.

    While the job runs, every finished view is a line of a journal. Then the tables hold the rows, in which a column `fingerprint` says
    whose they are, and a hidden link to each table stays when Snakemake deletes the job's declared outputs before it runs again.
    """

    def __init__(self, *tables: str | Path) -> None:
        self.tables = [Path(table) for table in tables]
        self._journal = Journal(self.tables[0])

    def find(self) -> dict[str, list[Rows]]:
        """Return fingerprint -> the view's rows in each of the tables."""
        of_tables = [_by_fingerprint(_link(table)) for table in self.tables]
        everywhere = set.intersection(*(set(of_table) for of_table in of_tables))
        found = {mark: [of_table[mark] for of_table in of_tables] for mark in everywhere}
        return found | {line["fingerprint"]: line["rows"] for line in self._journal.rows()}

    def add(self, made: Mapping[str, Sequence[Rows]]) -> None:
        """Keep finished views: fingerprint -> the view's rows in each of the tables."""
        self._journal.append([{"fingerprint": mark, "rows": list(rows)} for mark, rows in made.items()])

    def write(self, *frames: pd.DataFrame, made: Mapping[str, Any] | None = None) -> None:
        """Write the tables and what `made` them, the first one last, and keep a link to each in place of the journal."""
        for table, frame in reversed(list(zip(self.tables, frames, strict=True))):
            write_table(frame, table, made)
        for table in self.tables:
            _keep(table)
        self._journal.path.unlink(missing_ok=True)


def _link(table: Path) -> Path:
    """Return where a table is kept: a name that no pattern of tables matches."""
    return table.parent / f".{table.name}.kept"


def _keep(table: Path) -> None:
    """Link a table under its hidden name, or copy it where the file system has no links."""
    kept = _link(table)
    kept.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.link(table, kept)
        return
    with whole_file(kept) as partial:
        shutil.copyfile(table, partial)


def _by_fingerprint(table: Path) -> dict[str, Rows]:
    """Return the rows of a kept table by fingerprint; nothing of one that is not there or cannot be read."""
    import pandas as pd

    if not table.exists():
        return {}
    try:
        frame = pd.read_parquet(table)
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read; its views are done again: %s", table, error)
        return {}
    marked = frame[frame["fingerprint"] != ""] if "fingerprint" in frame else frame.iloc[:0].assign(fingerprint="")
    return {str(mark): rows_of(rows.drop(columns="fingerprint")) for mark, rows in marked.groupby("fingerprint")}
