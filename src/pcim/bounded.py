"""Reading what others wrote: regular files of a bounded size, and words about them that a log or terminal may show."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcim.source import Place

MAX_TEXT_BYTES = 64_000_000
"""A table, config or contract may be so large: a plate map of 1536 wells with a hundred columns has under 2 MB."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SECRETS = (
    re.compile(r"(?<=:/)(/?)[^/\s@'\"]+@"),
    re.compile(r"(?i)([?&](?:x-amz-[a-z-]+|awsaccesskeyid|signature|sig|token|[a-z_-]*(?:key|secret|password|credential)))=[^&\s'\"]+"),
)  # fmt: skip


def read_bytes(file: Place, most: int = MAX_TEXT_BYTES) -> bytes:
    """Return what a regular file holds, if that is at most so many bytes.

    Raises
    ------
    ValueError
        When it is larger, or no regular file: a pipe or a device would never end.
    OSError
        When it cannot be read.
    """
    told = file.stat()
    if not stat.S_ISREG(told.st_mode):
        raise ValueError("not a regular file")
    if told.st_size > most:
        raise ValueError(f"{told.st_size:,} bytes; at most {most:,} are read")
    return file.read_bytes()


def read_text(file: Place, most: int = MAX_TEXT_BYTES) -> str:
    """Return the text, UTF-8 with or without a mark of its order, of a regular file; raises as `read_bytes`."""
    return read_bytes(file, most).decode("utf-8-sig")


def is_printable(text: str) -> bool:
    """Tell whether a file's text holds nothing but what can be printed, tabs and new lines of any kind."""
    return _CONTROL.search(text.replace("\r", "\n")) is None


def printable(text: str) -> str:
    """Return a text for a log or a terminal: secrets of addresses are left out, what would steer the terminal is escaped.

    A user or password before an ``@`` and the values of a signed address become ``***``; control characters, changes of the
    direction of writing, and halves of surrogate pairs become their escapes. A tab and a new line stay.
    """
    plain = _SECRETS[1].sub(r"\1=***", _SECRETS[0].sub(r"\1***@", text))
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), plain)
