"""Faults in what a user wrote, each as one line that names the place, the value and what is allowed."""

from __future__ import annotations

import copy
import difflib
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], values: Any, source: str) -> tuple[Model | None, list[str]]:
    """Validate `values`; return the model, and every fault as one line naming key, value and what is allowed.

    With faults, the model is what the rest of the values make, so that the inputs they name can be checked as well; None
    where the rest makes none.
    """
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        faults = [_fault(dict(item), model, source) for item in error.errors()]
        rest = copy.deepcopy(values)
        for item in error.errors():
            _remove(rest, item["loc"])
    try:
        return model.model_validate(rest), faults
    except ValidationError:
        return None, faults


def _remove(values: Any, place: tuple[int | str, ...]) -> None:
    """Take the value at `place` out, or the list that it is in: what is left then has its default."""
    for depth, key in enumerate(place):
        inner = values.get(key) if isinstance(values, dict) else None
        is_last = depth == len(place) - 1 or not isinstance(inner, dict)
        if is_last:
            if isinstance(values, dict):
                values.pop(key, None)
            return
        values = inner


def nearest(word: str, allowed: Sequence[str]) -> str:
    """Return ' (did you mean ...?)' for a misspelt word, or nothing."""
    match = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _fault(item: dict[str, Any], model: type[BaseModel], source: str) -> str:
    """Turn one pydantic error into one line: place, what is wrong, the value, what is allowed."""
    place = [str(part) for part in item["loc"]]
    where = f"{source}: {'.'.join(place) or 'the file'}"
    if item["type"] == "extra_forbidden":
        allowed = _fields_at(model, place[:-1])
        return f"{where}: unknown key{nearest(place[-1], allowed)}; allowed: {', '.join(allowed)}"
    if item["type"] == "missing":
        return f"{where}: missing"
    message = item["msg"].removeprefix("Value error, ")
    value = item["input"]
    shown = "" if isinstance(value, dict) else f", got {value!r}"
    return f"{where}: {message}{shown}"


def _fields_at(model: type[BaseModel], place: list[str]) -> list[str]:
    """Return the keys that the settings at `place` have; a dict's key or a list's index is passed over."""
    for part in place:
        field = model.model_fields.get(part)
        if field is None:
            continue
        inner = [kind for kind in _kinds(field.annotation) if issubclass(kind, BaseModel)]
        model = inner[0] if inner else model
    return list(model.model_fields)


def _kinds(annotation: Any) -> list[type]:
    """Return every class inside an annotation such as ``dict[str, X] | None``."""
    inner = get_args(annotation)
    if not inner:
        return [annotation] if isinstance(annotation, type) else []
    return [kind for part in inner for kind in _kinds(part)]
