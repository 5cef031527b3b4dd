"""Pixels ranked by a map, and numbers drawn by a view's key.

Both are the same in any batch, on any device and after any restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # splitmix64's constants as the signed integers that torch has
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def ranking(maps: Float[Tensor, "b h w"], keys: Int64[Tensor, " b"]) -> Int64[Tensor, "b hw"]:
    """Return every view's pixels (index into the flattened view), the most relevant first.

    Pixels of equal value come in an order drawn by the view's key and the pixel's index alone, so that it is the same
    in any batch and on any device.

    Raises
    ------
    ValueError
        When a map holds NaN or infinite values.
    """
    values = finite(maps).flatten(1) + 0.0  # -0 + 0 = 0: the two zeros tie on every device
    drawn = lots(keys, values.shape[1]).argsort(dim=1, stable=True)
    ranked = values.gather(1, drawn).argsort(dim=1, descending=True, stable=True)
    return drawn.gather(1, ranked)


def _mix(numbers: Tensor) -> Tensor:
    """Scatter 64-bit integers by the finaliser of splitmix64 (Steele et al. 2014): one to one, so no two pixels tie."""
    numbers = (numbers ^ _shift(numbers, 30)) * _MIX_1
    numbers = (numbers ^ _shift(numbers, 27)) * _MIX_2
    return numbers ^ _shift(numbers, 31)


def _shift(numbers: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, where torch fills with the sign."""
    shifted: Tensor = (numbers >> bits) & (2 ** (64 - bits) - 1)
    return shifted


def lots(keys: Int64[Tensor, " b"], count: int) -> Int64[Tensor, "b n"]:
    """Return `count` 64-bit integers a key, all different, drawn by the key and the number's place alone (splitmix64)."""
    return _mix(_mix(keys)[:, None] + _GOLDEN * torch.arange(1, count + 1, device=keys.device))


def normal(keys: Int64[Tensor, " b"], count: int) -> Float[Tensor, "b n"]:
    """Return `count` standard normal numbers a key (Box & Muller 1958), drawn by the key and the number's place alone."""
    uniform = ((lots(keys, 2 * count) >> 11) & (2**53 - 1)).double().add(0.5) / 2**53  # in (0, 1)
    radius, angle = (-2 * uniform[:, :count].log()).sqrt(), 2 * torch.pi * uniform[:, count:]
    return (radius * angle.cos()).float()


def places(maps: Float[Tensor, "b h w"], keys: Int64[Tensor, " b"]) -> Int64[Tensor, "b h w"]:
    """Return each pixel's place in its view's ranking, 0 = the most relevant; raises as `ranking`, or where keys lack."""
    if len(keys) != len(maps):
        raise ValueError(f"{len(keys)} keys for {len(maps)} maps; allowed: one a map")
    return ranking(maps, keys).argsort(dim=1).view(maps.shape)


def finite(maps: Tensor) -> Tensor:
    """Return the maps; raise ValueError, with their positions, where some are not finite."""
    if not bool(maps.isfinite().all()):
        views = (~maps.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
        raise ValueError(f"maps at positions {views} hold NaN or infinite values; allowed: finite values")
    return maps


def highest_pixels(attribution: NDArray[np.floating], share: float, key: int) -> NDArray[np.bool_]:
    """Return the highest `share` of a map's pixels (at least one), ties broken by the view's key."""
    values = torch.from_numpy(np.ascontiguousarray(attribution, np.float32))
    order = ranking(values[None], torch.tensor([key]))[0, : max(1, round(share * values.numel()))]
    top = np.zeros(values.numel(), bool)
    top[order.numpy()] = True
    return top.reshape(attribution.shape)
