"""What made an output, recorded once in each file: software, code, numerics, classifier, settings and pixels.

Tables hold it in the metadata of their Parquet schema. Plates of maps hold it in the attributes of each field, mean maps in those
of their group. It names no time and no host: the same work by the same software gives the same record, so the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.core.workflow_files import package_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


KEY = "pcim"
"""Where a record lies: a key of a Parquet schema's metadata, an attribute of a zarr group."""

FORM = 1
"""The form of a record; raised when a key changes its meaning or goes."""

SEED = "BLAKE2b of plate/row/column/field/view and a word for the purpose (ViewKey.number)"
"""Where every random number about a view comes from; no global generator is asked."""

_PACKAGES = (
    "pcim", "torch", "numpy", "pandas", "scipy", "zarr", "dask", "xarray", "captum", "pyarrow", "altair", "matplotlib", "snakemake",
)  # fmt: skip


@cache
def software() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter for a result, where they are installed: name -> version."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def code_digest() -> str:
    """Return the SHA-256 of the package's own files, by name and content: the code that runs, whatever its version says.

    The workflow that a wheel carries is not part of it.
    """
    package, total = package_folder(), hashlib.sha256()
    for file in sorted(package.rglob("*")):
        if file.is_file() and not {"__pycache__", "_workflow"} & set(file.relative_to(package).parts):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            total.update(f"{file.relative_to(package).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def numerics() -> dict[str, Any]:
    """Return what decides the last bits of torch's numbers in this process; nothing where torch is not loaded.

    On a GPU the number of threads decides nothing, and is left out.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    backends = torch.backends
    deterministic = {"deterministic": torch.are_deterministic_algorithms_enabled()}
    if not torch.cuda.is_initialized():
        return {"device": "cpu", "threads": torch.get_num_threads(), "onednn": backends.mkldnn.enabled, **deterministic}
    return {
        "device": "cuda",
        **deterministic,
        "cuda": torch.version.cuda,
        "cudnn": backends.cudnn.version(),
        "cudnn_deterministic": backends.cudnn.deterministic,
        "cudnn_benchmark": backends.cudnn.benchmark,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "convolution_precision": backends.cudnn.conv.fp32_precision,
    }


def made_by() -> dict[str, Any]:
    """Return what computes in this process: software, the package's code, numerics, and where random numbers come from."""
    return {"software": software(), "code": code_digest(), "numerics": numerics(), "seed": SEED}


def record(stage: str, revision: int, **of: Any) -> dict[str, Any]:
    """Return the record of an output of a stage; `of` is what it was made of, in plain form."""
    return {"form": FORM, "stage": stage, "revision": revision, **of, **made_by()}


def pixels_of(digests: Iterable[tuple[str, str]]) -> str:
    """Return one digest (BLAKE2b, 128 bit) for the pixels of many fields, (path, digest) each, in any order."""
    told = "\n".join(f"{path} {digest}" for path, digest in sorted(digests))
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file; empty text where it cannot be read."""
    try:
        with Path(path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""


def as_metadata(made: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return a record as the metadata of a Parquet schema."""
    return {KEY.encode(): json.dumps(made, sort_keys=True).encode()}


def read_record(table: str | Path) -> dict[str, Any]:
    """Read the record of a table; nothing where it has none.

    Raises
    ------
    OSError
        When the table cannot be read.
    ValueError
        When it is no Parquet file, or its record is none.
    """
    from pyarrow import parquet

    told = (parquet.read_schema(table).metadata or {}).get(KEY.encode())
    found = {} if told is None else json.loads(told)
    if not isinstance(found, dict) or (found and found.get("form") != FORM):
        raise ValueError(f"{table}: its provenance is of another form than {FORM}")
    return found
