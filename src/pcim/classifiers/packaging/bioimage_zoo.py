"""Draft a model folder from a package of the BioImage Model Zoo on this disk.

What PCIM would do otherwise is refused by name.
"""

from __future__ import annotations

import hashlib
import importlib
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from pcim.classifiers.contract import Format, InputContract, ModelError
from pcim.classifiers.formats.safe_arrays import array_of
from pcim.classifiers.packaging.model_folder import ModelFolderDraft
from pcim.config.yaml_lines import MAX_BYTES, yaml_of
from pcim.core.safe_read import MAX_TEXT_BYTES, MAX_WEIGHTS_BYTES, read_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMATS: dict[str, Format] = {"pytorch_state_dict": "state_dict", "onnx": "onnx", "torchscript": "torchscript"}
"""The zoo's weights that PCIM reads, those that it prefers first: no code of the package is run for the first two."""
PACKED = 100  # a file of a package takes so many times as much as its archive at most, and 64 MB: weights hardly pack
_RTOL = 1e-3  # the zoo's own, of its reproducibility tests


def read_package(path: Path, chosen: Format | None, told: dict[str, Any]) -> ModelFolderDraft:
    """Read an rdf.yaml or a zipped package; `told` overrides what it says, `chosen` picks one of its weights.

    Raises
    ------
    ModelError
        When bioimageio.spec is missing or finds faults, or the model is no classifier of (b, c, y, x) that PCIM can feed.
    """
    model = _describe(path)
    given, answer = _only(model.inputs, "input"), _only(model.outputs, "output")
    values = _input(given) | {key: one for key, one in told.items() if key in InputContract.model_fields}
    axes = [axis.type for axis in answer.axes]
    if axes != ["batch", "channel"]:
        raise ModelError(f"{path}: output {answer.id} has axes {axes}; a classifier's are batch and channel, its scores")
    images, expected = (_array(path, one.test_tensor) for one in (given, answer))
    weights, suffix, network = _weights(path, model.weights, chosen)
    draft: dict[str, Any] = {
        "name": "".join(letter if letter.isalnum() else "_" for letter in model.name.lower()).strip("_"),
        "description": str(model.description or model.name),
        "classes": [str(name) for name in answer.axes[1].channel_names],
        "licence": str(model.license or ""),
    }
    of_model = {key: one for key, one in told.items() if key not in InputContract.model_fields}
    values = {"size": list(images.shape[2:])} | values
    softmax = _softmax(path, answer)
    all_told, file = draft | network | of_model | {"input": values}, Path(f"weights{suffix}")
    return ModelFolderDraft(all_told, weights, file, images, expected, softmax, _RTOL)


def _describe(path: Path) -> Any:
    try:
        spec = importlib.import_module("bioimageio.spec")
    except Exception as error:
        raise ModelError(f"{path}: needs bioimageio.spec (pip install 'pcim[bioimageio]'): {error}") from error
    faults: list[str] = []
    content = _read_file(path, PurePosixPath(_description_file(path)), MAX_BYTES)
    written = yaml_of(content.decode("utf-8", errors="replace"), path, faults)
    if written is None or faults:
        raise ModelError("; ".join(faults))
    context = spec.ValidationContext(root=path.parent.absolute(), perform_io_checks=False)
    try:
        model = spec.build_description(written.values, context=context, format_version="latest")
    except Exception as error:  # it tells faults, but raises of what has no type, or keys that are no words
        raise ModelError(f"{path}: no valid model description: {error}") from error
    if getattr(model, "type", None) != "model" or isinstance(model, spec.InvalidDescr):
        faults = [f"{'.'.join(map(str, one.loc))}: {one.msg}" for one in model.validation_summary.errors]
        raise ModelError(f"{path}: no valid model description: {'; '.join(faults[:8]) or getattr(model, 'type', '')}")
    return model


def _description_file(path: Path) -> str:
    """Return the name of the description in a package: of a zip's own, or the file itself."""
    if not zipfile.is_zipfile(path):
        return path.name
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name in {"rdf.yaml", "bioimageio.yaml"}]
    if not found:
        raise ModelError(f"{path}: holds no rdf.yaml")
    return found[0]


def _only(tensors: Any, what: str) -> Any:
    if len(tensors) != 1:
        raise ModelError(f"{len(tensors)} {what}s, {[str(one.id) for one in tensors]}; PCIM feeds one and reads one")
    return tensors[0]


def _input(given: Any) -> dict[str, Any]:
    """Return the contract's `input`, but its size: axes, channels, type and normalisation."""
    axes = [str(axis.id) if axis.type == "space" else axis.type for axis in given.axes]
    if axes != ["batch", "channel", "y", "x"]:
        raise ModelError(f"input {given.id} has axes {axes}; PCIM feeds batch, channel, y, x")
    channels = [str(name) for name in given.axes[1].channel_names]
    allowed = get_args(InputContract.model_fields["dtype"].annotation)
    kind = str(getattr(given.data, "type", None))
    if kind not in allowed:
        raise ModelError(f"input {given.id} is of {kind}; PCIM feeds {', '.join(allowed)}")
    mean, std = normalisation(given.preprocessing, len(channels), kind)
    return {"channels": channels, "dtype": kind, "mean": mean, "std": std}


def normalisation(steps: Any, channels: int, dtype: str) -> tuple[list[float], list[float]]:
    """Return mean and std a channel of the steps in a row, each of which is linear in the intensity, on images of `dtype`.

    Raises
    ------
    ModelError
        At a step that looks at the image itself, or is not linear.
    """
    gain, offset = np.ones(channels), np.zeros(channels)  # y = gain x + offset
    for number, step in enumerate(steps):
        as_it_is = {"float32", dtype} if number == 0 else {"float32"}
        if step.id == "ensure_dtype" and str(step.kwargs.dtype) in as_it_is:
            continue
        if step.id not in {"scale_linear", "fixed_zero_mean_unit_variance"}:
            raise ModelError(
                f"preprocessing {step.id}: PCIM normalises with constants of the training set; supported are "
                "scale_linear, fixed_zero_mean_unit_variance and ensure_dtype float32"
            )
        axis = getattr(step.kwargs, "axis", "channel")
        if axis is not None and str(axis) != "channel":
            raise ModelError(f"preprocessing {step.id} along {axis!s}; PCIM has one value a channel")
        if step.id == "scale_linear":
            by, plus = np.asarray(step.kwargs.gain, float), np.asarray(step.kwargs.offset, float)
        else:
            by = 1 / np.asarray(step.kwargs.std, float)
            plus = -np.asarray(step.kwargs.mean, float) * by
        gain, offset = gain * by, offset * by + plus
    if not (gain > 0).all() or gain.shape != (channels,):
        raise ModelError(f"preprocessing: gains {gain.tolist()}; expected one above 0 for each of {channels} channels")
    return (-offset / gain).tolist(), (1 / gain).tolist()


def _softmax(path: Path, answer: Any) -> bool:
    """Tell whether the package takes a softmax after its network, which alone is taken here: its scores are logits."""
    steps = [step.id for step in answer.postprocessing if step.id != "ensure_dtype"]
    if steps not in ([], ["softmax"]):
        raise ModelError(f"{path}: postprocessing {steps}: supported is none, or softmax")
    return steps == ["softmax"]


def _weights(path: Path, offered: Any, chosen: Format | None) -> tuple[bytes, str, dict[str, Any]]:
    """Return the content and suffix of the first of the package's weights that PCIM can use, and what they are."""
    refused = []
    for name, form in _FORMATS.items():
        entry = getattr(offered, name)
        if entry is None or chosen not in {None, form}:
            continue
        network: dict[str, Any] = {"format": form} | ({"differentiable": True} if form == "onnx" else {})
        if form == "state_dict":
            source = getattr(entry.architecture, "import_from", None)
            if source is None:
                refused.append(f"{name}: its architecture is a file of the package, whose code is not run")
                continue
            network |= {"architecture": f"{source}:{entry.architecture.callable}"}
            network |= {"arguments": dict(entry.architecture.kwargs)}
        content = _content(path, entry)
        suffix = PurePosixPath(str(entry.source)).suffix
        return content, suffix, network
    there = [name for name in type(offered).model_fields if getattr(offered, name) is not None]
    raise ModelError(f"{path}: weights {there}; PCIM reads {', '.join(_FORMATS)}" + "".join(f"; {reason}" for reason in refused))


def _array(path: Path, tensor: Any) -> NDArray[Any]:
    if tensor is None:
        raise ModelError(f"{path}: has no test tensors; PCIM compares with them")
    return array_of(_content(path, tensor), f"{path}: {tensor.source}")


def _content(path: Path, entry: Any) -> bytes:
    """Return the bytes of a file of the package, whose digest is the one it states; nothing is downloaded."""
    name = str(getattr(entry.source, "path", entry.source))
    if "://" in str(entry.source):
        raise ModelError(f"{path}: {entry.source} lies elsewhere; PCIM downloads nothing: get the whole package")
    content = _read_file(path, PurePosixPath(name), MAX_WEIGHTS_BYTES)
    if entry.sha256 is not None and hashlib.sha256(content).hexdigest() != str(entry.sha256):
        raise ModelError(f"{path}: {name}: its SHA-256 is not the one that the package states, {entry.sha256}")
    return content


def _read_file(path: Path, name: PurePosixPath, most: int) -> bytes:
    """Return the bytes of a file of the package, of which there are `most` at most."""
    if name.is_absolute() or ".." in name.parts:
        raise ModelError(f"{path}: {name} lies outside of the package")
    try:
        if zipfile.is_zipfile(path):
            most = min(most, PACKED * path.stat().st_size + MAX_TEXT_BYTES)
            with zipfile.ZipFile(path) as archive, archive.open(str(name)) as file:
                content = file.read(most + 1)
        else:
            content = read_bytes(path.parent / name, most)
    except Exception as error:  # zipfile's are many: of passwords, methods that it has not, broken streams
        raise ModelError(f"{path}: {name}: {error}") from error
    if len(content) > most:
        raise ModelError(f"{path}: {name} is larger than {most:,} bytes")
    return content
