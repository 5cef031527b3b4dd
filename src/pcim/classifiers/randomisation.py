"""Classifiers with shuffled parameters (Adebayo et al. 2018).

A map of a trained classifier must not look like theirs.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator


def randomise_layer_by_layer(network: nn.Module, *, key: int, cascade: bool = True) -> Iterator[tuple[str, nn.Module]]:
    """Yield copies of a network whose layers no longer hold what they learnt, from the last to the first, with the layer's name.

    Every parameter tensor's entries change places (drawn by `key` and the layer): their distribution stays, what they mean is gone. With
    `cascade` the layers after it stay randomised too (Adebayo et al. 2018, arXiv 1810.03292), else each is alone.
    """
    changed = copy.deepcopy(network)
    for number, name in reversed(list(enumerate(_layers(network)))):
        if not cascade:
            changed = copy.deepcopy(network)
        _shuffle(dict(changed.named_modules())[name], key + number)
        yield name, copy.deepcopy(changed)


def shuffle_parameters(network: nn.Module, *, key: int) -> nn.Module:
    """Return a copy of a network of which every layer is randomised, as the last that a cascade of `randomise_layer_by_layer` yields."""
    changed = copy.deepcopy(network)
    for number, name in enumerate(_layers(network)):
        _shuffle(dict(changed.named_modules())[name], key + number)
    return changed


def _layers(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))]


@torch.no_grad()
def _shuffle(layer: nn.Module, key: int) -> None:
    """Let the entries of each of a layer's own parameters change places."""
    lot = torch.Generator().manual_seed(key % 2**63)
    for parameter in layer.parameters(recurse=False):
        order = torch.randperm(parameter.numel(), generator=lot).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
