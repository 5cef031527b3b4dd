"""The views that every peer is given, and randomness that belongs to one view."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from pcim.classifiers.forward import pad_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pcim.classifiers.forward import Forward
    from pcim.config.methods import PeerSettings


@dataclass(frozen=True)
class Batch:
    """Views to explain: normalised images (b, c, h, w), their classes (b,), what deleted pixels become, and a key each."""

    images: Tensor
    targets: Tensor
    backgrounds: Tensor
    keys: Sequence[int]

    def one(self, number: int) -> Batch:
        """Return the batch of one view alone."""
        here = slice(number, number + 1)
        return Batch(self.images[here], self.targets[here], self.backgrounds[here], self.keys[here])

    def part(self, start: int, size: int) -> Batch:
        """Return `size` views from `start` on; beyond the last one it is repeated."""
        chosen = pad_batch(torch.arange(len(self.images))[start : start + size], size).tolist()
        keys = [self.keys[number] for number in chosen]
        return Batch(self.images[chosen], self.targets[chosen], self.backgrounds[chosen], keys)


@dataclass(frozen=True)
class Method:
    """A peer: its function, and the part of its signed answer that is the map; what it needs is in `pcim.config.methods.NEEDS`.

    The function returns signed attributions (b, c or 1, h, w), float32, without a graph; > 0 speaks for the class.
    """

    function: Callable[[Forward, Batch, PeerSettings], Tensor]
    sign: Literal["absolute", "positive"]
    compares: bool = False  # with the background


@contextlib.contextmanager
def own_randomness(key: int, device: torch.device) -> Iterator[None]:
    """Draw from generators seeded by `key` inside, and leave the global ones as they were: Captum knows no others.

    The same view then gives the same map alone, in any batch and in any order.
    """
    devices = [device] if device.type == "cuda" else []
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - Captum draws from it
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002
        random.seed(key)
        try:
            yield
        finally:
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)


def generator(key: int) -> torch.Generator:
    """Return a view's own generator, on the CPU, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(key)
