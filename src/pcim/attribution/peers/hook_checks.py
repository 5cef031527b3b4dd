"""Checks for networks on which a hook-based peer would be wrong in silence.

Such a network is refused, with the way out.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Mapping

_RELU = {torch.ops.aten.relu.default, torch.ops.aten.relu_.default}


class _CountsRelu(TorchDispatchMode):
    """Counts the rectifications that are computed, whoever asks for them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        self.count += func in _RELU
        return func(*args, **(kwargs or {}))


def _relu_calls(network: nn.Module, images: Tensor) -> tuple[int, Counter[str]]:
    """Return how many rectifications a pass computes, and how many times each nn.ReLU module is called."""
    calls: Counter[str] = Counter()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, module in network.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        with torch.no_grad(), _CountsRelu() as counted:
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return counted.count, calls


def refuse_functional_relu(network: nn.Module, images: Tensor, method: str) -> None:
    """Raise ValueError where the network rectifies by a function: hooks on modules cannot see it."""
    computed, calls = _relu_calls(network, images)
    if computed > calls.total():
        raise ValueError(
            f"{method}: {computed - calls.total()} of the network's {computed} rectifications are functions (torch.relu), "
            "which hooks cannot see, and the map would be wrong in silence; use nn.ReLU modules, or another method"
        )


def refuse_shared_relu(network: nn.Module, images: Tensor, method: str) -> None:
    """Raise ValueError where one nn.ReLU module is called more than once: its hooks mix the calls up."""
    _, calls = _relu_calls(network, images)
    shared = sorted(name for name, count in calls.items() if count > 1)
    if shared:
        raise ValueError(f"{method}: nn.ReLU modules {shared} are called more than once; give each call a module of its own")
