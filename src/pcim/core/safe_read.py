"""Read files of unknown origin: bounded in size, with text that is safe to print in a log or a terminal."""

from __future__ import annotations

import csv
import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from pcim.core.plate_source import Place

MAX_TEXT_BYTES = 64_000_000
"""A table, config or contract may be so large: a plate map of 1536 wells with a hundred columns has under 2 MB."""

MAX_WEIGHTS_BYTES = 2**33
"""The weights of a classifier, its test input, or a file of a package: two billion parameters."""

MAX_ROWS, MAX_COLUMNS = 1_000_000, 10_000
MAX_ROW_CHARACTERS = 1_000_000
"""A table is read row by row: of so many rows and columns at most, and no row is longer."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SECRETS = (
    re.compile(r"(?<=:/)(/?)[^/\s@'\"]+@"),
    re.compile(r"(?i)([?&](?:x-amz-[a-z-]+|awsaccesskeyid|signature|sig|token|[a-z_-]*(?:key|secret|password|credential)))=[^&\s'\"]+"),
)  # fmt: skip


def check_file(file: Place, most: int) -> None:
    """Refuse what is no regular file, as a pipe or a device would never end, or has more than so many bytes; raises as `read_bytes`."""
    told = file.stat()
    if not stat.S_ISREG(told.st_mode):
        raise ValueError("not a regular file")
    if told.st_size > most:
        raise ValueError(f"{told.st_size:,} bytes; at most {most:,} are read")


def read_bytes(file: Place, most: int = MAX_TEXT_BYTES) -> bytes:
    """Return what a regular file holds, if that is at most so many bytes.

    Raises
    ------
    ValueError
        When it is larger, or no regular file.
    OSError
        When it cannot be read.
    """
    check_file(file, most)
    return file.read_bytes()


def read_text(file: Place, most: int = MAX_TEXT_BYTES) -> str:
    """Return the text, UTF-8 with or without a mark of its order, of a regular file; raises as `read_bytes`."""
    return read_bytes(file, most).decode("utf-8-sig")


def read_table(
    lines: TextIO, where: object, delimiter: str = ",", most: int = MAX_ROWS
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the names of a table's columns, and its rows as (number of the line, values); empty rows are left out.

    Raises
    ------
    ValueError
        With `where` and the line, here or at a row: it is no text or no CSV, or has more rows, columns or characters a row than are read.
    """
    rows = _rows_of(lines, where, delimiter, most + 1)
    first = next(rows, None)
    return ([], rows) if first is None else (first[1], rows)


def _rows_of(lines: TextIO, where: object, delimiter: str, most: int) -> Iterator[tuple[int, list[str]]]:
    taken = 0

    def pieces() -> Iterator[str]:
        nonlocal taken
        while line := lines.readline(MAX_ROW_CHARACTERS - taken + 1):
            taken += len(line)
            _refuse_more("characters in a row", taken, MAX_ROW_CHARACTERS)
            yield line

    reader, count = csv.reader(pieces(), delimiter=delimiter, strict=True), 0
    try:
        for row in reader:
            taken, count = 0, count + 1
            _refuse_more("rows", count, most)
            _refuse_more("columns", len(row), MAX_COLUMNS)
            if row:
                yield reader.line_num, row
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{where}:{max(reader.line_num, 1)}: {error}") from error


def _refuse_more(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"more than {most:,} {what}")


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
