"""Load a classifier, check that it is still itself, and keep it frozen."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pcim.classifiers.contract import Contract, ModelError, load_contract
from pcim.classifiers.formats.safe_arrays import read_content
from pcim.classifiers.formats.weights import load_network, tensors_of
from pcim.classifiers.forward import as_forward, pad_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Float
    from numpy.typing import NDArray
    from torch import nn


log = logging.getLogger("pcim")
__all__ = ["Classifier", "ModelError", "load_classifier", "pick_device", "processor"]


@dataclass(frozen=True)
class Classifier:
    """A frozen classifier on its device: normalised views in, logits out."""

    network: nn.Module
    contract: Contract
    device: torch.device

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Return the logits of normalised views."""
        logits: Tensor = self.network(images)
        return logits

    def normalise(self, raw: Sequence[NDArray[Any]] | NDArray[Any]) -> Float[Tensor, "b c h w"]:
        """Turn raw intensities, b views (c, h, w), into what the network is fed: (x - mean) / std a channel, float32."""
        images = torch.from_numpy(np.stack(list(raw), dtype=np.float32, casting="same_kind")).to(self.device)
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=self.device)[:, None, None]
            for values in (self.contract.input.mean, self.contract.input.std)
        )
        return (images - mean) / std

    @torch.no_grad()
    def logits_of(self, raw: Sequence[NDArray[Any]] | NDArray[Any], batch_size: int) -> NDArray[np.float32]:
        """Classify n raw views (c, h, w) in batches of one fixed shape; returns logits (n, k).

        The last batch is padded with repeats, so that a view's logits do not depend on how many came with it.
        """
        parts = []
        for start in range(0, len(raw), batch_size):
            views = list(raw[start : start + batch_size])
            parts.append(self(pad_batch(self.normalise(views), batch_size))[: len(views)])
        return torch.cat(parts).cpu().numpy()

    @property
    def named_device(self) -> tuple[str, str]:
        """The device's type and name: ``cuda`` and the GPU's, or ``cpu`` and the processor's."""
        if self.device.type == "cuda":
            return "cuda", torch.cuda.get_device_name(self.device)
        return self.device.type, processor()

    def class_index(self, names: Sequence[str]) -> Tensor:
        """Return the logit's index of each class name, int64 on the device."""
        order = {name: index for index, name in enumerate(self.contract.classes)}
        return torch.tensor([order[name] for name in names], device=self.device)


@cache
def processor() -> str:
    """Return the processor's model; what the system calls it where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, model = line.partition(":")
            if name.strip() == "model name":
                return model.strip()
    return platform.processor() or platform.machine()


def pick_device(gpus: int) -> torch.device:
    """Return the GPU when one was asked for, else the CPU.

    On the CPU a job computes on one thread: results do not depend on the number of cores, and chunks run side by side.

    Raises
    ------
    ModelError
        When a GPU was asked for and is not visible: a slow run that nobody notices is worse than none.
    """
    if gpus > 0:
        if not torch.cuda.is_available():
            raise ModelError("a GPU was asked for (resources: gpu) and no CUDA device is visible to this job")
        return torch.device("cuda")
    torch.set_num_threads(1)
    return torch.device("cpu")


def load_classifier(model_yaml: str | Path, trusted: Sequence[str] = ("pcim",), device: str | torch.device = "auto") -> Classifier:
    """Load a classifier from its model.yaml, or the folder that holds it, frozen, and check it against its contract.

    `trusted` names whose code may be run: Python packages, and programs by the SHA-256 of their file (`classify.trusted_packages` and
    `classify.trusted_programs` of a config). `device` is ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: a GPU where one is visible. A model
    that ONNX Runtime computes stays on the CPU.

    Raises
    ------
    ValueError
        When model.yaml is not valid, with every fault in words, or the device is no name of one.
    ModelError
        When a GPU was asked for and is not visible, the weights are not the ones of the contract or not what it says they are,
        or the stored test input does not give the expected logits; names what was found and what was expected.
    """
    device, model_yaml = _device(device), Path(model_yaml)
    model_yaml = model_yaml / "model.yaml" if model_yaml.is_dir() else model_yaml
    contract = load_contract(model_yaml)
    file = model_yaml.parent / contract.weights
    weights = read_content(file)
    digest = hashlib.sha256(weights).hexdigest()
    if digest != contract.sha256:
        raise ModelError(
            f"{file}: SHA-256 {digest}, but {model_yaml} says {contract.sha256}: restore the file or, if these weights "
            "are meant, run pcim adopt again, which stores their digest and their logits"
        )
    if contract.format == "onnx" and not contract.differentiable and device.type != "cpu":
        log.warning("%s: differentiable: false: ONNX Runtime computes it on the CPU; the %s idles", file, device.type)
        device = torch.device("cpu")
    classifier = Classifier(load_network(contract, file, weights, trusted, device), contract, device)
    check_test_input(classifier, model_yaml.parent / contract.test.file)
    return classifier


def _device(wanted: str | torch.device) -> torch.device:
    """Return the device that is meant; raises as `load_classifier`."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if str(wanted).partition(":")[0] not in {"cpu", "cuda"}:
        raise ValueError(f"device is {wanted!r}; allowed: 'auto', 'cpu', 'cuda', 'cuda:0', 'cuda:1', ...")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device is {wanted!r}, and {torch.cuda.device_count()} CUDA devices are visible")
    return device


def check_test_input(classifier: Classifier, file: Path) -> None:
    """Feed the stored test input, compare with the stored logits, and see that the network is one that can be explained.

    Raises
    ------
    ModelError
        When the logits differ, depend on the other images of a batch, or have no gradient where the contract says so.
    """
    contract, stored = classifier.contract, tensors_of(read_content(file), file)
    if stored.keys() != {"images", "logits"}:
        raise ModelError(f"{file}: holds {sorted(stored)}; expected 'images' and 'logits'")
    if {tensor.dtype for tensor in stored.values()} != {torch.float32} or not stored["images"].numel():
        kinds = ", ".join(f"{name} {tensor.dtype} {tuple(tensor.shape)}" for name, tensor in stored.items())
        raise ModelError(f"{file}: holds {kinds}; expected float32, of one view at least")
    expected_shape = (len(contract.input.channels), *contract.input.size)
    if tuple(stored["images"].shape[1:]) != expected_shape:
        raise ModelError(f"{file}: images of {tuple(stored['images'].shape[1:])}; the contract says {expected_shape}")
    check_behaviour(classifier, stored["images"].numpy())
    found = torch.from_numpy(classifier.logits_of(stored["images"].numpy(), len(stored["images"])))
    if found.shape != (len(stored["images"]), len(contract.classes)) or found.shape != stored["logits"].shape:
        raise ModelError(f"{file}: logits of {tuple(found.shape)}; expected one for each of {contract.classes}")
    off = float((found - stored["logits"]).abs().max())
    if not off <= contract.test.tolerance:
        raise ModelError(
            f"{file}: the test input gives logits that are off by {off:.3g}; allowed is {contract.test.tolerance:g}: "
            "the weights, the architecture or the normalisation is not the one that was stored"
        )


def check_behaviour(classifier: Classifier, raw: NDArray[np.float32]) -> None:
    """See that raw views (n, c, h, w) get finite scores that know nothing of the batch, and a gradient where one is promised."""
    contract, images = classifier.contract, classifier.normalise(raw)
    where = f"{contract.weights} (format: {contract.format})"
    company = torch.cat([images, 1 + images.flip(-1)])  # other statistics than the images' own
    try:
        with torch.no_grad():
            alone, together = as_forward(classifier).checked_logits(images.repeat(2, 1, 1, 1)), classifier(company)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ModelError(f"{where}: fed images of {tuple(images.shape)}: {type(error).__name__}: {error}") from error
    off = float((alone - together)[: len(images)].abs().max())
    if not off <= contract.test.tolerance:
        raise ModelError(
            f"{where}: the logits of a view change by {off:.3g} with the other views of its batch: a network in training mode?"
        )
    if contract.differentiable and contract.format != "state_dict":
        _check_gradient(classifier, images[:1], where)


def _check_gradient(classifier: Classifier, images: Tensor, where: str) -> None:
    leaf = images.clone().requires_grad_()
    try:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(classifier(leaf).sum(), [leaf])
    except RuntimeError as error:
        told = str(error).partition("\n")[0]
        raise ModelError(f"{where}: no gradient reaches its input ({told}); say differentiable: false") from error
    if not bool(gradient.isfinite().all()):
        raise ModelError(f"{where}: the gradient of its logits is not finite; say differentiable: false")


@contextlib.contextmanager
def as_a_job(device: torch.device) -> Iterator[None]:
    """Compute as a job does: on a CPU, the number of threads decides the last bits."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
