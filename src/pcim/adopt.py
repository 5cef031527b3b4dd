"""Adopt: a model folder from a file of weights of any form, or from a package of the BioImage Model Zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pcim.bioimage import read_package
from pcim.contract import PROGRAMS, SUFFIXES, Contract, Format, InputContract, ModelError
from pcim.method_settings import METHODS, NEEDS
from pcim.modelfolder import Draft, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PACKAGES = (".yaml", ".yml", ".zip")
"""Suffixes of what the BioImage Model Zoo gives."""


def make(  # noqa: PLR0913, PLR0917 - what `adopt` was told
    source: Path,
    into: Path,
    images: Path | None,
    form: Format | None,
    told: dict[str, Any],
    trust: Sequence[str],
    trust_code: bool,
) -> Contract:
    """Make the folder `into`; `told` are keys of model.yaml and of its `input`.

    Raises
    ------
    ModelError
        With what does not fit.
    """
    if source.suffix in PACKAGES:
        return write_model(into, read_package(source, form, told), trust, trust_code=trust_code)
    if images is None:
        raise ModelError("--images: missing: some raw views, for which the network's logits are stored")
    pixels = read_images(images)
    of_input = {key: value for key, value in told.items() if key in InputContract.model_fields}
    of_model = {key: value for key, value in told.items() if key not in InputContract.model_fields}
    seen = {"view": "tile", "size": list(pixels.shape[2:]), "dtype": str(pixels.dtype)}
    if form == "onnx":
        of_model.setdefault("differentiable", True)
    draft = Draft({**of_model, "format": form, "input": seen | of_input}, source.read_bytes(), source.suffix, pixels)
    return write_model(into, draft, trust, trust_code=trust_code)


def read_images(file: Path) -> NDArray[Any]:
    """Return raw views (n, c, h, w) from a NumPy file, or from `images` of a safetensors file.

    Raises
    ------
    ModelError
        When it holds no such array.
    """
    try:
        found = load_file(file) if file.suffix == ".safetensors" else {"images": np.load(file, allow_pickle=False)}
    except (ValueError, EOFError, SafetensorError) as error:
        raise ModelError(f"{file}: no array of NumPy or safetensors: {error}") from error
    array: Any = found.get("images")
    if not isinstance(array, np.ndarray) or array.ndim != 4:  # noqa: PLR2004 - (n, c, h, w)
        raise ModelError(f"{file}: expected one array of raw views (n, c, h, w), called images in a safetensors file")
    return array


def format_of(source: Path, told: str, architecture: str) -> Format | None:
    """Return the form of the weights: as told, or by the suffix; None is for a package to say."""
    if told:
        if told not in SUFFIXES:
            raise ModelError(f"--format {told!r}: expected one of {', '.join(SUFFIXES)}")
        return told
    if source.suffix in PACKAGES:
        return None
    fits = [form for form, suffixes in SUFFIXES.items() if source.suffix in suffixes]
    if len(fits) > 1:  # .pt and .pth are written for both
        return "state_dict" if architecture else "torchscript"
    if not fits:
        known = sorted({suffix for suffixes in SUFFIXES.values() for suffix in suffixes})
        raise ModelError(f"{source}: expected a suffix of {', '.join([*known, *PACKAGES])}")
    return fits[0]


def next_steps(into: Path, contract: Contract, trust: Sequence[str]) -> Iterator[str]:
    """Yield what was made, and the lines of a config that it needs, in YAML."""
    size = " x ".join(map(str, contract.input.size))
    yield f"# {into / 'model.yaml'}: {', '.join(contract.classes)}; {', '.join(contract.input.channels)}, {size} px"
    yield f"classifiers: {{{contract.name}: {{model: {into / 'model.yaml'}, plates: [...]}}}}"
    if contract.format in PROGRAMS:
        yield f"classify: {{trusted_programs: [{contract.sha256}]}}"
    elif trust:
        yield f"classify: {{trusted_packages: [{', '.join(['pcim', *trust])}]}}"
    if left := [method for method in METHODS if NEEDS[method] not in contract.offers]:
        allowed = [method for method in METHODS if method not in left]
        yield f"attribute: {{methods: [{', '.join(allowed)}]}}  # this network does not show what the others need"
