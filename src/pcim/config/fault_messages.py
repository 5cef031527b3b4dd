"""Faults in what a user wrote. Each is one line that names the place, the value and what is allowed."""

from __future__ import annotations

import copy
import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pcim.config.base import SPELLINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from pcim.config.yaml_lines import YamlSource

Model = TypeVar("Model", bound=BaseModel)
_DEPTH = 4
"""So many groups one in another may lose a key that they need before there is no rest to check."""


def parse(model: type[Model], written: YamlSource) -> tuple[Model | None, list[str]]:
    """Validate what is written; return the model, and every fault as one line naming place, key, value and what is allowed.

    With faults, the model is what the rest of the values make, so that the inputs they name can be checked as well; None
    where the rest makes none.
    """
    try:
        return model.model_validate(written.values), []
    except ValidationError as error:
        faults = [_fault(item, model, written) for item in error.errors()]
        found = error.errors()
    rest = copy.deepcopy(written.values)
    for _ in range(_DEPTH):
        for item in found:
            _remove(rest, item["loc"], item["type"] == "missing")
        try:
            return model.model_validate(rest), faults
        except ValidationError as error:
            found = error.errors()
    return None, faults


def _remove(values: Any, loc: tuple[int | str, ...], is_missing: bool) -> None:
    """Take the value at `loc` out, or the list that it is in: what is left then has its default. What lacks a key goes as a whole."""
    place = tuple(part for part in loc if part != "[key]")[: -1 if is_missing else None]
    for depth, key in enumerate(place):
        inner = values.get(key) if isinstance(values, dict) else None
        is_last = depth == len(place) - 1 or not isinstance(inner, dict)
        if is_last:
            if isinstance(values, dict):
                values.pop(key, None)
            return
        values = inner


def absent(path: Path) -> str:
    """Return what is said of a file that is not there, with where it was looked for."""
    where = "" if path.is_absolute() else f"; paths are relative to the working folder, {Path.cwd()}"
    return f"no such file{where}"


def nearest(word: str, allowed: Sequence[str], least: float = 0.6) -> str:
    """Return ' (did you mean ...?)' for a misspelt word, or nothing; `least`: how like it must be, 0 to 1."""
    match = difflib.get_close_matches(word, allowed, n=1, cutoff=least)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _fault(item: ErrorDetails, model: type[BaseModel], written: YamlSource) -> str:
    """Turn one pydantic error into one line: place, what is wrong, the value, what is allowed."""
    place = [str(part) for part in item["loc"] if part != "[key]"]
    where, value = written.at(*place), item["input"]
    if item["type"] == "extra_forbidden":
        allowed = list(_settings_at(model, place[:-1]).model_fields)
        return f"{where}: unknown key{nearest(place[-1], allowed)}; allowed: {', '.join(allowed)}"
    if item["type"] == "missing":
        field = _settings_at(model, place[:-1]).model_fields.get(place[-1])
        return f"{where}: missing{_meaning(field)}"
    if item["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        return f"{where}: expected one of {', '.join(allowed)}, got {value!r}{nearest(str(value), allowed)}"
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] in SPELLINGS:
        return f"{where}: expected {SPELLINGS[item['ctx']['pattern']]}, got {value!r}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{where}: {message}{'' if isinstance(value, dict) else f', got {value!r}'}"


def _meaning(field: FieldInfo | None) -> str:
    return f". It is required: {field.description}" if field is not None and field.description else ""


def _settings_at(model: type[BaseModel], place: list[str]) -> type[BaseModel]:
    """Return the settings at `place`; a dict's key or a list's index is passed over."""
    for part in place:
        field = model.model_fields.get(part)
        if field is None:
            continue
        inner = [kind for kind in _kinds(field.annotation) if issubclass(kind, BaseModel)]
        model = inner[0] if inner else model
    return model


def _kinds(annotation: Any) -> list[type]:
    """Return every class inside an annotation such as ``dict[str, X] | None``."""
    inner = get_args(annotation)
    if not inner:
        return [annotation] if isinstance(annotation, type) else []
    return [kind for part in inner for kind in _kinds(part)]
