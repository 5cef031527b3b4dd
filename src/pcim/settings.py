"""What all settings share: they are frozen, refuse unknown keys, and give names that are safe in paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Callable

Model = TypeVar("Model", bound=BaseModel)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
Part = Annotated[str, StringConstraints(pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$", max_length=128)]
"""A name inside a plate: whatever its writer gave, but one part of a path."""


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
