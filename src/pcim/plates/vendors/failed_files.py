"""Files of exports that cannot be read, known by name, size and time alone, and whether those of failed fields changed since."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pcim.plates.vendors.export import digest_of
from pcim.runtime.atomic_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcim.plates.vendors.export import Export

MAX_LOOKED_AT = 20_000
"""So many files are looked at before a run: a minute on a slow file system."""


def files_of(export: Export) -> list[str]:
    """Return the files of the fields that are used, relative to the export, each once."""
    wanted = export.source.fields
    used = (planes for (_, _, name), planes in export.fields.items() if not wanted or name in wanted)
    return sorted({plane.file for planes in used for plane in planes})


def lacking(root: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (file, why) of those of which nothing can be read: ``no such file``, ``an empty file``."""
    for name in names:
        found = look_of(root / name)
        if not found or found.startswith("0 "):
            yield name, "an empty file" if found else "no such file"


def look_of(file: Path) -> str:
    """Return a file's size and time as text, empty where there is none: what changes when it is mended."""
    try:
        told = file.stat()
    except OSError:
        return ""
    return f"{told.st_size} {told.st_mtime_ns}"


def write_failed(table: Path, root: Path, looks: Mapping[str, str], told: str) -> None:
    """Write beside a table of conversion how the files of its failed fields looked, and what `failed_files` `told` its job."""
    content = {"root": str(root), "files": dict(islice(sorted(looks.items()), MAX_LOOKED_AT)), "told": told}
    with whole_file(_beside(table)) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")


def failed_files(table: str | Path) -> str:
    """Return a text that changes when the files of fields that could not be converted do: a param of the job that converts.

    Where they are as they were, it is what that job was told, so that its own end is no change; "" before the first.
    """
    try:
        found = json.loads(_beside(Path(table)).read_text(encoding="utf-8"))
        now = {name: look_of(Path(found["root"]) / name) for name in islice(found["files"], MAX_LOOKED_AT)}
        return str(found["told"]) if now == found["files"] else digest_of([json.dumps(now)])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _beside(table: Path) -> Path:
    return table.parent / f".{table.stem}.failed.json"
