"""Arrays of views whose field is not finished yet, kept so that a job that is killed does not learn them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from zipfile import BadZipFile

import numpy as np

from pcim.runtime.atomic_file import whole_file
from pcim.runtime.job_log import log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from pcim.stages.attribute.tasks import ExplainTask

MapResult: TypeAlias = "tuple[ExplainTask, dict[str, Any], Mapping[str, NDArray[np.float32]]]"
"""A map that is made: of which task, how that ended for the ledger, and its arrays (channel, y, x)."""


class Spool:
    """A hidden folder beside the ledger: a file for the views of one field that were done together, whole or not there.

    Arrays are kept as they were computed, so a field that is put together from them has the same bytes.
    """

    def __init__(self, ledger: str | Path) -> None:
        file = Path(ledger)
        self.folder = file.parent / f".{file.stem}.spool"
        self._of_field: dict[str, list[Path]] = {}
        self._next = 0

    def find(self, tasks: Mapping[str, Iterable[ExplainTask]]) -> Iterator[MapResult]:
        """Yield what is kept of these tasks (field -> tasks); what is kept of others is deleted."""
        wanted = {(path, task.fingerprint): task for path, members in tasks.items() for task in members}
        for file in sorted(self.folder.glob("*.npz")):
            self._next = max(self._next, int(file.stem) + 1)
            try:
                with file.open("rb") as handle, np.load(handle) as stored:
                    path, entries = json.loads(str(stored["entries"]))
                    known = [wanted.pop((path, entry["fingerprint"]), None) for entry in entries]
                    found = [_arrays_of(stored, number) if task else {} for number, task in enumerate(known)]
            except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
                log.warning("%s cannot be read; its views are explained again: %s", file, error)
                file.unlink(missing_ok=True)
                continue
            if path in tasks:
                self._of_field.setdefault(path, []).append(file)
            else:
                file.unlink(missing_ok=True)
            yield from ((t, e, arrays) for t, e, arrays in zip(known, entries, found, strict=True) if t is not None)

    def add(self, path: str, done: Iterable[MapResult]) -> None:
        """Keep what was made of some tasks of a field."""
        entries: list[dict[str, Any]] = []
        arrays: dict[str, Any] = {}
        for number, (_, ended, of_task) in enumerate(done):
            entries.append(ended)
            arrays |= {f"{number}.{name}": array for name, array in of_task.items()}
        if not entries:
            return
        file = self.folder / f"{self._next:06d}.npz"
        with whole_file(file) as partial, partial.open("wb") as handle:
            np.savez(handle, entries=np.array(json.dumps([path, entries])), **arrays)
        self._next += 1
        self._of_field.setdefault(path, []).append(file)

    def drop(self, path: str) -> None:
        """Delete what is kept of a field: it is stored."""
        for file in self._of_field.pop(path, []):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete the folder: every field is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _arrays_of(stored: Any, number: int) -> dict[str, NDArray[np.float32]]:
    names = [name for name in stored.files if name.startswith(f"{number}.")]
    return {name.partition(".")[2]: stored[name] for name in names}
