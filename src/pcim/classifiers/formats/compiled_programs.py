"""Networks that were compiled or converted elsewhere, as modules like any other."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

from torch import nn

from pcim.classifiers.forward import in_batches

if TYPE_CHECKING:
    from torch import Tensor


class Program(nn.Module):
    """A network that was compiled outside, for any number of images."""

    def __init__(self, program: nn.Module, least: int = 1, most: int | None = None) -> None:
        super().__init__()
        self.program, self.least, self.most = program, least, most

    def train(self, mode: bool = True) -> Program:
        """Set the mode of every part: an exported program has one but refuses to be told."""
        for module in self.modules():
            module.training = mode
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        """Return a copy with parameters of its own."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own pytree
            return Program(copy.deepcopy(self.program, memo), self.least, self.most).train(self.training)

    def forward(self, images: Tensor) -> Any:
        """Return what the program returns for images (b, c, h, w)."""
        return in_batches(self.program, self.least, self.most)(images)
