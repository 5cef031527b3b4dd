"""Reading, loading, writing and converting plates, each beside the plain library calls on the same bytes, in turns.

``python benchmarks/io.py [--quick] [--write]``, from the repository's root; minutes. It makes a plate of 2 GB (quick: 200 MB) in
the temporary folder and deletes it. The plate stays in the page cache, so that no disk hides what the code costs.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
import zarr
from harness import Row, options, paired_ratio, report
from scipy.ndimage import gaussian_filter
from zarr.codecs import BloscCodec, Crc32cCodec

from pcim.classifiers.contract import InputContract
from pcim.config.stages import IngestSettings
from pcim.core.identity import ViewKey
from pcim.core.plate_source import Source
from pcim.core.tiling import tile_field
from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate, FieldMaps
from pcim.plates.ngff_writer import (
    FieldContent,
    Pyramid,
    chunk_px,
    every_second,
    finish_plate,
    mean_of_four,
    omero,
    write_field,
)
from pcim.runtime.job_log import log_to
from pcim.stages.convert import convert_plate
from pcim.stages.ingest import ingest_plate
from pcim.views.intensity import FieldRecords
from pcim.views.reader import batches, read_views
from pcim.views.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

SIDE, WORKERS, CHANNELS = 1080, 2, ("DNA", "GFP")
DENSITY = 2e-4
FIELD_BYTES = 2 * len(CHANNELS) * SIDE * SIDE
"""A field as a camera of 1080 x 1080 px gives it, uint16."""
CODECS = [BloscCodec(cname="zstd", clevel=1), Crc32cCodec()]
"""What our own stores are compressed with."""
TILE = (216, 216)
CONTRACT = InputContract(channels=list(CHANNELS), view="tile", size=TILE, dtype="uint16", mean=[0.0, 0.0], std=[1.0, 1.0])


def scene(rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return cells on a dark ground with a camera's noise, (channel, y, x)."""
    spots = (rng.random((len(CHANNELS), SIDE, SIDE)) < DENSITY).astype(np.float32)
    cells = np.stack([gaussian_filter(plane, 8) for plane in spots]) * 4e5
    return (200 + cells + rng.normal(0, 8, cells.shape)).clip(0, 65535).astype(np.uint16)


def write_plate(folder: Path, gigabytes: float) -> tuple[Path, list[str]]:
    """Write a plate of sharded fields, as a conversion writes them, and its plate map; return it and its fields' paths."""
    rng = np.random.default_rng(0)
    scenes = [scene(rng) for _ in range(4)]
    paths = [f"{'ABCDEFGHIJKLMNOP'[n // 24 % 16]}/{n % 24 + 1}/{n // 384}" for n in range(int(gigabytes * 1e9 / FIELD_BYTES))]
    plate, wells = folder / "plate.zarr", dict[str, list[str]]()
    for number, path in enumerate(paths):
        pixels, shown = (
            np.roll(scenes[number % 4], number, axis=2),
            {"omero": omero(CHANNELS, lambda _: "FFFFFF", (0, 1000))},
        )
        write_field(plate, path, FieldContent(Pyramid("x", pixels, ngff.Space(), 1, shown)))
        wells.setdefault(path.rpartition("/")[0], []).append(path.rpartition("/")[2])
    layout = tuple(ngff.WellLayout(*well.split("/"), path=well) for well in wells)
    rows, columns = tuple("ABCDEFGHIJKLMNOP"), tuple(str(n) for n in range(1, 25))
    finish_plate(plate, ngff.PlateLayout("0.5", rows, columns, layout), wells, "plate")
    names = "\n".join(f"{well.row}{int(well.column):02d}" for well in layout)
    (folder / "map.csv").write_text(f"well_position\n{names}\n")
    return plate, paths


def in_threads(work: Any, items: Iterable[Any]) -> None:
    """Do the work on every item with as many threads as the code under test has."""
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(work, items):
            pass


def read_plainly(plate: Path, paths: Iterable[str]) -> None:
    """Read every chunk of every field once, with zarr alone."""
    in_threads(lambda path: zarr.open_array(plate / path / "0", mode="r")[:], paths)


def ingest(folder: Path, plate: Path) -> None:
    """Ingest the plate as its job does."""
    with log_to(folder / "log"):
        ingest_plate(
            plate="p", store=Source(str(plate)), platemap=folder / "map.csv", table=str(folder / "fields.parquet"),
            settings=IngestSettings(), workers=WORKERS, revision=1,
        )  # fmt: skip


def tiles_of(paths: Iterable[str]) -> list[View]:
    """Return every tile of the fields: planned before anything is read."""
    tiles = tile_field((SIDE, SIDE), TILE)
    return [View(ViewKey("p", *path.split("/"), tile.name), path, tile) for path in paths for tile in tiles]


def load(plate: Path, views: list[View]) -> None:
    """Load the views in batches, as the network is fed."""
    for _ in batches(read_views(Source(str(plate)), views, CONTRACT, WORKERS, FieldRecords()), 32):
        pass


def map_writing(folder: Path, turns: int) -> tuple[float, float]:
    """Return the time of writing a field of maps over plain sharded writes of the same arrays, and of its level 0 alone."""
    rng = np.random.default_rng(1)
    maps = np.stack([gaussian_filter(rng.exponential(1, (SIDE, SIDE)), 2) for _ in CHANNELS]).astype(np.float32)
    top = (maps.sum(0) > np.percentile(maps.sum(0), 95)).astype(np.uint8)
    folder /= "maps"
    plate, counter = AttributionPlate(folder / "maps.zarr"), itertools.count()
    pyramids = [maps, mean_of_four(maps), mean_of_four(mean_of_four(maps)), top, every_second(top), top[::4, ::4]]

    def ours() -> None:
        told = FieldMaps(maps, {"call": CHANNELS}, ("top", top), ngff.Space(), levels=3)
        plate.write_field(f"A/1/{next(counter)}", told)

    def plainly(arrays: list[NDArray[Any]]) -> None:
        root = zarr.create_group(folder / f"plain{next(counter)}")
        for number, array in enumerate(arrays):
            chunk = tuple(chunk_px(n) if n > len(CHANNELS) else 1 for n in array.shape)
            shard = tuple(-(-n // c) * c for n, c in zip(array.shape, chunk, strict=True))
            target = root.create_array(str(number), shape=array.shape, dtype=array.dtype, chunks=chunk, shards=shard, compressors=CODECS)
            target[...] = array

    same = paired_ratio(ours, lambda: plainly(pyramids), turns)
    return same, paired_ratio(ours, lambda: plainly(pyramids[:1]), turns)


def converting(folder: Path, fields: int, turns: int) -> tuple[float, float]:
    """Return the time of converting a TIFF plate over decoding its files and one sharded zarr write of each field.

    The write is once with zarr's own compression and once with ours.
    """
    rng = np.random.default_rng(2)
    root, counter = folder / "tiffs", itertools.count()
    root.mkdir()
    pixels = scene(rng)
    for number in range(fields):
        for channel in (1, 2):
            name = f"p_{'ABCDEFGH'[number // 12]}{number % 12 + 1:02d}_s1_w{channel}.TIF"
            tifffile.imwrite(root / name, np.roll(pixels[channel - 1], number), compression="zlib")
    source = Source(str(root), format="imagexpress")

    def ours() -> None:
        place = folder / f"converted{next(counter)}"
        with log_to(folder / "log"):
            convert_plate(
                plate="p", source=source, store=place / "plate.zarr", table=str(place / "t.parquet"), levels=3,
                workers=WORKERS, revision=1,
            )  # fmt: skip

    def plainly(**codecs: Any) -> None:
        group = zarr.create_group(folder / f"plain{next(counter)}")

        def one(number: int) -> None:
            well = f"{'ABCDEFGH'[number // 12]}{number % 12 + 1:02d}"
            stack = np.stack([tifffile.imread(root / f"p_{well}_s1_w{channel}.TIF") for channel in (1, 2)])
            chunk = (1, chunk_px(SIDE), chunk_px(SIDE))
            target = group.create_array(str(number), shape=stack.shape, dtype=stack.dtype, chunks=chunk, shards=stack.shape, **codecs)
            target[...] = stack

        in_threads(one, range(fields))

    return paired_ratio(ours, plainly, turns), paired_ratio(ours, lambda: plainly(compressors=CODECS), turns)


def peak_bytes(folder: Path) -> float:
    """Return the peak memory of a process that ingests the plate of a folder."""
    code = (
        "import runpy, sys; sys.path.insert(0, 'benchmarks'); from pathlib import Path;"
        "folder = Path(sys.argv[1]); runpy.run_path('benchmarks/io.py')['ingest'](folder, folder / 'plate.zarr');"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main(*, quick: bool, write: bool) -> None:
    """Measure; the quick form has a plate of 200 MB and fewer turns."""
    turns = 1 if quick else 3
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place) / "small", Path(place) / "large"
        small.mkdir(), large.mkdir()
        write_plate(small, 0.02 if quick else 0.2)
        plate, paths = write_plate(large, 0.2 if quick else 2.0)
        views = tiles_of(paths)
        written = FIELD_BYTES * len(paths) / 1e9
        checked = paired_ratio(lambda: ingest(large, plate), lambda: read_plainly(plate, paths), turns)
        fed = paired_ratio(lambda: read_plainly(plate, paths), lambda: load(plate, views), turns)
        memory = peak_bytes(large) / peak_bytes(small)
        same, alone = map_writing(large, 9 if quick else 21)
        converted, alike = converting(large, 8 if quick else 48, 3 if quick else 5)
    size = f"{written:.1f} GB, {len(paths)} fields"
    rows = [
        Row(f"ingest and check / zarr alone, {size}: time", checked, "x", 1.25, "lower"),
        Row(f"views loaded / plain threaded zarr, {size}: rate", fed, "x", 0.9, "higher"),
        Row(f"peak memory of ingest, {size} / a tenth of it", memory, "x", 1.2, "lower"),
        Row("writing a field of maps / plain sharded writes of the same arrays: time", same, "x", 1.25, "lower"),
        Row("writing a field of maps / a plain write of its level 0 alone: time", alone, "x", None, "lower"),
        Row("converting a TIFF plate / decoding and one zarr write: time", converted, "x", 1.3, "lower"),
        Row("converting a TIFF plate / the same with our compression: time", alike, "x", None, "lower"),
    ]
    report("io", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
