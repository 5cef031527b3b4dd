"""Halve the number of views at once where they are too many for the device's memory."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger("pcim")
Result = TypeVar("Result")


def halving_when_out_of_memory(work: Callable[[int], Result], size: int) -> tuple[Result, int]:
    """Return work(size), or of half the size after each time that the device's memory was too small for it; and that size.

    Raises
    ------
    torch.OutOfMemoryError
        When one view alone is too much.
    """
    while True:
        try:
            return work(size), size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        size = _halve(size)  # outside the handler: the exception held on to the batch


def each_halving(
    work: Callable[[list[int], int], Iterator[tuple[list[int], Result]]], total: int, size: int
) -> Iterator[tuple[list[int], Result]]:
    """Yield what work(items, size) yields of the items 0 to `total` - 1: some of them, and their result.

    When the device's memory is too small, it goes on with the items that are left and half the size. Raises as
    `halving_when_out_of_memory`.
    """
    left = list(range(total))
    while left:
        try:
            for items, result in work(left, size):
                left = [item for item in left if item not in items]
                yield items, result
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        else:
            return
        size = _halve(size)


def _halve(size: int) -> int:
    log.warning("the device's memory is too small for %d views at once; going on with %d", size, size // 2)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size // 2
