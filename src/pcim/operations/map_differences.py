"""How a prediction or a map that was computed again differs from the recorded one, and what changed since."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from pcim.campaign.job_list import read_made
from pcim.revisions import REVISIONS
from pcim.runtime.provenance import code_digest, file_digest, made_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.core.tiling import Box
    from pcim.plates.attribution_plate import AttributionPlate

ComparisonState = Literal["equal", "close", "different", "unknown"]

LOGITS = 1e-3
"""Two logits are close when they differ by no more than this."""
PEARSON = 0.999
PEARSON_LEARNT = {"pcim": 0.7, "randomised_model": 0.5}
"""Two maps are close when their Pearson correlation is at least this; the second where the map is learnt step by step, which amplifies
the last bits of every step, most in a network of shuffled weights. ``benchmarks/numerics.py`` measures all (docs/reproducing.md).
"""


@dataclass(frozen=True)
class Comparison:
    """One call or map, as recorded and as made again. `largest` is the largest absolute difference of a logit, or of a map's pixel in
    units of the map's mean; NaN, like `pearson`, where there is none. `unknown`: it could not be made again, and `why`.
    """  # noqa: D205 - one thought

    kind: Literal["call", "map"]
    model: str
    method: str
    plate: str
    well: str
    field: str
    view: str
    layer: str
    state: ComparisonState
    largest: float = float("nan")
    pearson: float = float("nan")
    why: str = ""


@dataclass(frozen=True)
class Change:
    """Something that is not now what was recorded: a file, a version, a setting of torch, the code, a stage's revision."""

    what: str
    recorded: str
    now: str


def calls_differ(row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the recorded logits of a view with those that were found again; return what `Comparison` says of it."""
    largest = float(np.abs(np.asarray(row["logits"]) - np.asarray(other["logits"])).max())
    if largest == 0:
        return {"state": "equal", "largest": 0.0}
    moved = row["call"] != other["call"]
    why = f"called {other['call']}; it was {row['call']}" if moved else ""
    return {"state": "close" if largest <= LOGITS else "different", "largest": largest, "why": why}


def stored_maps(store: AttributionPlate, path: str, layer: str, boxes: Mapping[str, Box]) -> dict[str, list[NDArray[np.float64]]]:
    """Return what is stored of the views of a field, by name: the map as it is scored, as it is shown, and weights where there are some.

    Views of a field that cannot be read are left out.
    """
    if not boxes:
        return {}
    try:
        own = store.read_views(path, boxes, layer=layer)
        beside = [name for name in ("", "weights") if (store.place(path) / name).is_dir()]
        whole = [store.read(path, name, layer=layer) for name in beside]
    except (OSError, ValueError, RuntimeError, KeyError):
        return {}
    return {
        view: [np.asarray(part, np.float64) for part in (own[view], *(each[:, *box.slices] for each in whole))]
        for view, box in boxes.items()
    }


def least_correlation(method: str) -> float:
    """Return Pearson's correlation from which on two maps of a method are close."""
    return PEARSON_LEARNT.get(method, PEARSON)


def maps_differ(
    row: Mapping[str, Any],
    other: Mapping[str, Any],
    before: Mapping[str, Sequence[NDArray[np.float64]]],
    now: Mapping[str, Sequence[NDArray[np.float64]]],
) -> dict[str, Any]:
    """Compare what is stored of a view, and the ledgers' digests of what was computed; return what `Comparison` says of it."""
    one, two = before.get(row["view"]), now.get(row["view"])
    if one is None or two is None:
        return {"state": "different" if one is None else "unknown", "why": "the stored map cannot be read"}
    if [part.shape for part in one] != [part.shape for part in two]:
        return {"state": "different", "why": "a map of another shape"}
    if row["digest"] == other["digest"] and all(map(partial(np.array_equal, equal_nan=True), one, two)):
        return {"state": "equal", "largest": 0.0, "pearson": 1.0}
    distances = [how_far(*pair) for pair in zip(one, two, strict=True)]
    largest, pearson = max(far for far, _ in distances), min(alike for _, alike in distances)
    return {
        "state": "close" if pearson >= least_correlation(row["method"]) else "different",
        "largest": largest,
        "pearson": pearson,
    }


def how_far(one: NDArray[np.float64], two: NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest absolute difference of two maps (channel, y, x), and Pearson's correlation of their sums over channels."""
    largest = float(np.nanmax(np.abs(one - two), initial=0))
    first, second = (np.nan_to_num(each).sum(0).ravel() for each in (one, two))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return largest, float(np.allclose(first, second))
    return largest, float(np.corrcoef(first, second)[0, 1])


def devices(table: Path, made: Path) -> list[Change]:
    """Return the change of the device by whose name a table's views were computed, if there is one."""
    before, now = (", ".join(sorted(set(pd.read_parquet(file, columns=["device_name"])["device_name"]) - {""})) for file in (table, made))
    return [Change("device", before, now)] if now and before != now else []


def changes(root: Path, records: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    """Yield what has changed: files that the campaign was made from, and, of `records`, software, torch's settings, code, revisions."""
    for file, digest in read_made(root).get("files", {}).items():
        if (now := file_digest(file)) != digest:
            yield Change(file, digest, now or "cannot be read")
    seen: set[tuple[str, str, str]] = set()
    here = made_by()
    for made in records:
        stage = made["stage"]
        pairs = {(f"revision of {stage}", str(made["revision"]), str(REVISIONS[stage]))}
        pairs |= {("code of pcim", made["code"], code_digest())}
        for kind in ("software", "numerics"):
            before, now = made[kind], here[kind]
            pairs |= {(name, str(before.get(name, "none")), str(now.get(name, "none"))) for name in before.keys() | now.keys()}
        for what, before, now in sorted(pairs - seen):
            if before != now:
                yield Change(what, before, now)
        seen |= pairs
