"""Mean pictures: the mean maps of a plate's groups, and what its objects and their maps look like on average, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pcim import figures, panels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from pcim.figures import Album, Picture

SHOWN = ("call", "treatment")
"""The groupings that the page shows; the files hold more."""

MOST = 12
"""Most groups shown: the calls, then the largest treatments."""


def mean_maps(maps: xr.DataArray, method: str, album: Album, name: str) -> tuple[list[Picture], float]:
    """Return the mean maps (entry, y, x) of the largest groups by one method, and the value shown as white, the same for all.

    They are kept as one figure ``name.png`` too, with its scale.
    """
    wanted = (maps["method"].values == method) & np.isin(maps["grouping"].values, SHOWN)
    order = sorted(
        (int(n) for n in np.flatnonzero(wanted)),
        key=lambda n: (str(maps["grouping"].values[n]) != "call", -int(maps["views"].values[n])),
    )[:MOST]
    if not order:
        return [], 1.0
    titles = [_title(maps, n, int(maps["views"].values[n]), "views") for n in order]
    stack = maps.values[order]
    album.files[f"{name}.png"] = figures.render(figures.mean_maps(stack, titles), "png", dpi=130)
    top = max(2.0, float(np.quantile(stack, 0.998)))
    return [album.png(panels.map_png(one, top), f"Mean map: {title}", title) for one, title in zip(stack, titles, strict=True)], top  # fmt: skip


def object_maps(means: xr.Dataset, method: str, album: Album) -> tuple[list[tuple[Picture, Picture]], float]:
    """Return, a pair a call, the mean image and the mean map around the objects of views so called, and the value shown as white."""
    wanted = (means["method"].values == method) & (means["grouping"].values == "call")
    order = [int(n) for n in np.flatnonzero(wanted)]
    if not order:
        return [], 1.0
    images = [np.nan_to_num(means["object_image"].values[n]) for n in order]
    maps = [np.nan_to_num(means["object_map"].values[n]) for n in order]
    ends = [_ends([image[channel] for image in images]) for channel in range(len(images[0]))]
    top = max(2.0, *(float(one.max()) for one in maps))
    pairs = []
    for n, image, attribution in zip(order, images, maps, strict=True):
        title = _title(means, n, int(means["objects"].values[n]), "objects")
        shown = album.png(
            panels.image_png(panels.composite(image, ends)), f"Mean image around an object: {title}", title
        )
        pairs.append((shown, album.png(panels.map_png(attribution, top), f"Mean map around an object: {title}", "map")))
    return pairs, top


def _title(means: xr.DataArray | xr.Dataset, n: int, count: int, unit: str) -> str:
    return f"{means['grouping'].values[n]} {str(means['group'].values[n])[:24]}\nn = {count} {unit}"


def _ends(images: Sequence[NDArray[np.floating]]) -> tuple[float, float]:
    """Return black and white of one channel, shared by all groups."""
    low, high = float(np.min(images)), float(np.max(images))
    return low, max(high, low + 1e-6)
