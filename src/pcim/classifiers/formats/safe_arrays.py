"""Read arrays and weights that others wrote.

They are read to a bound and as numbers alone. What is none is told in words.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from pcim.classifiers.contract import ModelError
from pcim.core.safe_read import MAX_WEIGHTS_BYTES, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_content(file: Path) -> bytes:
    """Return what a file of weights or arrays holds.

    Raises
    ------
    ModelError
        When it is no regular file, or larger than a classifier's.
    OSError
        When it cannot be read.
    """
    try:
        return read_bytes(file, MAX_WEIGHTS_BYTES)
    except ValueError as error:
        raise ModelError(f"{file}: {error}") from error


def array_of(content: bytes, where: object) -> NDArray[Any]:
    """Return the array that a NumPy file (``.npy``) holds; raises ModelError where it holds none, or objects."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = head(stream)
        _refuse_unless(math.prod(shape) * kind.itemsize <= len(content))
        stream.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:  # a header is anybody's
        raise ModelError(f"{where}: no array of NumPy: {error!r:.200}") from error
    return array


def _refuse_unless(fits: bool) -> None:
    if not fits:
        raise ValueError("its header claims more than it holds")


def read_array(file: Path, name: str, axes: str) -> NDArray[Any]:
    """Return an array of these axes, ``... (n, k)``, from a NumPy file, or under its `name` from a safetensors file.

    Raises
    ------
    ModelError
        When it holds no such array.
    """
    content = read_content(file)
    if file.suffix == ".safetensors":
        try:
            array = safetensors.numpy.load(content).get(name)
        except Exception as error:  # its own class is not public, and of types that NumPy has not it raises others
            raise ModelError(f"{file}: not readable as safetensors: {error!r:.200}") from error
    else:
        array = array_of(content, file)
    if array is None or array.ndim != axes.count(",") + 1 or array.dtype.kind not in "biuf":
        raise ModelError(f"{file}: expected one array of {axes}, called {name} in a safetensors file")
    return array
