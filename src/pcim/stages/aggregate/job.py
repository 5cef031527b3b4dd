"""Finished plates of maps, the share of attribution in each region, and mean maps of groups of views."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.config.methods import method_read
from pcim.core.identity import KEY_COLUMNS, ViewKey
from pcim.core.tiling import Box
from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.field_image import FieldImage
from pcim.runtime.job_log import log
from pcim.runtime.provenance import KEY, pixels_of, record
from pcim.runtime.tables import read_tables, rows_of, write_table
from pcim.stages.aggregate.mean_maps import MeanMaps, ObjectMaps, find_windows, write_dataset
from pcim.stages.aggregate.shares import _KNOWN, GROUPINGS, Share, group_shares, name_dose, region_shares
from pcim.stages.aggregate.well_profiles import profile_wells
from pcim.views.reader import read_regions
from pcim.views.resize import fit, fit_mask
from pcim.views.views_with_maps import explained_views

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.config.classifier import Region
    from pcim.config.stages import AggregateSettings
    from pcim.core.plate_source import Source


def aggregate_plate(  # noqa: PLR0913 - a job's inputs
    *,
    store: Source,
    fields: str,
    calls: Sequence[str],
    ledgers: Sequence[str],
    methods: Sequence[str],
    plates: Sequence[str],
    shares: str,
    groups: str,
    profiles: str,
    mean_maps: str,
    object_maps: str,
    regions: Mapping[str, Region],
    objects: str | None,
    names: Mapping[str, Sequence[str]],
    settings: AggregateSettings,
    revision: int,
) -> None:
    """Write the tables and mean maps of one classifier on one plate, and finish its plates of maps.

    `plates` are the ``zarr.json`` at the root of each method's plate of maps, in the order of `methods`: they come last.
    `objects` is the region that holds the biology; where it is a label image, maps are averaged around its objects too. `names`
    are the classifier's ``classes`` and ``channels``.
    """
    maps = {method: Path(root).parent for method, root in zip(methods, plates, strict=True)}
    plate_map = pd.read_parquet(fields)
    explained = explained_views(ledgers, plate_map, calls)
    label = regions[objects].label if objects is not None else None
    plate = _Gathering(store, maps, regions, label, names["channels"], settings)
    for path, views in explained.groupby("path", sort=True):
        plate.add_field(str(path), views)
    columns = [*KEY_COLUMNS, *_KNOWN, *Share.__dataclass_fields__]
    table = pd.DataFrame(plate.rows, columns=columns)
    made = record(
        "aggregate",
        revision,
        source=store.to_dict(),
        methods=list(methods),
        regions={name: region.model_dump(mode="json") for name, region in regions.items()},
        objects_region=objects,
        settings=settings.model_dump(mode="json"),
        pixels=pixels_of(zip(plate_map["path"], plate_map["digest"], strict=True)),
        classifier={name: list(told) for name, told in names.items()},
    )
    write_table(table.assign(revision=revision), shares, made)
    write_table(group_shares(table, GROUPINGS).assign(revision=revision), groups, made)
    wells = profile_wells(plate_map, read_tables(calls), table, classes=names["classes"], method=method_read(methods))
    write_table(wells.assign(Metadata_revision=revision), profiles, made)
    write_dataset(plate.means.dataset().assign_attrs({KEY: made}), mean_maps)
    write_dataset(plate.around.dataset().assign_attrs({KEY: made}), object_maps)
    for method, place in maps.items():
        written = set(explained.loc[explained["method"] == method, "path"])
        AttributionPlate(place).finish(ngff.read_plate(store.place), _by_well(written), place.stem)
    log.info("%s: %d views, %d methods", store.name, len(explained) // max(1, len(maps)), len(maps))


class _Gathering:
    """What a plate's maps add up to, field by field."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a job is told
        self,
        store: Source,
        maps: Mapping[str, Path],
        regions: Mapping[str, Region],
        label: str | None,
        channels: Sequence[str],
        settings: AggregateSettings,
    ) -> None:
        self.store, self.maps, self.regions, self.label, self.settings = store, maps, regions, label, settings
        self.rows: list[dict[str, Any]] = []
        self.means = MeanMaps(settings.mean_map_px)
        self.around = ObjectMaps(settings.object_window_px, channels)

    def add_field(self, path: str, views: pd.DataFrame) -> None:
        """Add the maps of one field's views, by all methods."""
        image = FieldImage.open(self.store, path)
        masks, windows = read_regions(image, self.regions), self._windows(image, views)
        pixels = image.read(self.around.channels) if any(map(len, windows.values())) else None
        for method, of_method in views.groupby("method", sort=False):
            boxes = {str(row["view"]): Box.from_row(row) for row in rows_of(of_method)}
            stored = AttributionPlate(self.maps[str(method)]).read_views(path, boxes)
            is_read = method == method_read(list(self.maps))
            for view in rows_of(of_method):
                maps, seen = np.nan_to_num(stored[view["view"]]), boxes[view["view"]].slices
                self._add_shares(view, maps, {name: mask[seen] for name, mask in masks.items()})
                groups = _groups_of(view, self.settings.mean_maps if is_read else ["call"])
                self.means.add(str(method), groups, maps.sum(0))
                if pixels is not None:
                    own = pixels[:, *seen]
                    fitted = fit(maps.sum(0, keepdims=True), own.shape[1:])[0]
                    self.around.add(str(method), groups, windows[view["view"]], fitted, own if is_read else None)

    def _windows(self, image: FieldImage, views: pd.DataFrame) -> dict[str, NDArray[np.int64]]:
        """Return where the objects of each view lie."""
        if self.label is None:
            return {}
        boxes = {ViewKey.from_row(view): Box.from_row(view) for view in rows_of(views)}
        side, most = self.settings.object_window_px, self.settings.objects_per_view
        return find_windows(image.read_label(self.label), boxes, side=side, most=most)

    def _add_shares(self, view: Mapping[str, Any], maps: NDArray[np.floating], masks: Mapping[str, NDArray[np.bool_]]) -> None:
        inside = {name: fit_mask(mask, maps.shape[1:]) for name, mask in masks.items()}
        key = {name: view[name] for name in (*KEY_COLUMNS, *_KNOWN)}
        self.rows += [key | vars(share) for share in region_shares(maps, list(view["channels"]), inside)]


def _groups_of(view: dict[str, Any], groupings: Sequence[str]) -> dict[str, str]:
    """Return the groups of a view whose maps are averaged: grouping -> group; a view without a dose is in none by dose."""
    named = view | {"dose": name_dose(view["treatment"], view["dose"])}
    return {grouping: str(named[grouping]) for grouping in groupings if named[grouping]}


def _by_well(fields: Iterable[str]) -> dict[str, list[str]]:
    """Group the paths of fields, ``A/01/0``, by their wells: ``A/01`` -> ``["0"]``."""
    wells: dict[str, list[str]] = {}
    for path in sorted(fields):
        well, _, field = path.rpartition("/")
        wells.setdefault(well, []).append(field)
    return wells
