"""Names of plates, wells, fields and views. No other module takes a well name apart."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_COLUMNS = ("plate", "row", "column", "well", "field", "view")
"""The columns that name a view in every table, in this order."""

FIELD_COLUMNS = KEY_COLUMNS[:-1]
"""The columns that name a field in every table, in this order."""

GIVEN_COLUMNS = frozenset({
    *KEY_COLUMNS, "path", "channels", "height", "width", "dtype", "pixel_size_um", "labels", "qc", "reason", "checksum", "digest",
    "digests",
    "illumination", "tilt_right", "tilt_down", "revision",
})  # fmt: skip
"""The columns that PCIM gives to the field table and its views: every other one is the plate map's, which may not name these."""

_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]{0,2})")


def well_name(row: str, column: str) -> str:
    """Return the well's name as the field writes it: letters and a number of at least two digits, ``A01``.

    Raises
    ------
    ValueError
        When the row is not one or two letters or the column is not a number from 1 to 999.
    """
    match = _WELL.fullmatch(row + column)
    if match is None or not row.isalpha():
        raise ValueError(f"well {row + column!r}: expected a row of one or two letters and a column number, as in 'A01'")
    return f"{match[1].upper()}{int(match[2]):02d}"


def parse_well(position: str) -> str:
    """Return the well's name, ``A01``, from any way that a plate map writes it: ``A1``, ``a01``, ``A001``.

    Raises
    ------
    ValueError
        When the text is not a well position.
    """
    match = _WELL.fullmatch(position.strip())
    if match is None:
        raise ValueError(f"well position {position!r}: expected one or two letters and a column number, as in 'A01'")
    return well_name(match[1], match[2])


def well_order(well: str) -> tuple[int, str, int]:
    """Sort wells as they lie on the plate: by row (Z before AA), then by column number."""
    row, column = well.rstrip("0123456789"), well.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return len(row), row, int(column)


def row_number(row: str) -> int:
    """Return the number of a plate's row from its letters: A is 1, Z 26, AA 27."""
    number = 0
    for letter in row:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


@dataclass(frozen=True, order=True)
class ViewKey:
    """The identity of one view: what the classifier sees at once, somewhere in a field of a well of a plate.

    ``view`` is the top left corner of the view in its field, in pixels of level 0, ``"0_160"``, or its object, ``"o12"``.
    """

    plate: str
    row: str
    column: str
    field: str
    view: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ViewKey:
        """Return the view that a table's row is about."""
        return cls(row["plate"], row["row"], row["column"], row["field"], row["view"])

    @property
    def well(self) -> str:
        """The well's name, ``A01``."""
        return well_name(self.row, self.column)

    def __str__(self) -> str:
        """Print the key as a path, ``plate/A/01/0/0_160``."""
        return f"{self.plate}/{self.row}/{self.column}/{self.field}/{self.view}"

    def columns(self) -> dict[str, str]:
        """Return the key as the columns that name a view in every table."""
        return {
            "plate": self.plate,
            "row": self.row,
            "column": self.column,
            "well": self.well,
            "field": self.field,
            "view": self.view,
        }

    def number(self, salt: str = "") -> int:
        """Return a fixed pseudo-random integer in [0, 2**63) that depends on this view and `salt` alone.

        Every random choice about a view is drawn from it, never from a global generator, so that the choice does not
        depend on company, order, restarts or the Python process.
        """
        return keyed_number(str(self), salt)


def keyed_number(*parts: str) -> int:
    """Return a fixed pseudo-random integer in [0, 2**63) for these texts (BLAKE2b)."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
