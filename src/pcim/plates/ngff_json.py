"""The JSON of OME-Zarr groups and arrays, bounded in size and held to the specification's own schemas."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.core.safe_read import printable, read_bytes

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

    from pcim.core.plate_source import Place

MAX_JSON_BYTES = 16_000_000
"""A metadata file may be so large: fifty times what a plate of 1536 wells needs."""

MAX_DEPTH = 32
"""Lists and objects in a metadata file may lie so deep in one another: a plate's lie six deep."""

_HALF_A_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
_REMEMBERED = 100_000


class NgffError(ValueError):
    """A store that is not what it should be; the message says where and what was expected, printable."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def metadata_file(group: Place) -> Place:
    """Return the file that holds a group's attributes: ``zarr.json`` (0.5) or ``.zattrs`` (0.4).

    Raises
    ------
    NgffError
        When the folder has neither.
    """
    for name in ("zarr.json", ".zattrs"):
        if (group / name).is_file():
            return group / name
    raise NgffError(f"{group}: not a zarr group (neither zarr.json nor .zattrs)" if group.exists() else f"{group}: no such folder")


def attributes(group: Place) -> tuple[str, dict[str, Any]]:
    """Return the OME-Zarr version and the OME attributes of a group.

    Raises
    ------
    NgffError
        When the folder is no zarr group or its metadata is not JSON of the expected form and size.
    """
    file = metadata_file(group)
    content = read_json(file)
    if file.name == ".zattrs":
        return "0.4", content
    ome = content.get("attributes", {}).get("ome") if isinstance(content.get("attributes", {}), dict) else None
    if not isinstance(ome, dict):
        return "0.5", {}
    return str(ome.get("version", "")), ome


def read_json(file: Place) -> dict[str, Any]:
    """Return the object in a JSON file, if it is of a sensible size and depth and its texts are whole."""
    try:
        content = plain_json(read_bytes(file, MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise NgffError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise NgffError(f"{file}: expected a JSON object")
    return content


def plain_json(text: bytes) -> Any:
    """Return what JSON says; raises ValueError where it is none, too deep, or holds half a character (a lone surrogate)."""
    content = json.loads(text)
    if _HALF_A_CHARACTER.search(text):
        json.dumps(content, ensure_ascii=False).encode()
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return content
    raise ValueError(f"more than {MAX_DEPTH} lists and objects in one another")


@cache
def _validator(kind: str, version: str) -> Validator:
    """Return the validator of the specification's schema, without what is checked here for speed or tolerance."""
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    folder = Path(__file__).with_name("schemas")
    schema = json.loads((folder / f"ngff_{version.replace('.', '')}.{kind}.json").read_bytes())
    group = schema["properties"].get("ome", schema)["properties"][kind]["properties"]
    if kind == "plate":
        del group["wells"]["uniqueItems"]  # quadratic in the wells
    else:
        del group["images"]["items"]["properties"]["path"]["pattern"]  # ngio and iohub write others
    known = Resource.from_contents(json.loads((folder / "ngff_05.version.json").read_bytes()))
    return Draft202012Validator(schema, registry=known @ Registry())


@lru_cache(maxsize=1000)
def _faults(kind: str, version: str, text: str) -> tuple[str, ...]:
    """Return where the schema refuses metadata, given as JSON: the wells of a plate mostly say the same, and are asked about once."""
    return tuple(
        f"{'.'.join(str(part) for part in error.absolute_path if part != 'ome')}: {error.message:.200}"
        for error in islice(_validator(kind, version).iter_errors(json.loads(text)), 3)
    )


def conform(kind: str, version: str, ome: dict[str, Any], where: str) -> None:
    """Refuse metadata that the specification's schema refuses, with the first places where it does."""
    text = json.dumps(ome if version == "0.4" else {"ome": ome})
    faults = (_faults if len(text) <= _REMEMBERED else _faults.__wrapped__)(kind, version, text)
    if faults:
        raise NgffError(f"{where}: not valid as the {kind} of OME-Zarr {version}: {'; '.join(faults)}")
