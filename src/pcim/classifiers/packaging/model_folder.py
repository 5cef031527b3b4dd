"""Write a model folder from a network of one's own, some of its images and what is known of it.

The folder holds model.yaml and every file that it names.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from pcim.classifiers.classifier import Classifier, check_behaviour, load_classifier
from pcim.classifiers.contract import PROGRAMS, Contract, ModelError
from pcim.classifiers.formats.weights import load_network
from pcim.config.fault_messages import parse
from pcim.config.yaml_lines import YamlSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CPU = torch.device("cpu")


@dataclass(frozen=True)
class ModelFolderDraft:
    """What a model folder is made of.

    `told` is its model.yaml but for weights, sha256 and test; `weights` the content of the file `source`; `images` (n, c, h, w) are raw, as
    on the plate; `expected` (n, k) is what somebody else found for them, after a `softmax` or not, to within `tolerance` and `rtol` of it.
    """

    told: dict[str, Any]
    weights: bytes
    source: Path
    images: NDArray[Any]
    expected: NDArray[np.floating] | None = None
    softmax: bool = False
    rtol: float = 0.0
    tolerance: float = 1e-4


def write_model(into: Path, draft: ModelFolderDraft, trusted: Sequence[str], *, trust_code: bool = False) -> Contract:
    """Write the folder `into`, whole or not at all: weights, the logits of the images, model.yaml; load it as a job does.

    `trusted` are packages whose code may be run; `trust_code` lets the weights' own be.

    Raises
    ------
    ModelError
        When the folder exists, what is told is no contract, the images are not of its shape, or the network is not what is told.
    """
    if into.exists():
        raise ModelError(f"{into}: exists already; nothing is overwritten")
    contract, digest = _contract(into, draft), hashlib.sha256(draft.weights).hexdigest()
    if contract.format in PROGRAMS and not trust_code:
        raise ModelError(f"format {contract.format}: loading it runs code that it holds; --trust-code, if you know who made it")
    if contract.package and contract.package not in trusted:
        told = f"architecture {contract.architecture!r} is code of {contract.package!r}, which would be run"
        raise ModelError(f"{told}; give --trust {contract.package}, if you know who made it")
    trusted = [*trusted, digest]
    images = _images(contract, draft.images)
    logits = torch.from_numpy(_logits(contract, draft, images, trusted))
    partial = into.parent / f".{into.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        (partial / contract.weights).write_bytes(draft.weights)
        save_file({"images": torch.from_numpy(images), "logits": logits}, partial / contract.test.file)
        values = contract.model_dump(mode="json", exclude_unset=True)
        (partial / "model.yaml").write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), "utf-8")
        load_classifier(partial / "model.yaml", trusted, CPU)
        partial.replace(into)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return contract


def _logits(contract: Contract, draft: ModelFolderDraft, images: NDArray[np.float32], trusted: Sequence[str]) -> NDArray[np.float32]:
    """Return the network's logits; of an ONNX model those that ONNX Runtime gives, which every job compares with its own."""
    if contract.format == "onnx":
        contract = contract.model_copy(update={"differentiable": False})
    network = load_network(contract, draft.source, draft.weights, trusted, CPU)
    classifier = Classifier(network, contract, CPU)
    check_behaviour(classifier, images)
    return _compare(draft, classifier.logits_of(images, len(images)), contract)


def _contract(into: Path, draft: ModelFolderDraft) -> Contract:
    digest = hashlib.sha256(draft.weights).hexdigest()
    beside = {"weights": f"weights{draft.source.suffix}", "sha256": digest, "test": {"file": "test.safetensors"}}
    contract, faults = parse(Contract, YamlSource(draft.told | beside, {}, str(into / "model.yaml")))
    if contract is None or faults:
        raise ModelError("\n".join(faults))
    return contract


def _images(contract: Contract, images: NDArray[Any]) -> NDArray[np.float32]:
    expected = (len(contract.input.channels), *contract.input.size)
    if images.ndim != 4 or images.shape[1:] != expected or not len(images):  # noqa: PLR2004 - (n, c, h, w)
        axes = f"(views, channels, height, width) = (n, {', '.join(map(str, expected))}), n at least 1"
        last = images.shape[-1:] == expected[:1] and images.ndim == 4  # noqa: PLR2004 - (n, h, w, c)
        cure = "; the channels come last here: np.moveaxis(images, -1, 1) puts them first" if last else ""
        raise ModelError(f"images are {images.shape}; expected {axes}{cure}")
    if images.dtype.kind not in "fiu" or not np.isfinite(images).all():
        raise ModelError(f"images are {images.dtype}; expected finite numbers, the plate's own intensities")
    return np.ascontiguousarray(images, np.float32)


def _compare(draft: ModelFolderDraft, logits: NDArray[np.float32], contract: Contract) -> NDArray[np.float32]:
    """Return the logits, once they are what another program gives for the same images."""
    if logits.shape[1] != len(contract.classes):
        raise ModelError(f"the network gives {logits.shape[1]} scores; classes names {len(contract.classes)}")
    if draft.expected is None:
        return logits
    found = torch.from_numpy(logits).softmax(1).numpy() if draft.softmax else logits
    if found.shape != draft.expected.shape:
        raise ModelError(f"the network gives scores of {found.shape}; known are {draft.expected.shape}")
    excess = np.abs(found - draft.expected) - draft.rtol * np.abs(draft.expected)
    if not (excess <= draft.tolerance).all():
        off = float(np.abs(found - draft.expected).max())
        raise ModelError(
            f"the network's scores are off by {off:.3g} from those that are known; allowed is {draft.tolerance:g}: mean or std "
            "is rounded (give all their digits, or allow more: --tolerance), or the weights, the architecture, its arguments "
            "or the normalisation is another one"
        )
    return logits
