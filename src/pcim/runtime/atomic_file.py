"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a hidden name to write to, and move it to `path` in one step at the end: no reader sees half a file."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.parent / f".{file.name}.partial"
    partial.unlink(missing_ok=True)
    try:
        yield partial
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
