"""The number of views that fit into the free memory of a GPU.

Where they do not fit all the same, `pcim.classifiers.out_of_memory` tries again with half of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pcim.attribution.optimiser_step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pcim.config.methods import PcimSettings

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
