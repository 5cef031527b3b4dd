"""Make the network that a model.yaml names as `architecture`, without weights and without a download."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from torch import nn

from pcim.classifiers.contract import LIBRARIES, Contract, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def build(contract: Contract, trusted: Sequence[str]) -> nn.Module:
    """Call the architecture's factory; only modules of trusted packages are imported.

    Raises
    ------
    ModelError
        When its package is not trusted or cannot be imported, or the factory fails or makes no torch module.
    """
    module, _, name = str(contract.architecture).partition(":")
    if contract.package not in trusted:
        raise ModelError(
            f"architecture {contract.architecture!r}: package {contract.package!r} is not in "
            f"classify.trusted_packages {list(trusted)} (in Python: trusted=)"
        )
    try:
        network = _factory(module, name)(**contract.arguments)
    except Exception as error:  # code of others raises what it likes
        told = f"architecture {contract.architecture!r} with {contract.arguments}: {str(error) or type(error).__name__}"
        raise ModelError(told + _cure(module, error)) from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"architecture {contract.architecture!r} made a {type(network).__name__}, no torch module")
    return network


def _cure(module: str, error: Exception) -> str:
    """Return what may help, with a semicolon before it; nothing where nothing is known to."""
    if module in LIBRARIES:
        return f"; pip install 'pcim[{module}]'"
    is_absent = isinstance(error, ModuleNotFoundError)
    return "; install it in this environment, or name its folder in PYTHONPATH" if is_absent else ""


def _factory(module: str, name: str) -> Callable[..., Any]:
    """Return what makes the network; of timm and torchvision, without weights."""
    if module == "timm":
        timm = importlib.import_module("timm")
        return lambda **arguments: timm.create_model(name, pretrained=False, **arguments)
    if module == "torchvision":
        models = importlib.import_module("torchvision.models")
        return lambda **arguments: models.get_model(name, weights=None, **_no_backbone(models, name), **arguments)
    made: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return made


def _no_backbone(models: Any, name: str) -> dict[str, None]:
    """Return the argument that keeps a network of torchvision from loading a backbone's weights, where it has one."""
    return {"weights_backbone": None} if "weights_backbone" in models.get_model_builder(name).__annotations__ else {}
