"""Cut the example campaign's plates and plate maps from the full data sets: `python example/cut.py DATA_FOLDER`.

DATA_FOLDER holds `bbbc013_u2os_translocation` and `bbbc010_celegans_livedead` (what is in them, and under which
licences: PROVENANCE.md beside this script). Writes `plates/*.zarr` and `platemaps/*.csv`; the same input gives the same
bytes.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pandas as pd
import zarr
import zarr.codecs
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import (
    add_metadata,
    write_label_metadata,
    write_multiscales_metadata,
    write_plate_metadata,
    write_well_metadata,
)
from scipy import ndimage
from skimage.filters import threshold_otsu
from tifffile import imread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from ome_zarr.format import Format

HERE = Path(__file__).parent
LEVELS = 2
COMPRESSION = 9  # zstd's level: written once, read often
COLOURS = {"GFP": "00FF00", "DNA": "0000FF", "Brightfield": "FFFFFF", "Sytox": "FF8000"}


@dataclass(frozen=True)
class FieldImage:
    """One well's only field: `image` (c, y, x) and its label images, each (y, x), 0 = no object."""

    row: str
    column: str
    image: NDArray[Any]
    labels: dict[str, NDArray[Any]]


def shrink(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return the means of blocks of `factor` x `factor` px (last two axes), rounded half up, in the image's type."""
    *others, height, width = image.shape
    blocks = image.reshape(*others, height // factor, factor, width // factor, factor).astype(np.int64)
    means: NDArray[Any] = (blocks.sum((-3, -1)) + factor**2 // 2) // factor**2
    return means.astype(image.dtype)


def thin(labels: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return the pixel nearest to the centre of each block of `factor` x `factor` px: identifiers are never mixed."""
    return labels[factor // 2 :: factor, factor // 2 :: factor]


def lit_inside(brightfield: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 1 inside of the lit well, 0 in the dark around it; `brightfield` is (y, x).

    The threshold is Otsu's on the logarithm: the light falls off twentyfold from the well's centre to its wall, and a
    threshold on intensities would cut the well's dim margin off. Worms at the wall are kept by filling holes.
    """
    smooth = np.log(ndimage.gaussian_filter(brightfield.astype(np.float64), sigma=1.0))
    parts, _ = ndimage.label(smooth > threshold_otsu(smooth))
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.uint8)


def bbbc013(folder: Path) -> Iterator[FieldImage]:
    """Yield the wells of BBBC013 (rows A, B, E, F) at half resolution: GFP, DNA, and the label image `nuclei`."""
    for well in pd.read_csv(folder / "labels.csv").itertuples():
        planes = np.stack([imread(folder / "images" / name) for name in (well.ch1_file, well.ch2_file)])
        nuclei = imread(folder / "masks_derived" / f"{well.well}_nuclei_label.tif")
        yield FieldImage(well.row, f"{well.column:02d}", shrink(planes, 2), {"nuclei": thin(nuclei, 2)})


def bbbc010(folder: Path) -> Iterator[FieldImage]:
    """Yield the wells of BBBC010 (rows A, C, D) at quarter resolution, with the label images `worms` and `well`."""
    for well in pd.read_csv(folder / "labels.csv").itertuples():
        # w2 is the bright field and w1 the Sytox, whatever copies of this set say: PROVENANCE.md
        planes = np.stack([imread(folder / "images" / name) for name in (well.w2_file, well.w1_file)])
        image = shrink(planes, 4)
        worms = thin(imread(folder / "masks" / f"{well.well}_worms_label.tif"), 4)
        yield FieldImage(well.row, f"{well.column:02d}", image, {"worms": worms, "well": lit_inside(image[0])})


def write_plate(path: Path, fields: list[FieldImage], channels: list[str], top: int, fmt: Format) -> None:
    """Write `fields` as the plate `path`, replacing what is there; `top` is the highest value the camera gives."""
    shutil.rmtree(path, ignore_errors=True)
    plate = zarr.open_group(path, mode="w", zarr_format=fmt.zarr_format)
    omero = describe_channels(fields, channels, top)
    rows, columns = sorted({field.row for field in fields}), sorted({field.column for field in fields})
    wells = sorted(f"{field.row}/{field.column}" for field in fields)
    write_plate_metadata(plate, rows, columns, wells, fmt=fmt, field_count=1, name=path.stem)
    for field in fields:
        well = plate.require_group(field.row).require_group(field.column)
        write_well_metadata(well, [{"path": "0"}], fmt=fmt)
        image = well.require_group("0")
        write_levels(image, field.image, lambda level: shrink(level, 2), "cyx", fmt)
        add_metadata(image, {"omero": omero}, fmt=fmt)
        write_labels(image, field.labels, fmt)


def write_labels(image: zarr.Group, labels: dict[str, NDArray[Any]], fmt: Format) -> None:
    """Write the label images of one field beside it."""
    group = image.require_group("labels")
    for name, label in labels.items():
        write_levels(group.require_group(name), label, lambda level: thin(level, 2), "yx", fmt)
        write_label_metadata(group, name, fmt=fmt, source={"image": "../../"})
    if fmt.version == "0.5":  # ome-zarr 0.18 leaves it out here, and the specification wants it
        add_metadata(group, {"version": fmt.version}, fmt=fmt)


def write_levels(group: zarr.Group, array: NDArray[Any], halve: Callable[[NDArray[Any]], NDArray[Any]], axes: str, fmt: Format) -> None:
    """Write `array` and its halvings as levels 0, 1, ..., each in one chunk, and the multiscales metadata."""
    datasets = []
    for level in range(LEVELS):
        array = array if level == 0 else halve(array)
        create_array(group, str(level), array, axes)
        scale = [1.0 if axis == "c" else 2.0**level for axis in axes]
        shift = [0.0 if axis == "c" else (2.0**level - 1) / 2 for axis in axes]  # the centre of the first block
        transformations = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(level), "coordinateTransformations": transformations[: 1 + (level > 0)]})
    # no unit: the files of both sets have no pixel size
    write_multiscales_metadata(group, datasets, fmt=fmt, axes=list(axes), name=group.path)


def create_array(group: zarr.Group, name: str, array: NDArray[Any], axes: str) -> None:
    """Store `array` as one zstd-compressed chunk, in the zarr format of its group."""
    old = group.metadata.zarr_format == 2
    written = group.create_array(
        name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=array.shape,
        compressors=numcodecs.Zstd(COMPRESSION) if old else zarr.codecs.ZstdCodec(level=COMPRESSION),
        chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
        dimension_names=None if old else list(axes),
    )
    written[...] = array


def describe_channels(fields: list[FieldImage], channels: list[str], top: int) -> dict[str, Any]:
    """Return the omero block of every field: channels shown from the plate's 0.5th to its 99.5th percentile."""
    stack = np.stack([field.image for field in fields], axis=1)  # (c, field, y, x)
    described = []
    for name, pixels in zip(channels, stack, strict=True):
        start, end = (float(value) for value in np.percentile(pixels, [0.5, 99.5], method="nearest"))
        window = {"min": 0.0, "max": float(top), "start": start, "end": end}
        described.append({"label": name, "color": COLOURS[name], "active": True, "window": window})
    return {"channels": described}


def map_bbbc013(wells: pd.DataFrame) -> pd.DataFrame:
    """Return BBBC013's plate map; only control wells have a true class and a split (train: rows A and E)."""
    control = wells["label"] != "dose"
    negative = wells["label"] == "negative"
    return pd.DataFrame(
        {
            "well_position": well_names(wells),
            "treatment": wells["drug"].mask(negative, "untreated"),
            "control_type": wells["label"].map({"negative": "negcon", "positive": "poscon", "dose": ""}),
            "dose": wells["dose_index"].astype(str),
            "label": wells["label"].where(control, ""),
            "split_translocation": split(wells["row"].isin(["A", "E"])).where(control, ""),
        }
    )


def map_bbbc010(wells: pd.DataFrame) -> pd.DataFrame:
    """Return BBBC010's plate map; the true class is the well's treatment, not each worm's fate."""
    live = wells["label"] == "live"
    return pd.DataFrame(
        {
            "well_position": well_names(wells),
            "treatment": np.where(live, "ampicillin", "untreated"),
            "control_type": np.where(live, "poscon", "negcon"),
            "dose": "",
            "label": wells["label"],
            "split_rows": split(wells["row"].isin(["A", "C"])),
            "split_columns": split(~wells["column"].between(9, 16)),
        }
    )


def well_names(wells: pd.DataFrame) -> pd.Series[str]:
    """Return "A01" for row A, column 1."""
    return wells["row"] + wells["column"].map("{:02d}".format)


def split(train: pd.Series[bool]) -> pd.Series[str]:
    """Return "train" where true, "test" elsewhere."""
    return train.map({True: "train", False: "test"})


def megabytes(folder: Path) -> float:
    """Return the size of all files in a folder, MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    """Write both plates and both plate maps, and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER")
    data = parser.parse_args().data
    sources = {"bbbc013": data / "bbbc013_u2os_translocation", "bbbc010": data / "bbbc010_celegans_livedead"}
    if absent := [str(folder) for folder in sources.values() if not (folder / "labels.csv").is_file()]:
        parser.error(f"no labels.csv in {', '.join(absent)}: DATA_FOLDER must hold both data sets")

    plates = HERE / "plates"
    write_plate(plates / "bbbc013.zarr", list(bbbc013(sources["bbbc013"])), ["GFP", "DNA"], 255, FormatV05())
    write_plate(plates / "bbbc010.zarr", list(bbbc010(sources["bbbc010"])), ["Brightfield", "Sytox"], 4095, FormatV04())
    (HERE / "platemaps").mkdir(exist_ok=True)
    for name, mapping in {"bbbc013": map_bbbc013, "bbbc010": map_bbbc010}.items():
        table = mapping(pd.read_csv(sources[name] / "labels.csv"))
        table.to_csv(HERE / "platemaps" / f"{name}.csv", index=False, lineterminator="\n")
        print(f"{name}: {len(table)} wells, {megabytes(plates / f'{name}.zarr'):.1f} MB")
    print(f"everything embedded, models included: {megabytes(HERE):.1f} MB")


if __name__ == "__main__":
    main()
