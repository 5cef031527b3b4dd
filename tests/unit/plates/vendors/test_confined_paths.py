"""Names from files stay names: nothing outside is read or written, no claim becomes memory, files have the user's own rights."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import vendor_exports
from planted_campaign import spot_field, write_plate

from pcim.campaign.input_tables import read_plates
from pcim.config.base import is_name
from pcim.config.config import Config
from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.vendors import read_export
from pcim.plates.vendors.decode import page_looks, read_page
from pcim.plates.vendors.export import elements
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import lock_file, sole_writer
from pcim.runtime.tables import write_table
from pcim.stages.attribute.spool import Spool
from pcim.stages.convert import convert_plate

GOOD = spot_field(np.random.default_rng(3), (40, 52), (20, 30))
CLIMBING = ["../../../out", "..", "a/b", "/out", "\\\\host\\x", ".hidden", "x\0y", "x" * 129, "\x1b[2J"]


@pytest.mark.parametrize("name", CLIMBING)
def test_a_field_of_an_export_is_a_plain_name_and_nothing_is_written_beside_the_plate(tmp_path: Path, name: str) -> None:
    root = vendor_exports.tiles(tmp_path / "in")
    table = root / "tiles.csv"
    table.write_text(table.read_text(encoding="utf-8-sig").replace(",x,", f",{name},"))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ngff.NgffError, match="is not a plain name"):
        convert_plate(
            plate="p", source=Source(str(root), format="tiles", z="0"), store=tmp_path / "r/a/b/plate.zarr",
            table=str(tmp_path / "r/t.parquet"),
            levels=1, workers=1, revision=1,
        )  # fmt: skip
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", [*CLIMBING, "-rf", "con", "NUL", "Com1", "", "ä", "a b", "a;b", "$(x)", "x" * 65])
def test_what_becomes_a_folder_is_a_short_plain_name(tmp_path: Path, name: str) -> None:
    faults: list[str] = []
    (tmp_path / "plates.tsv").write_text(f"plate\tpath\tplatemap\n{name}\tp.zarr\tm.csv\n")
    assert not read_plates(tmp_path / "plates.tsv", faults, platemaps=False)
    assert faults
    assert not is_name(name)
    for values in ({"campaign": name}, {"classifiers": {name: {"model": "m.yaml", "plates": ["p"]}}}):
        good: dict[str, Any] = {
            "campaign": "c",
            "plates": "p.tsv",
            "classifiers": {"m": {"model": "m.yaml", "plates": ["p"]}},
        }
        with pytest.raises(ValueError, match=r"validation error"):
            Config.model_validate(good | values)


def claimed(file: Path, **tags: int) -> Path:
    """Write a small TIFF file that claims other values of its tags."""
    tifffile.imwrite(file, GOOD[0], compression="zlib", rowsperstrip=40)
    content = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as opened:
        for name, value in tags.items():
            tag = opened.pages[0].tags[name]
            struct.pack_into("<HIi", content, tag.offset + 2, 4, 1, value)
    file.write_bytes(content)
    return file


def peak_of(call: Any) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("tags", "words"),
    [({"ImageWidth": 2**30, "ImageLength": 2**30}, "axis y is 1073741824 "
                                                   "long"), ({"ImageWidth": 10**6, "ImageLength": 10**6}, "bytes a plane are read")],
)  # fmt: skip
def test_a_tiff_that_claims_a_terabyte_is_refused_by_its_header(tmp_path: Path, tags: dict[str, int], words: str) -> None:
    file = claimed(tmp_path / "a.tif", **tags)
    for read in (page_looks, read_page):

        def refused(read: Any = read) -> None:
            with pytest.raises(ngff.NgffError, match=words):
                read(file, 0)

        assert peak_of(refused) < 5_000_000


def test_a_strip_that_inflates_beyond_its_image_takes_no_more_memory_than_the_image(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, GOOD[0], compression="zlib", rowsperstrip=40)
    bomb = zlib.compress(bytes(300_000_000))
    with tifffile.TiffFile(file) as opened:
        tags = opened.pages[0].tags
        places = {"StripOffsets": file.stat().st_size, "StripByteCounts": len(bomb)}
        content = bytearray(file.read_bytes())
        for name, value in places.items():
            struct.pack_into("<HIi", content, tags[name].offset + 2, 4, 1, value)
    file.write_bytes(bytes(content) + bomb)

    def read() -> None:
        with contextlib.suppress(ValueError, RuntimeError):  # the decoder may cut it or refuse it
            assert read_page(file, 0).shape == GOOD[0].shape

    assert peak_of(read) < 20_000_000


def test_a_png_that_claims_a_terabyte_is_refused_by_its_header(tmp_path: Path) -> None:
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 2**30, 2**30, 16, 0, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(99)),
        b"IEND": b"",
    }
    packed = (struct.pack(">I", len(told)) + name + told + struct.pack(">I", zlib.crc32(name + told)) for name, told in parts.items())
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    with pytest.raises(Exception, match=r"long; expected|exceeds limit"):  # ours or Pillow's own
        page_looks(tmp_path / "a.png", 0)


def test_an_index_is_read_in_memory_that_does_not_grow_with_it(tmp_path: Path) -> None:
    file = tmp_path / "i.xml"
    for count in (1_000, 100_000):
        many = '<c d="e">text</c>' * count
        file.write_text(f"<a><b>{many}</b><Image><URL>u</URL></Image></a>")
        assert peak_of(lambda: list(elements(file, "Image"))) < 3_000_000
    assert [told for _, told, _ in elements(file, "Image")] == [{"URL": "u"}]


@pytest.mark.parametrize(
    ("key", "listed"),
    [("wells", [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]), ("rows", [{"name": "A"}]), ("columns", [{"name": "1"}])],
)  # fmt: skip
def test_a_plate_of_a_hundred_thousand_wells_is_refused_before_its_wells_are_looked_at(tmp_path: Path, key: str, listed: list[Any]) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD}, version="0.4")
    told = json.loads((plate / ".zattrs").read_text())
    told["plate"][key] = listed * 100_000
    (plate / ".zattrs").write_text(json.dumps(told))
    with pytest.raises(ngff.NgffError, match=f"100000 {key}; at most"):
        ngff.read_plate(plate)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_have_the_rights_that_the_user_gives_and_none_is_a_program(tmp_path: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        with log_to(tmp_path / "logs/a.log"), sole_writer(tmp_path / "out/t.parquet"):
            write_table(pd.DataFrame({"a": [1]}), tmp_path / "out/t.parquet")
        spool = Spool(tmp_path / "out/t.parquet")
        spool.add("A/1/0", [])
        root = vendor_exports.tiles(tmp_path / "in")
        convert_plate(
            plate="p", source=Source(str(root), format="tiles", z="0"), store=tmp_path / "out/plate.zarr",
            table=str(tmp_path / "out/c.parquet"),
            levels=1, workers=1, revision=1,
        )  # fmt: skip
    finally:
        os.umask(old)
    assert lock_file(tmp_path / "out/t.parquet").exists()
    made = [path for folder in ("logs", "out") for path in (tmp_path / folder).rglob("*")]
    assert len(made) > 10
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & mask == 0, path
        assert path.is_dir() or not mode & 0o111, path


def test_what_an_index_claims_of_a_grid_is_held_to_what_plates_have(tmp_path: Path) -> None:
    root = vendor_exports.operetta(tmp_path / "in")
    index = root / "Images/Index.idx.xml"
    index.write_text(
        index.read_text(encoding="utf-8-sig").replace("<PlateColumns>24", "<PlateColumns>2000000000"),
        encoding="utf-8-sig",
    )
    with pytest.raises(ngff.NgffError, match="16 rows and 2000000000 columns; a plate has up to 702 and 999"):
        read_export(Source(str(root), format="operetta"))
