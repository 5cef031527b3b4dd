"""Mean pictures: calls first, the largest treatments after them, one scale for all, each with its n."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import xarray as xr
from PIL import Image

from pcim.report.page import mean_map_figures
from pcim.report.page.figures import Album, Picture
from pcim.stages.aggregate.mean_maps import ObjectMaps, write_dataset


def pixels(picture: Picture) -> np.ndarray:
    content = base64.b64decode(picture.source.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def write(folder: Path, dataset: xr.Dataset) -> Path:
    write_dataset(dataset, folder / "means.zarr.zip")
    return folder / "means.zarr.zip"


def maps(treatments: int) -> xr.Dataset:
    groups = [("pcim", "treatment", f"t{n}", n + 1) for n in range(treatments)]
    groups += [("pcim", "call", "dead", 3), ("edge", "call", "dead", 3), ("pcim", "well", "A01", 9)]
    stack = np.stack([np.full((6, 8), float(n)) for n in range(len(groups))])
    names = ("method", "grouping", "group", "views")
    return xr.Dataset(
        {"mean_map": (("entry", "y", "x"), stack)},
        coords={name: ("entry", list(of)) for name, of in zip(names, zip(*groups, strict=True), strict=True)},
    )


def test_calls_come_first_then_the_largest_treatments_and_no_other_method_or_grouping(tmp_path: Path) -> None:
    album = Album()
    shown, top = mean_map_figures.mean_maps(write(tmp_path, maps(20)), "pcim", album, "x")
    assert [picture.caption for picture in shown[:3]] == ["call dead\nn = 3 views", "treatment t19\nn = 20 "
                                                                                    "views", "treatment t18\nn = 19 views"]  # fmt: skip
    assert len(shown) == mean_map_figures.MOST
    assert top == 20, "the highest shown mean, of the call"
    assert pixels(shown[0]).min() > pixels(shown[1]).min() > pixels(shown[-1]).min(), "one scale for all"
    assert album.files["x.png"].startswith(b"\x89PNG")


def test_no_maps_give_no_pictures(tmp_path: Path) -> None:
    assert mean_map_figures.mean_maps(write(tmp_path, maps(2)), "occlusion", Album(), "x") == ([], 1.0)
    assert mean_map_figures.object_maps(write(tmp_path, ObjectMaps(8, ["GFP"]).dataset()), "pcim", Album(), ["FFFFFF"]) == ([], 1.0)


def test_an_object_is_shown_as_its_mean_image_and_its_mean_map(tmp_path: Path) -> None:
    means = ObjectMaps(8, ["GFP"])
    dot = np.zeros((16, 16))
    dot[8, 8] = 10.0
    for call, factor in (("dead", 1.0), ("live", 3.0)):
        means.add("pcim", {"call": call, "treatment": "t"}, np.array([[4, 4]]), factor * dot, factor * dot[np.newaxis])
    pairs, top = mean_map_figures.object_maps(write(tmp_path, means.dataset()), "pcim", Album(), ["FFFFFF"])
    assert [image.caption for image, _ in pairs] == ["call dead\nn = 1 objects", "call live\nn = 1 objects"]
    assert top == 30
    for image, attribution in pairs:
        for picture in (pixels(image), pixels(attribution)):
            middle = len(picture) // 2 + 1
            assert picture[middle, middle].sum() == picture.sum(-1).max() > picture[0, 0].sum()
    assert pixels(pairs[0][1]).max() < pixels(pairs[1][1]).max(), "one scale for both"
