"""What all settings share: they are frozen, refuse unknown keys, and give names that are safe in paths."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Callable

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")


def _none_twice(items: list[Item]) -> list[Item]:
    twice = sorted(str(item) for item, count in Counter(items).items() if count > 1)
    if twice:
        raise ValueError(f"{twice} {'is' if len(twice) == 1 else 'are'} listed twice")
    return items


SPELLINGS: dict[str, str] = {}
"""Pattern of a text -> what it allows, in words: a fault says these."""


def spelling(pattern: str, words: str, max_length: int | None = None) -> StringConstraints:
    """Return the constraint to a pattern that faults can name in words."""
    SPELLINGS[pattern] = words
    return StringConstraints(pattern=pattern, max_length=max_length)


def is_name(text: str) -> bool:
    """Tell whether a text can be a `Name`."""
    return _NAME.fullmatch(text) is not None and text.lower() not in _DEVICES


def _no_device(name: str) -> str:
    if name.lower() in _DEVICES:
        raise ValueError("a name of a device, which no folder can have where Windows shares the results")
    return name


CALL = "call"
"""A target: the class that the classifier called the view; any other target is a class's name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))})
Name = Annotated[
    str,
    spelling(r"^[A-Za-z0-9][A-Za-z0-9_-]*$", "letters, digits, '_' and '-', a letter or digit first", 64),
    AfterValidator(_no_device),
]
"""A name that becomes a folder."""
PlainName = Annotated[
    str,
    spelling(r"^[a-z0-9][a-z0-9_]*$", "small letters, digits and '_', a letter or digit first", 64),
    AfterValidator(_no_device),
]
Part = Annotated[
    str,
    spelling(r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$", "one part of a path: no '/', no '\\', no '.' first", 128),
]
"""A name inside a plate: whatever its writer gave, but one part of a path."""
Digest = Annotated[str, spelling(r"^[0-9a-f]{64}$", "64 hexadecimal digits in small letters")]
"""A SHA-256, in hexadecimal digits."""
Distinct = Annotated[list[Item], AfterValidator(_none_twice)]
"""A list in which nothing stands twice."""


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def exactly_one(first: str, second: str) -> Callable[[Model], Model]:
    """Return a validator that wants one of two keys, not both and not neither."""

    def check(settings: Model) -> Model:
        if (getattr(settings, first) is None) == (getattr(settings, second) is None):
            raise ValueError(f"give exactly one of {first!r} and {second!r}")
        return settings

    return check
