"""Where a source plate lies, on a disk or a server, and which of its planes the classifier sees. Nothing is opened here."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upath import UPath

    Place: TypeAlias = Path | UPath

REMOTE = ("s3://", "http://", "https://")
"""How the address of a plate on a server begins."""

PROJECTIONS = ("max", "mean")


def place(address: str) -> Place:
    """Return where an address leads: a path on this machine, or one on a server (by fsspec)."""
    if address.startswith(REMOTE):
        from upath import UPath

        return UPath(address)
    return Path(address)


def holds_secret(address: str) -> bool:
    """Tell whether an address on a server may carry a secret: a user or password, or a query such as a signature."""
    if not address.startswith(REMOTE):
        return False
    rest = address.partition("://")[2].partition("#")[0]  # by hand: urllib refuses some addresses
    return "@" in re.split("[/?]", rest, maxsplit=1)[0] or bool(rest.partition("?")[2])


@dataclass(frozen=True)
class Source:
    """A source plate and what is used of it.

    `z` is a plane's number from 0, ``max`` or ``mean``; `t` a time point's number from 0; both empty where there is one only.
    `channels` are labels for fields that carry none; `acquisition` is the id of the one that is used, empty where there is one;
    `fields` are the only fields of each well that are used, empty for all. `format` is one of `pcim.plates.vendors.FORMATS`.
    """

    address: str
    z: str = ""
    t: str = ""
    channels: tuple[str, ...] = ()
    acquisition: str = ""
    fields: tuple[str, ...] = ()
    format: str = "omezarr"

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Source:
        """Read it from its plain form, `plain`."""
        return cls(**{**told, "channels": tuple(told.get("channels", ())), "fields": tuple(told.get("fields", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Return it as text, as rules and tables hold it."""
        return asdict(self) | {"channels": list(self.channels), "fields": list(self.fields)}

    @cached_property
    def place(self) -> Place:
        """The plate's root."""
        return place(self.address)

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.place.name

    @property
    def wanted_acquisition(self) -> int | None:
        """The id of the acquisition that is used; None where the plate has one only."""
        return int(self.acquisition) if self.acquisition else None
