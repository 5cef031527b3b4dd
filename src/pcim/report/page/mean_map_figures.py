"""Pictures of means: the mean maps of a plate's groups, and the average object with its average map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from zarr.storage import ZipStore

from pcim.plates.rendering import composite, image_png, map_png
from pcim.report.page import figures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pcim.report.page.figures import Album, Picture

SHOWN = ("call", "treatment")
"""The groupings that the page shows; the files hold more."""

MOST = 12
"""Most groups shown: the calls, then the largest treatments."""


def mean_maps(path: Path, method: str, album: Album, name: str) -> tuple[list[Picture], float]:
    """Return the mean maps of the largest groups by one method, and the value shown as white, the same for all.

    Of the file (`pcim.stages.aggregate.mean_maps.MeanMaps`) no more is read than is shown. The maps are kept as one figure ``name.png``
    too, with its scale.
    """
    with ZipStore(path, mode="r") as store:
        maps = xr.open_zarr(store, consolidated=False)["mean_map"]
        order = _largest(maps, method)
        maps = maps.isel(entry=order).load()
    if not order:
        return [], 1.0
    titles = [_title(maps, n, int(maps["views"].values[n]), "views") for n in range(len(order))]
    album.files[f"{name}.png"] = figures.render(figures.mean_maps(maps.values, titles), "png", dpi=130)
    top = figures.top_of_means(maps.values)
    return [album.png(map_png(one, top), f"Mean map: {title}", title) for one, title in zip(maps.values, titles, strict=True)], top


def _largest(maps: xr.DataArray, method: str) -> list[int]:
    """Return the entries of the shown groupings: the calls, then the largest treatments."""
    wanted = (maps["method"].values == method) & np.isin(maps["grouping"].values, SHOWN)
    return sorted(
        (int(n) for n in np.flatnonzero(wanted)),
        key=lambda n: (str(maps["grouping"].values[n]) != "call", -int(maps["views"].values[n])),
    )[:MOST]


def object_maps(path: Path, method: str, album: Album, colours: Sequence[str]) -> tuple[list[tuple[Picture, Picture]], float]:
    """Return a pair per call, the mean image (channels in `colours`) and the mean map around objects, and the value shown as white."""
    with ZipStore(path, mode="r") as store:
        means = xr.open_zarr(store, consolidated=False)
        wanted = (means["method"].values == method) & (means["grouping"].values == "call")
        means = means.isel(entry=np.flatnonzero(wanted)).load()
    order = range(means.sizes["entry"])
    if not order:
        return [], 1.0
    images = [means["object_image"].values[n] for n in order]
    maps = [np.nan_to_num(means["object_map"].values[n]) for n in order]
    ends = [_ends([image[channel] for image in images]) for channel in range(len(images[0]))]
    top = max(2.0, *(float(one.max()) for one in maps))
    pairs = []
    for n, image, attribution in zip(order, images, maps, strict=True):
        title = _title(means, n, int(means["objects"].values[n]), "objects")
        shown = album.png(
            image_png(composite(np.nan_to_num(image), ends, colours)),
            f"Mean image around an object: {title}",
            title,
        )
        pairs.append((shown, album.png(map_png(attribution, top), f"Mean map around an object: {title}", "map")))
    return pairs, top


def _title(means: xr.DataArray | xr.Dataset, n: int, count: int, unit: str) -> str:
    return f"{means['grouping'].values[n]} {str(means['group'].values[n])[:24]}\nn = {count} {unit}"


def _ends(images: Sequence[NDArray[np.floating]]) -> tuple[float, float]:
    """Return black and white of one channel, shared by all groups."""
    low, high = float(np.nanmin(images)), float(np.nanmax(images))
    return low, max(high, low + 1e-6)
