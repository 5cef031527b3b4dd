"""Load ONNX models.

They are converted to torch where they are to be differentiated. Else ONNX Runtime is asked for scores, on the CPU.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pcim.classifiers.contract import Contract, ModelError
from pcim.classifiers.formats.compiled_programs import Program
from pcim.classifiers.forward import of_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Session(nn.Module):
    """An ONNX Runtime session as a network without gradients."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self._call = of_session(session)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores (b, k) of images (b, c, h, w), computed on the CPU, on the images' device."""
        scores: Tensor = self._call(images)
        return scores


def load_onnx(contract: Contract, file: Path, weights: bytes) -> nn.Module:
    """Return the model as a torch network where the contract says differentiable, else as an ONNX Runtime session.

    Which of the two is the contract's choice alone: one is never taken for the other.

    Raises
    ------
    ModelError
        When a package is missing, the model is not one file with one image input and one output, or cannot be converted.
    """
    model = read_onnx(file, weights)
    least, most = _batches(contract, file, model)
    if not contract.differentiable:
        session = _session(file, weights)
        try:
            return Session(session)
        except Exception as error:  # a name that is no text, an input of another type
            raise ModelError(f"{file}: inputs and outputs cannot be used: {type(error).__name__}: {error}") from error
    convert = import_extra("onnx2torch", file, "; without it, differentiable: false asks it for scores alone").convert
    try:
        return Program(convert(model), least, most)
    except Exception as error:  # an operator that it does not know, or any error inside
        raise ModelError(
            f"{file}: onnx2torch cannot convert it: {type(error).__name__}: {error}; differentiable: false asks it for scores alone"
        ) from error


def import_extra(package: str, file: Path, hint: str = "") -> Any:
    """Import a package of the extra ``pcim[onnx]``.

    Raises
    ------
    ModelError
        When it cannot be imported, for whatever reason: torchvision, which onnx2torch imports, raises RuntimeError beside another torch.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise ModelError(f"{file}: needs {package} (pip install 'pcim[onnx]'), which fails: {told}{hint}") from error


def read_onnx(file: Path, weights: bytes) -> Any:
    """Return an ONNX model that passes ONNX's own checker and has all its tensors inside."""
    onnx = import_extra("onnx", file)
    try:
        model = onnx.load_model_from_string(weights)
        outside = sorted({one.name for one in _tensors(model.graph) if one.data_location == one.EXTERNAL})
        if not outside:
            onnx.checker.check_model(model)
    except Exception as error:
        raise ModelError(f"{file}: no valid ONNX model: {error}") from error
    if outside:
        raise ModelError(f"{file}: tensors {outside[:5]} lie in other files; save it as one file")
    return model


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield every stored tensor of a graph and of the graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from [attribute.t] if attribute.HasField("t") else attribute.tensors
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _tensors(inner)


def _batches(contract: Contract, file: Path, model: Any) -> tuple[int, int | None]:
    """Return the least and the most images (None: any number) that the model takes at once."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = {
        one.name: [d.dim_value or None for d in one.type.tensor_type.shape.dim] for one in model.graph.input if one.name not in stored
    }
    outputs = [one.name for one in model.graph.output]
    expected = [len(contract.input.channels), *contract.input.size]
    shape = next(iter(inputs.values()), [])
    if len(inputs) != 1 or len(outputs) != 1 or len(shape) != 4:  # noqa: PLR2004 - (b, c, h, w)
        raise ModelError(f"{file}: inputs {inputs}, outputs {outputs}; expected one input (b, c, h, w) and one output (b, k)")
    if any(is_ not in {None, wanted} for is_, wanted in zip(shape[1:], expected, strict=True)):
        raise ModelError(f"{file}: takes images of {shape[1:]}; the contract says {expected}")
    return (shape[0], shape[0]) if shape[0] else (1, None)


def _session(file: Path, weights: bytes) -> Any:
    """Return a session that computes as a job does: on the CPU, on as many threads as torch, one operator after another."""
    runtime = import_extra("onnxruntime", file)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{file}: ONNX Runtime cannot load it: {error}") from error
