"""Any classifier as one function from normalised images to logits."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pcim.classifiers.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float

OutputKind = Literal["logits", "probabilities"]
ClassifierKind = Literal["module", "torchscript", "exported", "converted", "onnx", "callable"]

ACCEPTED = (
    "a torch.nn.Module, a TorchScript module, a torch.export program, an onnxruntime.InferenceSession, "
    "a pcim.classifiers.classifier.Classifier, or a function from a NumPy batch (b, c, h, w) to scores (b, k)"
)
# A probability may round to 0; its logarithm must stay finite and its rank must stay the lowest.
_SMALLEST_P = 1e-12
_SUM_TOLERANCE = 1e-3


class ScoresError(ValueError):
    """A classifier's answer that cannot be one: wrong shape or type, not finite, or no probabilities."""


@dataclass(frozen=True)
class Forward:
    """A classifier as one function: images (b, c, h, w) float32 -> logits (b, k) float32 on the images' device.

    `network` is the module whose layers can be hooked, for ``kind == "module"`` only. `classes` is None where no contract tells how
    many there are. Use it inside `frozen_state`.
    """

    call: Callable[[Tensor], Any]
    kind: ClassifierKind
    network: nn.Module | None = None
    scores: OutputKind = "logits"
    autocast: torch.dtype | None = None
    classes: int | None = None

    @property
    def differentiable(self) -> bool:
        """Whether a gradient with respect to the images can be had."""
        return self.kind in {"module", "torchscript", "exported", "converted"}

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Return the logits of normalised images.

        Raises
        ------
        ScoresError
            When the answer is no (b, k >= 2) tensor of floats, or not finite or no probabilities where that can be seen
            without waiting for a device.
        """
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            answer = self.call(images)
        answer = _checked_shape(answer, len(images)).float()
        return answer if self.scores == "logits" else answer.clamp(min=_SMALLEST_P).log()

    def checked_logits(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Return the logits as a call does, once `check_values` has looked at them."""
        logits = self(images)
        self.check_values(logits)
        return logits

    def check_values(self, logits: Float[Tensor, "b k"]) -> None:
        """Look at the values of a call's logits, which waits for the device: once a batch, not a step.

        Raises
        ------
        ScoresError
            When a value is not finite, or `scores` says probabilities and a row is none.
        """
        values = logits.detach()
        if not bool(values.isfinite().all()):
            rows = (~values.isfinite().all(1)).nonzero().flatten().tolist()
            raise ScoresError(f"scores of images {rows} hold NaN or infinite values; allowed: finite values")
        if self.scores == "probabilities":
            sums = values.exp().sum(1)
            if bool(((sums - 1).abs() > _SUM_TOLERANCE).any()):
                raise ScoresError(
                    f"scores='probabilities', but rows sum to {sums.min():.4g} to {sums.max():.4g}; allowed: 1. "
                    "Use scores='logits' where the classifier gives logits"
                )

    @torch.no_grad()
    def in_batches(self, images: Float[Tensor, "n c h w"], size: int, *, checked: bool = False) -> Float[Tensor, "n k"]:
        """Return the logits of any number of images, asked for in batches of exactly `size`, the last one padded."""
        ask = self.checked_logits if checked else self
        return torch.cat([ask(pad_batch(part, size))[: len(part)] for part in images.split(size)])

    def with_autocast(self, dtype: torch.dtype | None) -> Forward:
        """Return the same classifier, computing in `dtype` where autocast finds that safe; logits stay float32."""
        return replace(self, autocast=dtype)

    @contextlib.contextmanager
    def frozen_state(self) -> Iterator[None]:
        """Hold the network in evaluation mode with frozen parameters; leave it as it was found, also after an error.

        Modes are kept a submodule and `requires_grad` a parameter, because users freeze parts.
        """
        if self.network is None:
            yield
            return
        modes = [(module, module.training) for module in self.network.modules()]
        flags = [(parameter, parameter.requires_grad) for parameter in self.network.parameters()]
        self.network.eval()
        for parameter, _ in flags:  # one by one: a TorchScript module refuses to be told as a whole
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, flag in flags:
                parameter.requires_grad_(flag)


def as_forward(classifier: Any, *, scores: OutputKind = "logits") -> Forward:
    """Return any accepted classifier as a `Forward`.

    `scores` says what the classifier returns: ``logits``, or ``probabilities`` whose rows sum to 1.

    Raises
    ------
    TypeError
        When it is none of what is accepted; names what it is and what is accepted.
    """
    if scores not in {"logits", "probabilities"}:
        raise ValueError(f"scores is {scores!r}; allowed: 'logits' or 'probabilities'")
    if isinstance(classifier, Forward):
        return classifier
    if isinstance(classifier, torch.export.ExportedProgram):
        return Forward(_of_program(classifier), "exported", scores=scores)
    is_module = isinstance(classifier, nn.Module)  # whose own `network` would be a part of it
    network = classifier if is_module else getattr(classifier, "network", classifier)
    if isinstance(network, nn.Module):
        contract = classifier.contract if isinstance(getattr(classifier, "contract", None), Contract) else None
        classes = len(contract.classes) if contract else None
        return Forward(network, _kind(network, contract), network, scores, classes=classes)
    if all(hasattr(classifier, name) for name in ("run", "get_inputs", "get_outputs")):
        return Forward(of_session(classifier), "onnx", scores=scores)
    if callable(classifier) and not isinstance(classifier, type):
        return Forward(_on_arrays(classifier), "callable", scores=scores)
    raise TypeError(f"classifier is a {type(classifier).__name__}; accepted: {ACCEPTED}")


def _kind(network: nn.Module, contract: Contract | None) -> ClassifierKind:
    """Return what kind a network is; that of a `pcim.classifiers.classifier.Classifier` is what its contract says."""
    if contract is None:
        return "torchscript" if isinstance(network, torch.jit.ScriptModule) else "module"
    if not contract.differentiable:
        return "onnx" if contract.format == "onnx" else "callable"
    kinds: dict[str, ClassifierKind] = {"torchscript": "torchscript", "torch_export": "exported", "onnx": "converted"}
    return kinds.get(contract.format, "module")


def checked_images(images: Tensor) -> Float[Tensor, "b c h w"]:
    """Return images as float32, detached.

    Raises
    ------
    TypeError
        When they are no tensor of floats: raw intensities must be normalised as the classifier was trained.
    ValueError
        When they are not (b >= 1, c >= 1, h >= 8, w >= 8), or not finite; names the images.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        found = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images are {found}; allowed: a tensor of floats, normalised as the classifier was trained")
    if images.ndim != 4 or 0 in images.shape or min(images.shape[-2:]) < 8:  # noqa: PLR2004 - (b, c, h, w)
        raise ValueError(f"images are {tuple(images.shape)}; allowed: (b, c, h, w), none of them 0, h and w at least 8")
    finite = images.detach().flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        raise ValueError(f"images {(~finite).nonzero().flatten().tolist()} hold NaN or infinite values; allowed: finite")
    return images.detach().float()


def resolve_targets(target: Any, logits: Float[Tensor, "b k"]) -> Tensor:
    """Return the class to explain of each image (b,), int64: None is the call, all else as `given_targets`."""
    return logits.argmax(1) if target is None else given_targets(target, len(logits), logits.shape[1], logits.device)


def given_targets(target: Any, b: int, k: int, device: torch.device) -> Tensor:
    """Return the class, of `k`, that is to be explained of each of `b` images, int64: an int is for all, else one for each.

    Raises
    ------
    ValueError
        When there is not one for each image, or a class does not exist; names the values and what is allowed.
    """
    targets = torch.as_tensor(target, device=device)
    if targets.is_floating_point() or targets.dtype == torch.bool or targets.ndim > 1 or targets.numel() not in {1, b}:
        raise ValueError(f"target is {target!r}; allowed: None, an int, or {b} ints, one for each image")
    unknown = sorted(set(targets.flatten().tolist()) - set(range(k)))
    if unknown or (targets.ndim == 1 and len(targets) != b):
        raise ValueError(f"target is {target!r}; allowed: classes 0 to {k - 1}, one for all or one for each of {b} images")
    return targets.long().expand(b).clone()


def pad_batch(images: Tensor, size: int) -> Tensor:
    """Return a copy with the last item repeated up to `size`: in batches of one shape, company decides no bit of an answer."""
    return torch.cat([images, images[-1:].expand(size - len(images), *images.shape[1:])])


def key_of(image: Tensor) -> int:
    """Return a number in [0, 2^63) that only the pixels of an image (c, h, w) decide: the key of one that has no name."""
    pixels = image.detach().float().cpu().contiguous().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(pixels, digest_size=8).digest(), "big") >> 1


def _checked_shape(answer: Any, rows: int) -> Tensor:
    if not isinstance(answer, Tensor) or not answer.is_floating_point():
        found = f"{answer.dtype} tensor" if isinstance(answer, Tensor) else type(answer).__name__
        raise ScoresError(f"the classifier returned a {found}; allowed: a tensor of floats (b, k)")
    if answer.ndim != 2 or answer.shape[0] != rows or answer.shape[1] < 2:  # noqa: PLR2004 - (b, k), two classes
        raise ScoresError(
            f"the classifier returned {tuple(answer.shape)} for {rows} images; allowed: ({rows}, k) with k >= 2 classes. "
            "Give a classifier of one sigmoid as two scores: (0, z)"
        )
    return answer


def _of_program(program: torch.export.ExportedProgram) -> Callable[[Tensor], Tensor]:
    """Return a program as a function of any number of images: a static batch is filled up and cut again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own pytree
        module = program.module()
    return in_batches(module, *batches_of(program))


def batches_of(program: torch.export.ExportedProgram) -> tuple[int, int | None]:
    """Return the least and the most images (None: any number) that an exported program takes at once."""
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder"]
    size = shapes[-1][0]  # parameters come first
    if isinstance(size, int):
        return size, size
    bounds = program.range_constraints[size.node.expr]
    return max(1, int(bounds.lower)), int(bounds.upper) if bounds.upper.is_Integer else None


def of_session(session: Any) -> Callable[[Tensor], Tensor]:
    """Return an ONNX Runtime session as a function of any number of images."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = [f"{one.name}: {one.type}" for one in inputs]
        raise TypeError(f"the ONNX model takes {found}; accepted: one input of tensor(float), (b, c, h, w)")
    name, size = inputs[0].name, inputs[0].shape[0]

    def run(batch: Any) -> Any:
        return session.run([outputs[0].name], {name: batch})[0]

    return in_batches(_on_arrays(run), *((size, size) if isinstance(size, int) else (1, None)))


def _on_arrays(function: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
    """Return a function of NumPy arrays as a function of tensors, without a gradient."""

    def call(images: Tensor) -> Tensor:
        batch = np.ascontiguousarray(images.detach().float().cpu().numpy())
        scores = np.asarray(function(batch))
        if scores.dtype.kind not in "fiu":
            raise ScoresError(f"the classifier returned an array of {scores.dtype}; allowed: numbers (b, k)")
        if not np.isfinite(scores).all():
            raise ScoresError("the classifier returned NaN or infinite values; allowed: finite values")
        return torch.from_numpy(scores.astype(np.float32)).to(images.device)

    return call


def in_batches(call: Callable[[Tensor], Any], least: int, most: int | None) -> Callable[[Tensor], Any]:
    """Return a function that takes `least` to `most` images (None: any number) as one that takes any number.

    Too many are asked about in parts, too few are filled up with repeats.
    """
    if most is None and least == 1:
        return call

    def whole(images: Tensor) -> Any:
        parts = images.split(most or len(images))
        filled = ((part, part if len(part) >= least else pad_batch(part, least)) for part in parts)  # a full one needs no copy
        return torch.cat([call(batch)[: len(part)] for part, batch in filled])

    return whole
