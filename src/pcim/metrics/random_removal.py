"""Numbers for whether a map's sum over a set of pixels says what the classifier loses without them.

The sets are drawn by the view's key alone, so that every map of a view, and every metric here, shares the same forward passes.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - tests check types at run time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.metrics.batched_queries import Probe, Question
from pcim.metrics.imputation import Fill  # noqa: TC001
from pcim.metrics.pixel_ranks import finite, lots


@dataclass(frozen=True)
class Removals:
    """What b views lose in log-odds without random sets of cells: `drops` (b, sizes, sets), f(x) - f(x without the set).

    `removed` (b, sizes, sets, rows, columns) says which cells, squares of `cell_px`, a set holds: ``sizes[i]`` of them.
    """

    sizes: tuple[int, ...]
    cell_px: int
    removed: Bool[Tensor, "b sizes sets rows columns"]
    drops: Float[Tensor, "b sizes sets"]


def removals(  # noqa: PLR0913 - what the answers depend on
    probe: Probe,
    fill: Fill,
    *,
    keys: Int64[Tensor, " b"],
    sizes: Sequence[int] | None = None,
    sets: int = 20,
    cell_px: int = 1,
) -> Removals:
    """Ask the classifier about every view without `sets` random sets of cells of each size; ``sizes * sets`` forward passes a view.

    Cells are squares of `cell_px` (those at the right and lower edge may be smaller). `sizes` None: six, evenly spaced on a
    logarithmic scale from one cell to three quarters of them.

    Raises
    ------
    ValueError
        When a size is not from 1 to the number of cells, `sets` below 2, or `cell_px` below 1.
    """
    height, width = probe.images.shape[-2:]
    if sets < 2 or cell_px < 1:  # noqa: PLR2004 - a correlation needs two
        raise ValueError(f"sets is {sets}, cell_px {cell_px}; allowed: 2 or more sets, cells of 1 px or more")
    rows, columns = -(-height // cell_px), -(-width // cell_px)
    cells = rows * columns
    chosen = tuple(log_sizes(cells) if sizes is None else sizes)
    if wrong := [size for size in chosen if not 1 <= size <= cells]:
        raise ValueError(f"sizes {wrong}; allowed: 1 to the number of cells, {cells}")
    count = len(chosen) * sets
    drawn = lots(keys, count * cells).view(len(keys), len(chosen), sets, cells).argsort(-1).argsort(-1)
    removed = drawn < torch.tensor(chosen, device=keys.device)[:, None, None]
    removed = removed.view(*removed.shape[:-1], rows, columns)

    def make(numbers: Tensor) -> Tensor:
        cells_out = removed.flatten(1, 2)[numbers // count, numbers % count]
        return fill(numbers // count, _in_pixels(cells_out, cell_px, (height, width)))

    (left,) = probe.ask([Question(probe.views.repeat_interleave(count), make)])
    drops = probe.plain[:, None, None] - left.view(len(keys), len(chosen), sets)
    return Removals(chosen, cell_px, removed, drops)


def log_sizes(cells: int, most: int = 6) -> list[int]:
    """Return up to `most` sizes, evenly spaced on a logarithmic scale from 1 to three quarters of the cells."""
    last = max(1, 3 * cells // 4)
    return sorted({round(last ** (step / (most - 1))) for step in range(most)})


def sensitivity_n(maps: Float[Tensor, "m h w"], views: Int64[Tensor, " m"], found: Removals) -> Float[Tensor, " m"]:
    """Return the correlation of what a set's attribution adds up to with what its removal costs, mean over set sizes.

    Ancona et al. 2018 (arXiv 1711.06104): Pearson's, in [-1, 1], higher = better, for each size over its random sets. A map that is the
    same on every set explains nothing: 0. NaN where the classifier loses the same whatever is removed.
    """
    return correlation(_sums(maps, views, found), found.drops[views]).mean(1).float()


def faithfulness_correlation(maps: Float[Tensor, "m h w"], views: Int64[Tensor, " m"], found: Removals, size: int) -> Float[Tensor, " m"]:
    """Return the same for sets of one `size` (Bhatt et al. 2020, arXiv 2005.00631), in [-1, 1], higher = better.

    Raises
    ------
    ValueError
        When no sets of that size were drawn.
    """
    if size not in found.sizes:
        raise ValueError(f"size is {size}; allowed: one of {list(found.sizes)}")
    number = found.sizes.index(size)
    return correlation(_sums(maps, views, found), found.drops[views])[:, number].float()


def infidelity(maps: Float[Tensor, "m h w"], views: Int64[Tensor, " m"], found: Removals, *, scaled: bool = True) -> Float[Tensor, " m"]:
    """Return the mean squared difference between a set's attribution and what its removal costs, lower = better.

    Yeh et al. 2019 (arXiv 1901.09392) with the removal of random sets as perturbation. `scaled`: each map is first multiplied by the factor
    that serves it best and the result divided by the mean square of the losses, so that it lies in [0, 1] and 1 says nothing;
    maps carry no unit. Else the maps must be in units of log-odds. NaN where the classifier loses nothing whatever is removed.
    """
    said, lost = _sums(maps, views, found).flatten(1), found.drops[views].double().flatten(1)
    if not scaled:
        return (said - lost).square().mean(1).float()
    squares = said.square().sum(1)
    share = torch.where(squares > 0, (said * lost).sum(1).square() / squares, 0.0)
    return (1 - share / lost.square().sum(1)).float()


def correlation(first: Float[Tensor, "m s n"], second: Float[Tensor, "m s n"]) -> Float[Tensor, "m s"]:
    """Return Pearson's correlation along the last axis: 0 where only the first does not vary, NaN where the second does not."""
    x, y = (part.double() - part.double().mean(-1, keepdim=True) for part in (first, second))
    size = x.square().sum(-1) * y.square().sum(-1)
    scale = first.double().abs().amax(-1).square() * first.shape[-1]
    is_flat = x.square().sum(-1) <= 1e-12 * scale  # rounding of equal sums
    r = torch.where(is_flat, 0.0, (x * y).sum(-1) / size.sqrt())
    return torch.where(y.square().sum(-1) > 0, r, torch.nan)


def _sums(maps: Tensor, views: Tensor, found: Removals) -> Tensor:
    """Return the attribution of every set, (m, sizes, sets)."""
    px, (rows, columns) = found.cell_px, found.removed.shape[-2:]
    height, width = maps.shape[-2:]
    padded = torch.nn.functional.pad(finite(maps).double(), (0, columns * px - width, 0, rows * px - height))
    of_cells = padded.view(len(maps), rows, px, columns, px).sum((2, 4))
    return torch.einsum("mstrc,mrc->mst", found.removed[views].double(), of_cells)


def _in_pixels(cells: Tensor, cell_px: int, size: tuple[int, int]) -> Tensor:
    """Return cells (n, rows, columns) as pixels (n, h, w)."""
    wide = cells.repeat_interleave(cell_px, 1).repeat_interleave(cell_px, 2)
    return wide[:, : size[0], : size[1]]
