"""The scale of a field: exact percentiles of its intensities, and pixels brought to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


_VALUES = 2**16


def count_values(plane: NDArray[Any]) -> NDArray[np.int64]:
    """Count how often each value occurs, in ascending order of the values: 65536 counts.

    uint8 and uint16 are counted exactly; float32 by their upper 16 bits, so to 1 part in 128.
    """
    if plane.dtype.kind == "u" and plane.dtype.itemsize <= 2:  # noqa: PLR2004 - 16 bits
        return np.bincount(plane.ravel(), minlength=_VALUES)
    bits = np.ascontiguousarray(plane, np.float32).ravel().view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | 0x8000_0000)  # negative numbers count backwards
    return np.bincount(ordered >> 16, minlength=_VALUES)


def percentile(counts: NDArray[np.int64], percent: float, dtype: str) -> float:
    """Return the smallest value that at least so many percent of the counted pixels do not exceed."""
    number = int(np.searchsorted(np.cumsum(counts), max(percent / 100 * counts.sum(), 1e-9)))
    if np.dtype(dtype).kind == "u":
        return float(number)
    bits = np.uint32(number << 16)
    raw = bits & np.uint32(0x7FFF_FFFF) if number >> 15 else ~bits
    return float(np.array(raw, np.uint32).view(np.float32))


@dataclass(frozen=True)
class FieldRecords:
    """What is known of a plate's fields before they are read: digests by channel, and the ends of their intensities."""

    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ends: Mapping[str, tuple[list[float], list[float], bool]] = field(default_factory=dict)
    are_scaled: bool = False

    @classmethod
    def from_tables(cls, fields: pd.DataFrame, intensities: Sequence[str] = ()) -> FieldRecords:
        """Read it from the table of fields and, where the contract asks for percentiles, the tables of intensities."""
        digests = {row["path"]: dict(zip(row["channels"], row["digests"], strict=False)) for row in rows_of(fields)}
        rows = [row for path in intensities for row in rows_of(pd.read_parquet(path))]
        ends = {row["path"]: (list(row["low"]), list(row["high"]), bool(row["clip"])) for row in rows}
        return cls(digests, ends, are_scaled=bool(intensities))

    def scale(self, path: str, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels (channel, y, x) so that the low percentile is 0 and the high one 1; as they are where none is asked for.

        Raises
        ------
        KeyError
            When percentiles are asked for and none was measured for this field.
        """
        if not self.are_scaled:
            return pixels
        low, high, clip = self.ends[path]
        floor = np.array(low, np.float32)[:, None, None]
        span = np.maximum(np.array(high, np.float32)[:, None, None] - floor, np.finfo(np.float32).tiny)
        scaled = (pixels.astype(np.float32) - floor) / span
        return np.asarray(np.clip(scaled, 0, 1) if clip else scaled)
