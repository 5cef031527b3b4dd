"""Load weights as a network on its device, by the `format` that model.yaml states.

No object of Python is ever deserialised.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, cast

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from pcim.classifiers.contract import PROGRAMS, Contract, ModelError
from pcim.classifiers.formats.compiled_programs import Program
from pcim.classifiers.formats.factories import build
from pcim.classifiers.forward import batches_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_UNPACKED = 2**26  # torch stores tensors as they are and packs code alone: no archive of it grows by more


class Logarithm(nn.Module):
    """A network that returns probabilities, as one that returns logits: their logarithm."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return log p (b, k) of images (b, c, h, w); a probability of 0 counts as 1e-12."""
        logits: Tensor = self.network(images).clamp(min=1e-12).log()
        return logits


def load_network(contract: Contract, file: Path, weights: bytes, trusted: Sequence[str], device: torch.device) -> nn.Module:
    """Return the network that `weights`, the content of `file`, are, frozen and on its device.

    Raises
    ------
    ModelError
        When the file is not what `format` says, holds more than tensors, or code of it would be run that is not trusted.
    """
    if contract.format in PROGRAMS and contract.sha256 not in trusted:
        raise ModelError(
            f"{file}: loading a file of format {contract.format} runs code, and its SHA-256 {contract.sha256} is not in "
            "classify.trusted_programs (in Python: trusted=)"
        )
    network = _LOADERS[contract.format](contract, file, weights, trusted, device)
    if contract.scores == "probabilities":
        network = Logarithm(network)
    for parameter in network.parameters():  # one by one: a TorchScript module refuses to be told as a whole
        parameter.requires_grad_(False)
    return network.eval()


def _of_state_dict(contract: Contract, file: Path, weights: bytes, trusted: Sequence[str], device: torch.device) -> nn.Module:
    network = build(contract, trusted)
    tensors = _tensors(contract, file, weights)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        hint = _common_prefix(tensors, network.state_dict())
        raise ModelError(f"{file} does not fit {contract.architecture}{contract.arguments}: {error}{hint}") from error
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _tensors(contract: Contract, file: Path, weights: bytes) -> dict[str, Tensor]:
    """Return the state dict in the file, names without the contract's prefix."""
    of_torch = file.suffix != ".safetensors"
    tensors = _of_torch_file(contract, file, weights) if of_torch else tensors_of(weights, file)
    stray = sorted(name for name in tensors if not name.startswith(contract.prefix))
    if stray:
        raise ModelError(f"{file}: names without the prefix {contract.prefix!r}: {', '.join(stray[:5])}")
    return {name.removeprefix(contract.prefix): tensor for name, tensor in tensors.items()}


def tensors_of(content: bytes, where: object) -> dict[str, Tensor]:
    """Return the tensors that a safetensors file holds, by their names; raises ModelError where it is none."""
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # safetensors' own class is not public
        raise ModelError(f"{where}: not readable as safetensors: {error}") from error


def _of_torch_file(contract: Contract, file: Path, weights: bytes) -> dict[str, Tensor]:
    _open(file, weights)
    try:
        found = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except Exception as error:  # what it raises is not told anywhere
        told = str(error).strip().partition("\n")[0]
        raise ModelError(f"{file}: holds more than tensors; save network.state_dict() alone: {told}") from error
    if contract.state_dict_key is not None:
        if not isinstance(found, dict) or contract.state_dict_key not in found:
            raise ModelError(f"{file}: no key {contract.state_dict_key!r} (state_dict_key); it holds {_describe(found)}")
        found = found[contract.state_dict_key]
    if not isinstance(found, dict) or not found or not all(isinstance(one, Tensor) for one in found.values()):
        inner = [key for key, one in found.items() if isinstance(one, dict)] if isinstance(found, dict) else []
        told = " or ".join(map(str, inner))
        hint = f"; say where it lies: --state-dict-key {told}, which is state_dict_key in model.yaml" if inner else ""
        raise ModelError(f"{file}: expected a state dict, names and tensors, found {_describe(found)}{hint}")
    return dict(found)


def _describe(found: Any) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    return ", ".join(f"{key} ({type(one).__name__})" for key, one in list(found.items())[:8]) or "nothing"


def _common_prefix(tensors: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return a hint where the names would fit without what all of them begin with."""
    parts = next(iter(tensors), "").split(".")
    prefixes = [".".join(parts[:n]) + "." for n in range(1, len(parts))]
    fits = [prefix for prefix in prefixes if {name.removeprefix(prefix) for name in tensors} == set(wanted)]
    return f"\nwithout {fits[0]!r} the names fit: say --prefix {fits[0]!r}, which is prefix in model.yaml" if fits else ""


def _open(file: Path, weights: bytes) -> zipfile.ZipFile:
    """Open an archive that torch wrote, if it is one and does not unpack to much more than it is."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(weights))
    except Exception as error:  # what a broken archive raises is not told anywhere: of text, of structs, of arithmetic
        raise ModelError(f"{file}: no archive of torch ({error}); save it again with torch 1.6 or newer") from error
    unpacked = sum(one.file_size for one in archive.infolist())
    if unpacked > len(weights) + _UNPACKED:
        raise ModelError(f"{file}: {len(weights):,} bytes unpack to {unpacked:,}; torch packs no tensors")
    return archive


def _of_export(contract: Contract, file: Path, weights: bytes, trusted: Sequence[str], device: torch.device) -> nn.Module:
    del trusted
    _refuse_objects(file, _open(file, weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own pytree
        try:
            program = torch.export.load(io.BytesIO(weights))
            least, most = _batches_of_program(contract, file, program)
            if device.type != "cpu":
                program = move_to_device_pass(program, device)
            return Program(program.module(), least, most).to(device)
        except ModelError:
            raise
        except Exception as error:  # what it raises is not told anywhere
            raise ModelError(f"{file}: torch.export cannot load it (torch {torch.__version__}): {type(error).__name__}: {error}") from error


def _refuse_objects(file: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a program that carries more than tensors: torch.export.load would fall back to building any object of Python."""
    places = {name: name.partition("/")[2] for name in archive.namelist()}
    if "models/model.json" not in places.values():
        raise ModelError(f"{file}: no program that torch.export.save of torch 2.8 or newer wrote (models/model.json)")
    for name, place in places.items():
        try:
            if place.startswith(("data/weights/", "data/constants/")) and place.endswith((".json", ".pt")):
                entries = json.loads(archive.read(name))["config"].values()
                _refuse_unless(all(one["tensor_meta"] and not one["use_pickle"] for one in entries))
            if place.startswith("data/sample_inputs/"):
                torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
        except Exception as error:  # of JSON, zip or torch
            raise ModelError(f"{file}: {name}: holds objects that are no plain tensors, or is broken: {error}") from error


def _refuse_unless(holds: bool) -> None:
    if not holds:
        raise ValueError("an entry that is not stored as plain numbers")


def _batches_of_program(contract: Contract, file: Path, program: torch.export.ExportedProgram) -> tuple[int, int | None]:
    """Return the least and the most images that the program takes; raises where its input is not the contract's."""
    inputs = program.graph_signature.user_inputs
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.name in inputs]
    expected = (len(contract.input.channels), *contract.input.size)
    if len(shapes) != 1 or len(shapes[0]) != 4:  # noqa: PLR2004 - (b, c, h, w)
        raise ModelError(f"{file}: takes inputs of {[tuple(one) for one in shapes]}; expected one, (b, c, h, w)")
    fixed = [(is_, wanted) for is_, wanted in zip(shapes[0][1:], expected, strict=True) if isinstance(is_, int)]
    if any(is_ != wanted for is_, wanted in fixed):
        raise ModelError(f"{file}: takes images of {tuple(shapes[0][1:])}; the contract says {expected}")
    return batches_of(program)


def _of_torchscript(contract: Contract, file: Path, weights: bytes, trusted: Sequence[str], device: torch.device) -> nn.Module:
    del contract, trusted
    _open(file, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's own end
        try:
            return cast("nn.Module", torch.jit.load(io.BytesIO(weights), map_location=device))
        except Exception as error:
            raise ModelError(f"{file}: not loadable as TorchScript: {error}") from error


def _of_onnx(contract: Contract, file: Path, weights: bytes, trusted: Sequence[str], device: torch.device) -> nn.Module:
    from pcim.classifiers.formats.onnx import load_onnx  # only a contract that asks for it needs these packages

    del trusted
    return load_onnx(contract, file, weights).to(device)


_LOADERS: dict[str, Callable[..., nn.Module]] = {
    "state_dict": _of_state_dict,
    "torch_export": _of_export,
    "torchscript": _of_torchscript,
    "onnx": _of_onnx,
}
