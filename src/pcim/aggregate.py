"""Aggregate: finished plates of maps, the share of attribution in each region, and mean maps of groups of views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import pandas as pd
import xarray as xr
from zarr.storage import MemoryStore

from pcim import ngff
from pcim.chunks import Box
from pcim.fitting import fit_mask
from pcim.jobs import log, rows_of, whole_file, write_table
from pcim.mapplates import MapPlate
from pcim.plate import KEY_COLUMNS
from pcim.stores import FieldImage
from pcim.views import explained_views, read_regions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from pcim.config import AggregateSettings, Region
    from pcim.source import Source

ALL_CHANNELS = "all"
GROUPINGS = ("well", "treatment", "call")


@dataclass(frozen=True)
class Share:
    """A region's part of a view's attribution; `lift` = share / area, 1 = chance."""

    region: str
    channel: str
    share: float
    area: float
    lift: float


def region_shares(
    maps: NDArray[np.floating], channels: Sequence[str], regions: Mapping[str, NDArray[np.bool_]]
) -> list[Share]:
    """Return each region's share of the attribution in `maps` (channel, y, x), overall and by channel.

    The shares of the regions add up to 1, and so do those of all (region, channel) pairs where the method has a map a
    channel. The lift of a channel compares with that channel's own attribution. A map of zeros gives NaN.
    """
    total = float(maps.sum(dtype=np.float64))
    parts = {ALL_CHANNELS: maps.sum(0, dtype=np.float64)}
    if len(maps) == len(channels) > 1:
        parts |= dict(zip(channels, maps.astype(np.float64), strict=True))
    shares = []
    for name, region in regions.items():
        area = float(region.mean())
        for channel, part in parts.items():
            inside, own = float(part[region].sum()), float(part.sum())
            lift = inside / own / area if own > 0 and area > 0 else np.nan
            shares.append(Share(name, channel, inside / total if total > 0 else np.nan, area, lift))
    return shares


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
    mean_maps: str,
    regions: Mapping[str, Region],
    settings: AggregateSettings,
    revision: int,
) -> None:
    """Write the tables and mean maps of one classifier on one plate, and finish its plates of maps.

    `plates` are the ``zarr.json`` at the root of each method's plate of maps, in the order of `methods`: they come last.
    """
    maps = {method: Path(root).parent for method, root in zip(methods, plates, strict=True)}
    plate_map = pd.read_parquet(fields)
    explained = explained_views(ledgers, plate_map, calls)
    rows: list[dict[str, Any]] = []
    means = MeanMaps()
    for path, views in explained.groupby("path", sort=True):
        image = FieldImage.open(store, str(path))
        masks = read_regions(image, regions)
        for method, of_method in views.groupby("method", sort=False):
            boxes = {str(row["view"]): Box.of(row) for row in rows_of(of_method)}
            of_views = MapPlate(maps[str(method)]).read_views(str(path), boxes)
            for view in rows_of(of_method):
                seen = Box.of(view).slices
                pixels = np.nan_to_num(of_views[view["view"]])
                inside = {name: fit_mask(mask[seen], pixels.shape[1:]) for name, mask in masks.items()}
                key = {name: view[name] for name in (*KEY_COLUMNS, "treatment", "call", "method")}
                rows += [key | vars(share) for share in region_shares(pixels, list(view["channels"]), inside)]
                means.add(str(method), {name: str(view[name]) for name in settings.mean_maps}, pixels.sum(0))
    columns = [*KEY_COLUMNS, "treatment", "call", "method", *Share.__dataclass_fields__]
    table = pd.DataFrame(rows, columns=columns)
    write_table(table.assign(revision=revision), shares)
    write_table(group_shares(table, GROUPINGS).assign(revision=revision), groups)
    means.write(mean_maps)
    for method, place in maps.items():
        written = set(explained.loc[explained["method"] == method, "path"])
        MapPlate(place).finish(ngff.read_plate(store.place), _by_well(written), place.stem)
    log.info("%s: %d views, %d methods", store.name, len(explained) // max(1, len(maps)), len(maps))


def _by_well(fields: Iterable[str]) -> dict[str, list[str]]:
    """Group the paths of fields, ``A/01/0``, by their wells: ``A/01`` -> ``["0"]``."""
    wells: dict[str, list[str]] = {}
    for path in sorted(fields):
        well, _, field = path.rpartition("/")
        wells.setdefault(well, []).append(field)
    return wells


def group_shares(shares: pd.DataFrame, groupings: Iterable[str]) -> pd.DataFrame:
    """Average the shares over the views of each group (a well, a treatment, a call), one grouping after another."""
    by = ["method", "region", "channel"]
    parts = [
        shares.groupby([grouping, *by], sort=True, observed=True)
        .agg(views=("share", "size"), share=("share", "mean"), area=("area", "mean"), lift=("lift", "mean"))
        .reset_index(names=["group", *by])
        .assign(grouping=grouping)
        for grouping in groupings
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[["grouping", "group", *by, "views", "share", "area", "lift"]]


class MeanMaps:
    """Running means of the maps of groups of views that have one size."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], tuple[NDArray[np.float64], int]] = {}

    def add(self, method: str, groups: Mapping[str, str], attribution: NDArray[np.floating]) -> None:
        """Add one view's map (y, x) to the groups it belongs to: grouping -> group."""
        for grouping, group in groups.items():
            total, count = self._sums.get((method, grouping, group), (np.zeros(attribution.shape), 0))
            self._sums[method, grouping, group] = (total + attribution, count + 1)

    def dataset(self) -> xr.Dataset:
        """Return the mean maps (entry, y, x), in units of the view's mean, with method, grouping, group and views."""
        keys = sorted(self._sums)
        means = [self._sums[key][0] / self._sums[key][1] for key in keys]
        stack = np.stack(means).astype(np.float32) if means else np.zeros((0, 0, 0), np.float32)
        names = [("entry", [key[position] for key in keys]) for position in range(3)]
        counts = ("entry", [self._sums[key][1] for key in keys])
        coordinates = dict(zip(("method", "grouping", "group"), names, strict=True)) | {"views": counts}
        return xr.Dataset({"mean_map": (("entry", "y", "x"), stack)}, coords=coordinates)

    def write(self, path: str | Path) -> None:
        """Write the mean maps as one zipped zarr, whole or not at all, the same bytes for the same maps."""
        files: dict[str, Buffer] = {}
        self.dataset().to_zarr(MemoryStore(files), zarr_format=2, consolidated=False)
        with whole_file(path) as partial, ZipFile(partial, "w") as archive:
            for name in sorted(files):
                archive.writestr(ZipInfo(name), files[name].to_bytes())  # ZipInfo's date is fixed: 1980
