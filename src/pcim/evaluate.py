"""Evaluate: how faithful every map is to the classifier, and how much of it lies in the objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.chunks import Box
from pcim.fitting import fit, fit_mask
from pcim.intensities import Known
from pcim.jobs import log, rows_of, write_table
from pcim.mapplates import MapPlate
from pcim.method_settings import method_read
from pcim.plate import KEY_COLUMNS, ViewKey
from pcim.progress import progress
from pcim.scoring import Case, score
from pcim.stores import FieldImage
from pcim.views import explained_views, read_regions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.config import EvaluateSettings, Region
    from pcim.jobs import ChunkJob
    from pcim.method_settings import Background

COLUMNS = (*KEY_COLUMNS, "method", "metric", "substitute", "seen", "value", "chance")
CURVE_COLUMNS = (*KEY_COLUMNS, "method", "substitute", "shares", "deletion", "insertion")


def evaluate_chunk(  # noqa: PLR0913 - a job's inputs
    job: ChunkJob,
    *,
    fields: str,
    ledgers: Sequence[str],
    maps: Mapping[str, str],
    table: str,
    curves: str,
    regions: Mapping[str, Region],
    objects: str | None,
    background: Background,
    settings: EvaluateSettings,
) -> None:
    """Score every map of a chunk into `table`, and write the curves behind the scores; `maps` are the methods' plates of maps."""
    classifier = job.load_classifier()
    seen_fields = pd.read_parquet(fields)
    explained, known = explained_views(ledgers, seen_fields), Known.of(seen_fields, job.intensities)
    stores = {method: MapPlate(Path(place)) for method, place in maps.items()}
    size, read = classifier.contract.input.size, method_read(list(stores))
    others = OtherMaps(explained[explained["method"] == read], stores[read])
    rows: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    views_in_all = explained.groupby(list(KEY_COLUMNS)).ngroups
    bar = progress(views_in_all, f"evaluate {job.store.name}", device=classifier.named_device)
    for path, of_field in explained.groupby("path", sort=True):
        image = FieldImage.open(job.store, str(path))
        pixels = known.scaled(str(path), image.read(classifier.contract.input.channels))
        mask = read_regions(image, regions)[objects] if objects else None
        boxes = {str(row["view"]): Box.of(row) for row in rows_of(of_field)}
        of_methods = {method: stores[method].read_views(str(path), boxes) for method in of_field["method"].unique()}
        for _, views in of_field.groupby(list(KEY_COLUMNS), sort=True):
            view = rows_of(views)[0]
            seen, key = Box.of(view).slices, ViewKey.of(view)
            inside = None if mask is None else fit_mask(mask[seen], size)
            of_view = {m: _summed(of_methods[m][view["view"]]) for m in views["method"]}
            other = others.before(key, of_view.get(read))
            case = Case(key, fit(pixels[:, *seen], size), view["target"], of_view, inside, other, read)
            scores, of_curves = score(classifier, case, settings, background)
            rows += scores
            drawn += of_curves
            bar.update()
    bar.close()
    log.info("%s: %d values", table, len(rows))
    write_table(pd.DataFrame(drawn, columns=CURVE_COLUMNS).assign(revision=job.revision), curves)
    write_table(pd.DataFrame(rows, columns=COLUMNS).assign(revision=job.revision), table)


def _summed(channel_maps: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a view's map (y, x): the sum over its channels, 0 where nothing was explained."""
    total: NDArray[np.floating] = np.nan_to_num(channel_maps.sum(0))
    return total


class OtherMaps:
    """Gives each view the map of one of another well: the last one scored, and for the chunk's first well its last view's.

    The views of a chunk come in one order, and what a chunk holds never changes, so a rerun gives the same.
    """

    def __init__(self, explained: pd.DataFrame, store: MapPlate) -> None:
        self._well, self._map = "", None
        self._earlier: NDArray[np.floating] | None = None
        if len(explained) and explained.groupby(["row", "column"]).ngroups > 1:
            last = rows_of(explained.sort_values(["path", *KEY_COLUMNS]).tail(1))[0]
            found = store.read_views(last["path"], {last["view"]: Box.of(last)})
            self._map = _summed(found[last["view"]])

    def before(self, key: ViewKey, own: NDArray[np.floating] | None) -> NDArray[np.floating] | None:
        """Return the map of the well before this view's, and remember the view's own."""
        if key.well != self._well:
            self._well, self._earlier = key.well, self._map
        self._map = own
        return self._earlier
