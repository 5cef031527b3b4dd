"""The choice of which view gives its pixels to which other view."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pcim.core.identity import keyed_number

if TYPE_CHECKING:
    from collections.abc import Sequence


def partners(keys: Sequence[str], calls: Sequence[str], wells: Sequence[str], *, per_view: int, seed: int) -> dict[str, tuple[str, ...]]:
    """Return for every view the keys of `per_view` partners: views of another call from another well.

    `keys` name the views, `wells` their wells with the plate. Each pair of views draws a number from both keys and
    `seed`, and a view's partners are those with the lowest: the order of the views plays no role, and a view that comes
    or goes changes another's partners only where it is or becomes one of them. Where fewer than `per_view` views are
    allowed, all of them; where none is, an empty tuple.

    Raises
    ------
    ValueError
        When the lists differ in length, a key comes twice, or `per_view` is below 1.
    """
    if not len(keys) == len(calls) == len(wells):
        raise ValueError(f"{len(keys)} keys, {len(calls)} calls, {len(wells)} wells; allowed: one of each a view")
    if twice := [key for key, times in Counter(keys).items() if times > 1]:
        raise ValueError(f"keys {twice[:5]} come more than once; allowed: one view a key")
    if per_view < 1:
        raise ValueError(f"per_view is {per_view}; allowed: 1 or more")
    views = list(zip(keys, calls, wells, strict=True))
    chosen = {}
    for key, call, well in views:
        allowed = [other for other, its_call, its_well in views if its_call != call and its_well != well]
        lots = sorted((keyed_number(key, other, f"partners {seed}"), other) for other in allowed)
        chosen[key] = tuple(other for _, other in lots[:per_view])
    return chosen
