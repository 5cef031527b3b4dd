"""How many views fit: from the free memory of a GPU, and half of them when that was too many."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import torch

from pcim.attribute.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from pcim.method_settings import PcimSettings

log = logging.getLogger("pcim")
Result = TypeVar("Result")

ON_A_CPU = 8  # more only leave the caches
PROBE, MOST, SHARE = 4, 512, 0.8


def views_that_fit(classify: Callable[[Tensor], Tensor], images: Tensor, settings: PcimSettings) -> int:
    """Return how many of these views (n, c, h, w) to learn at once: a power of two, at most n rounded up, on a GPU at most 512.

    On a GPU a step of 4 views is run and its peak memory measured; four fifths of what is free are used.
    """
    most = 1 << (len(images) - 1).bit_length()
    if images.device.type != "cuda":
        return min(ON_A_CPU, most)
    device = images.device
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step = Step(classify, PROBE, (images.shape[1], images.shape[2], images.shape[3]), settings, device)
    step()
    of_a_view = max(1, (torch.cuda.max_memory_allocated(device) - before) // PROBE)
    del step
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return fitting(free, of_a_view, min(MOST, most))


def fitting(free: int, of_a_view: int, most: int) -> int:
    """Return the power of two, from 1 to `most`, of views of `of_a_view` bytes that fill at most four fifths of `free`."""
    views = max(1, min(most, int(SHARE * free) // of_a_view))
    return 1 << (views.bit_length() - 1)


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
        size = _halved(size)  # outside the handler: the exception held on to the batch


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
        size = _halved(size)


def _halved(size: int) -> int:
    log.warning("the device's memory is too small for %d views at once; going on with %d", size, size // 2)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size // 2
