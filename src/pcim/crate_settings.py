"""Choices about who made a campaign and who may use it: what its RO-Crate says beside what was computed."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from pcim.config.base import Settings


def _checked(orcid: str) -> str:
    """Refuse an ORCID whose last character is not the check character of the others (ISO 7064, MOD 11-2)."""
    digits, total = orcid.replace("-", ""), 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    if digits[-1] != ("X" if check == 10 else str(check)):  # noqa: PLR2004 - X stands for 10
        raise ValueError(f"{orcid!r} is no ORCID: its last character does not check the others")
    return orcid


Orcid = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$"), AfterValidator(_checked)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]


class Person(Settings):
    """Somebody who answers for a campaign."""

    name: Line = Field(description="Name.")
    orcid: Orcid | None = Field(None, description="ORCID, 0000-0002-1825-0097.")
    affiliation: Line | None = Field(None, description="Where this person works.")
