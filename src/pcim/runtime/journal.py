"""A journal of finished views, which survives whatever ends the process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from pcim.runtime.job_log import log

SYNC_EVERY_S = 1.0
"""A journal is synced to disk at most so often: on a parallel file system that takes as long as a batch on a GPU."""


class Journal:
    """The finished views of a job that may be killed: a line a view, appended when the view is done and what belongs to it stored.

    Snakemake deletes a job's declared outputs before it runs again; the journal is not declared and stays.
    """

    def __init__(self, ledger: str | Path) -> None:
        file = Path(ledger)
        self.path = file.parent / f".{file.stem}.journal.jsonl"
        self._synced = 0.0

    def rows(self) -> list[dict[str, Any]]:
        """Return the recorded rows, oldest first; a last line that was cut off by a kill is left out."""
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                log.warning("%s: a line that was cut off is left out", self.path)
        return rows

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Record rows: when this returns, a kill of the process loses none, and one of the node those of the last second."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        with self.path.open("ab+") as handle:
            end = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, end - 1))
            torn = end > 0 and handle.read(1) != b"\n"
            handle.write(b"\n" * torn + text.encode())
            handle.flush()
            if time.monotonic() - self._synced >= SYNC_EVERY_S:
                os.fsync(handle.fileno())
                self._synced = time.monotonic()
