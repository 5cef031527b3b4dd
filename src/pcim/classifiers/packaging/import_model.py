"""Make a model folder from a file of weights of any form, or from a package of the BioImage Model Zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safetensors.numpy import load_file

from pcim.classifiers.contract import PROGRAMS, SUFFIXES, Contract, Format, InputContract, ModelError
from pcim.classifiers.formats.safe_arrays import read_array, read_content
from pcim.classifiers.packaging.bioimage_zoo import read_package
from pcim.classifiers.packaging.model_folder import ModelFolderDraft, write_model
from pcim.config.methods import METHODS, NEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PACKAGES = (".yaml", ".yml", ".zip")
"""Suffixes of what the BioImage Model Zoo gives."""
FAR, WIDE = 1.0, 3.0
"""Normalised images whose mean is farther from 0, or whose std is so many times more or less than 1, are told of."""


def make(  # noqa: PLR0913, PLR0917 - what `adopt` was told
    source: Path,
    into: Path,
    images: Path | None,
    logits: Path | None,
    tolerance: float,
    form: Format | None,
    told: dict[str, Any],
    trust: Sequence[str],
    trust_code: bool,
) -> Contract:
    """Make the folder `into`; `told` are keys of model.yaml and its `input`, `logits` what comes of the images to within `tolerance`.

    Raises
    ------
    ModelError
        With what does not fit.
    """
    if source.suffix in PACKAGES:
        if logits is not None:
            raise ModelError("--logits: a package has its own")
        return write_model(into, read_package(source, form, told), trust, trust_code=trust_code)
    if images is None:
        raise ModelError("--images: missing: some raw views, for which the network's logits are stored")
    pixels = read_array(images, "images", "raw views (n, c, h, w)")
    expected = read_array(logits, "logits", "scores (n, k)") if logits else None
    of_input = {key: value for key, value in told.items() if key in InputContract.model_fields}
    of_model = {key: value for key, value in told.items() if key not in InputContract.model_fields}
    seen = {"size": list(pixels.shape[2:]), "dtype": str(pixels.dtype)}
    if pixels.shape[1] != len(of_input.get("channels", [])) == pixels.shape[3]:
        seen["size"] = list(pixels.shape[1:3])  # channels last: what is wrong is told of the images
    if form == "onnx":
        of_model.setdefault("differentiable", True)
    values, softmax = {**of_model, "format": form, "input": seen | of_input}, told.get("scores") == "probabilities"
    draft = ModelFolderDraft(values, read_content(source), source, pixels, expected, softmax, tolerance=tolerance)
    return write_model(into, draft, trust, trust_code=trust_code)


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


def odd_channels(into: Path, contract: Contract) -> Iterator[str]:
    """Yield the channels in which the model folder's images, once normalised, lie far from the mean 0 and the std 1 of a training set."""
    images = load_file(into / contract.test.file)["images"]
    for number, channel in enumerate(contract.input.channels):
        mean, std = contract.input.mean[number], contract.input.std[number]
        normalised = (images[:, number] - mean) / std
        centre, spread = float(normalised.mean()), float(normalised.std())
        if abs(centre) > FAR or not 1 / WIDE <= spread <= WIDE:
            raw = f"mean {images[:, number].mean():.4g}, std {images[:, number].std():.4g}"
            told = f"the images have {raw}, and with --mean {mean:g} --std {std:g} mean {centre:.3g}, std {spread:.3g}"
            yield f"channel {channel}: {told}: far from 0 and 1; is that the training set's normalisation?"


def next_steps(into: Path, contract: Contract, trust: Sequence[str]) -> Iterator[str]:
    """Yield what was made, and the lines of a config that it needs, in YAML."""
    size = " x ".join(map(str, contract.input.size))
    seen = f"{', '.join(contract.input.channels)}, {size} px, view: {contract.input.view}"
    yield f"# {into / 'model.yaml'}: {', '.join(contract.classes)}; {seen}"
    yield f"classifiers: {{{contract.name}: {{model: {into / 'model.yaml'}, plates: [...]}}}}"
    if contract.format in PROGRAMS:
        yield f"classify: {{trusted_programs: [{contract.sha256}]}}"
    elif trust:
        yield f"classify: {{trusted_packages: [{', '.join(['pcim', *trust])}]}}"
    if left := [method for method in METHODS if NEEDS[method] not in contract.offers]:
        allowed = [method for method in METHODS if method not in left]
        yield f"attribute: {{methods: [{', '.join(allowed)}]}}  # this network does not show what the others need"
