"""Valid TIFF files to begin from: every compression that is read, strips and tiles, either order of bytes, BigTIFF, several pages."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tifffile

_FORMS: list[dict[str, Any]] = [
    {}, {"byteorder": ">"}, {"bigtiff": True}, {"rowsperstrip": 5}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True},
    {"compression": "packbits"}, {"compression": "zstd", "tile": (16, 16)}, {"compression": "jpeg"}, {"compression": "jpeg2000"},
    {"ome": True, "metadata": {"axes": "CYX"}}, {"imagej": True},
]  # fmt: skip


def made_tiffs() -> list[bytes]:
    """Return small files of two pages."""
    made = []
    for form in _FORMS:
        kind = np.uint8 if form.get("compression") == "jpeg" else np.uint16
        pixels = (np.arange(2 * 20 * 24).reshape(2, 20, 24) % 251).astype(kind)
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, photometric="minisblack", **form)
        made.append(stream.getvalue())
    floats = io.BytesIO()
    tifffile.imwrite(floats, np.ones((2, 20, 24), np.float32), photometric="minisblack", compression="lzw", predictor=True)
    return [*made, floats.getvalue()]
