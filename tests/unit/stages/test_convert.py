"""Vendor exports become OME-Zarr plates: every plane in its place, broken files as rows with a reason, resumable, valid."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import vendor_exports
import zarr
from ome_zarr_models import v05
from PIL import Image
from vendor_exports import image

from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.plates.inventory import survey_plate
from pcim.plates.vendors import FORMATS, read_export
from pcim.plates.vendors.decode import page_looks, read_page
from pcim.plates.vendors.export import Export, Plane
from pcim.plates.vendors.failed_files import failed_files
from pcim.stages.convert import convert_plate


def convert(source: Source, folder: Path, **changes: Any) -> pd.DataFrame:
    told: dict[str, Any] = {"plate": "p", "levels": 2, "workers": 2, "revision": 1} | changes
    table = folder / "conversion.parquet"
    convert_plate(source=source, store=folder / "plate.zarr", table=str(table), **told)
    return pd.read_parquet(table).set_index(["well", "field"])


def read(folder: Path, field: str) -> np.ndarray:
    return FieldImage.open(Source(str(folder / "plate.zarr")), field).read()


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()}


EXPECTED = {
    "imagexpress": ({}, ["DAPI", "FITC", "Texas Red"], "B/3/2", lambda c: image(3, 2, c + 1, 0), (8, 12), None),
    "operetta": ({}, ["Alexa 488", "HOECHST 33342"], "E/11/2", lambda c: image(5, 11, 2, c + 1), (16, 24), (0.5, 0.65)),
    "cellvoyager": ({"z": "2"}, ["C01", "C02"], "E/3/4", lambda c: image(3, 4, c + 1, 3), (8, 12), (0.325, 0.325)),
    "tiles": ({"z": "1"}, ["DNA", "GFP"], "P/24/x", lambda c: image(24, c, 1), (2, 2), (0.65, 0.65)),
    "ometiff": ({}, ["DNA", "GFP"], "C/5/0", lambda c: image(2, 4, c), (8, 12), (0.5, 0.65)),
}


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_every_plane_of_an_export_comes_out_where_it_belongs(tmp_path: Path, kind: str) -> None:
    choices, channels, field, expected, grid, size = EXPECTED[kind]
    root = getattr(vendor_exports, kind)(tmp_path / "export [1] #ü")
    before = tree(root)
    source = Source(str(root), format=kind, **choices)
    survey = survey_plate(source)
    table = convert(source, tmp_path)
    assert set(table["status"]) == {"ok"}
    assert list(survey.channels) == channels
    assert (survey.shape, survey.dtype) == (vendor_exports.SHAPE, "uint16")
    np.testing.assert_allclose(read(tmp_path, field), np.stack([expected(c) for c in range(len(channels))]))
    plate = Source(str(tmp_path / "plate.zarr"))
    layout = ngff.read_plate(plate.place)
    assert (len(layout.rows), len(layout.columns)) == grid
    converted = survey_plate(plate)
    assert (converted.wells, converted.channels) == (survey.wells, survey.channels)
    opened = FieldImage.open(plate, field)
    assert opened.layout.space.pixel_size_um == size
    assert opened.checksum == "crc32c"
    assert opened.is_complete_by_rule
    v05.HCS.from_zarr(zarr.open_group(plate.address, mode="r"))
    assert tree(root) == before  # not a byte, not a time stamp


@pytest.mark.parametrize(("z", "expected"), [("max", np.max), ("mean", lambda p, axis: np.rint(np.mean(p, axis)))])
def test_depths_are_projected_as_declared(tmp_path: Path, z: str, expected: Any) -> None:
    convert(Source(str(vendor_exports.cellvoyager(tmp_path / "x")), format="cellvoyager", z=z), tmp_path)
    stack = np.stack([image(8, 2, 1, depth) for depth in (1, 2, 3, 4)])
    np.testing.assert_array_equal(read(tmp_path, "D/8/2")[0], expected(stack, axis=0))


def test_a_stack_without_a_declared_depth_is_refused_before_any_work(tmp_path: Path) -> None:
    source = Source(str(vendor_exports.cellvoyager(tmp_path / "x")), format="cellvoyager")
    with pytest.raises(ngff.NgffError, match=r"4 depths .* name one, max or mean in the column 'z'"):
        survey_plate(source)


def test_harmony_6_keeps_names_in_its_maps(tmp_path: Path) -> None:
    export = read_export(Source(str(vendor_exports.operetta(tmp_path / "x", version=6)), format="operetta"))
    assert export.channels == ["Alexa 488", "HOECHST 33342"]
    assert export.pixel_size_um == (0.5, 0.65)


def test_an_image_without_its_pixel_size_is_passed_over_for_the_next(tmp_path: Path) -> None:
    """MetaXpress says the unit and not the size where a plane was never calibrated."""
    sizes = ("", '<prop id="spatial-calibration-x" value="many"/>',
             '<prop id="spatial-calibration-x" value="0.65"/><prop id="spatial-calibration-y" value="0.5"/>')  # fmt: skip
    for site, size in enumerate(sizes, 1):
        told = f'<MetaData><PlaneInfo><prop id="spatial-calibration-units" value="um"/>{size}</PlaneInfo></MetaData>'
        file = tmp_path / f"A01_s{site}_w1.tif"
        tifffile.imwrite(file, np.zeros((8, 8), np.uint16), description=told, software="MetaSeries", metadata=None)
    assert read_export(Source(str(tmp_path), format="imagexpress")).pixel_size_um == (0.5, 0.65)


def test_channels_of_the_table_of_plates_name_an_exports(tmp_path: Path) -> None:
    root = str(vendor_exports.cellvoyager(tmp_path / "x"))
    assert read_export(Source(root, format="cellvoyager", channels=("DNA", "GFP"))).channels == ["DNA", "GFP"]
    with pytest.raises(ngff.NgffError, match=r"channels \['DNA'\] for the 2 channels \['C01', 'C02'\]"):
        read_export(Source(root, format="cellvoyager", channels=("DNA",)))


def test_broken_files_are_rows_with_a_reason_and_the_plate_goes_on(tmp_path: Path) -> None:
    root = vendor_exports.imagexpress(tmp_path / "x")
    folder = root / "TimePoint_1/ZStep_0"
    (folder / "9987_B02_s1_w1.TIF").write_bytes(b"")
    vendor_exports.write(folder / "9987_B02_s2_w2.TIF", image(1)[:6])
    whole = (folder / "9987_B03_s1_w3.TIF").read_bytes()
    (folder / "9987_B03_s1_w3.TIF").write_bytes(whole[: len(whole) // 2])
    source = Source(str(root), format="imagexpress")
    reasons = convert(source, tmp_path)["reason"].to_dict()
    assert reasons["B02", "1"] == "TimePoint_1/ZStep_0/9987_B02_s1_w1.TIF: an empty file"
    assert reasons["B02", "2"].endswith("w2.TIF: uint16 of (6, 17); the plate's images are uint16 of (12, 17)")
    assert "9987_B03_s1_w3.TIF: cannot be decoded" in reasons["B03", "1"]
    assert reasons["B03", "2"] == ""
    assert survey_plate(Source(str(tmp_path / "plate.zarr"))).wells == {"B03": ("B/3", ("2",))}


def test_a_plane_that_is_missing_in_one_field_is_that_fields_fault(tmp_path: Path) -> None:
    root = vendor_exports.imagexpress(tmp_path / "x")
    for depth in (0, 1, 2):
        (root / f"TimePoint_1/ZStep_{depth}/9987_B02_s1_w3.TIF").unlink()
    reasons = convert(Source(str(root), format="imagexpress"), tmp_path)["reason"].to_dict()
    assert reasons.pop(("B02", "1")) == "channel 'Texas Red' has no image"
    assert set(reasons.values()) == {""}


def test_a_second_run_writes_nothing_and_a_changed_file_its_field_alone(tmp_path: Path) -> None:
    root = vendor_exports.imagexpress(tmp_path / "x")
    source = Source(str(root), format="imagexpress")
    convert(source, tmp_path)
    first = tree(tmp_path / "plate.zarr/B")
    convert(source, tmp_path)
    assert {k: v for k, v in tree(tmp_path / "plate.zarr/B").items() if k.count("/") > 2} == {
        k: v for k, v in first.items() if k.count("/") > 2
    }
    vendor_exports.write(root / "TimePoint_1/ZStep_0/9987_B03_s2_w1.TIF", image(7))
    convert(source, tmp_path)
    again = tree(tmp_path / "plate.zarr/B")
    changed = {name.split("/")[:2][0] + "/" + name.split("/")[1] for name in again if again[name][1] != first[name][1]}
    assert changed == {"3/2"}
    np.testing.assert_array_equal(read(tmp_path, "B/3/2")[0], image(7))


def test_files_of_failed_fields_that_were_mended_are_told_and_no_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`failed_files` is the job's param: it changes when, and only when, a failed field's file does."""
    caplog.set_level("INFO", logger="pcim")
    root = vendor_exports.imagexpress(tmp_path / "x")
    table, source = tmp_path / "conversion.parquet", Source(str(root), format="imagexpress")
    file = root / "TimePoint_1/ZStep_0/9987_B02_s1_w1.TIF"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    before = failed_files(table)
    assert before == "", "nothing was converted yet"
    assert convert(source, tmp_path, failed=before)["status"].value_counts().to_dict() == {"ok": 3, "failed": 1}
    assert "p: B/2/1: TimePoint_1/ZStep_0/9987_B02_s1_w1.TIF: cannot be decoded" in caplog.text
    assert failed_files(table) == before
    (root / "TimePoint_1/ZStep_0/9987_B03_s1_w1.TIF").touch()
    assert failed_files(table) == before, "a field that is fine"
    file.unlink()
    gone = failed_files(table)
    assert gone != before
    file.write_bytes(whole)
    mended = failed_files(table)
    assert len({before, gone, mended}) == 3
    assert set(convert(source, tmp_path, failed=mended)["status"]) == {"ok"}
    assert failed_files(table) == mended, "what the last job was told, so that nothing is to be done"
    file.touch()
    assert failed_files(table) == mended


@pytest.mark.parametrize("kind", ["operetta", "cellvoyager"])
def test_a_bomb_in_an_index_is_refused(tmp_path: Path, kind: str) -> None:
    root = getattr(vendor_exports, kind)(tmp_path / "x")
    index = next(path for path in root.rglob("*") if path.suffix in {".xml", ".mlf"})
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    index.write_text(f'<?xml version="1.0"?><!DOCTYPE x [{entities}]><Images><Image>&l9;</Image></Images>')
    with pytest.raises(ngff.NgffError, match=r"not readable as XML: (DTDForbidden|EntitiesForbidden)"):
        read_export(Source(str(root), format=kind))


def test_an_index_that_names_files_outside_the_export_is_refused(tmp_path: Path) -> None:
    root = vendor_exports.operetta(tmp_path / "x")
    index = root / "Images/Index.idx.xml"
    index.write_text(index.read_text("utf-8-sig").replace("r02c03f01p01", "../../../r02c03f01p01"))
    with pytest.raises(ngff.NgffError, match="lies outside the export"):
        read_export(Source(str(root), format="operetta"))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "file_path,well,start_c",
            r"columns \['row', 'column'\] are missing; .*column 'well' .*call it row and column",
        ),
        ("file_path,row,column,Channel", "column 'Channel' has no meaning here: call it start_c"),
        ("file_path,row,column,strat_c", r"column 'strat_c' has no meaning here \(did you mean 'start_c'\?\)"),
        ("File Path,row,column", "call it file_path"),
    ],
)
def test_columns_of_tiles_that_mean_others_are_refused_by_their_right_names(tmp_path: Path, header: str, told: str) -> None:
    (tmp_path / "tiles.csv").write_text(f"{header}\n")
    with pytest.raises(ngff.NgffError, match=told):
        read_export(Source(str(tmp_path), format="tiles"))


def test_attributes_of_wells_stand_in_tiles_as_its_standard_allows(tmp_path: Path) -> None:
    vendor_exports.tiles(tmp_path)
    table = tmp_path / "tiles.csv"
    table.write_text(table.read_text("utf-8-sig").replace("_z\n", "_z,drug,time,channel\n").replace("0,3\n", "0,3,DMSO,24,1\n"))
    assert read_export(Source(str(tmp_path), format="tiles", z="0")).own_labels == ["DNA", "GFP"]


def test_two_files_of_one_plane_are_no_depths(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        vendor_exports.write(tmp_path / name, image(1))
    (tmp_path / "tiles.csv").write_text("file_path,row,column\na.tif,A,1\nb.tif,A,1\n")
    with pytest.raises(ngff.NgffError, match=r"channel 'C00' has two images of one plane: a\.tif, b\.tif"):
        survey_plate(Source(str(tmp_path), format="tiles"))
    read_export.cache_clear()
    (tmp_path / "tiles.csv").write_text("file_path,row,column,start_c\na.tif,A,1,DNA\n")
    with pytest.raises(ngff.NgffError, match="start_c: could not convert string to float: 'DNA'; it counts from 0"):
        survey_plate(Source(str(tmp_path), format="tiles"))


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_a_folder_without_an_index_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ngff.NgffError, match=str(tmp_path)):
        read_export(Source(str(tmp_path), format=kind))


FULL = """
import resource, signal, sys
from pcim.stages.convert import convert_plate
from pcim.core.plate_source import Source
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
convert_plate(plate="p", source=Source(sys.argv[1], format="imagexpress"), store=__import__("pathlib").Path(sys.argv[2]) / "plate.zarr",
    table=sys.argv[2] + "/conversion.parquet", levels=2, workers=1, revision=1)
"""


def test_a_disk_that_is_full_ends_the_job_and_leaves_no_half_field(tmp_path: Path) -> None:
    root = vendor_exports.imagexpress(tmp_path / "x")
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(root), str(tmp_path)]
    ended = subprocess.run([*command, "700"], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "File too large" in ended.stderr
    assert not (tmp_path / "conversion.parquet").exists()
    assert not list((tmp_path / "plate.zarr").glob("B/*/*"))
    subprocess.run([*command, str(resource.RLIM_INFINITY)], capture_output=True, check=True)
    assert set(pd.read_parquet(tmp_path / "conversion.parquet")["status"]) == {"ok"}


def test_pages_are_read_from_png_files_too(tmp_path: Path) -> None:
    Image.fromarray(image(3)).save(tmp_path / "x.png")
    assert page_looks(tmp_path / "x.png", 0) == (vendor_exports.SHAPE, "uint16")
    np.testing.assert_array_equal(read_page(tmp_path / "x.png", 0), image(3))


def test_choosing_planes_takes_time_in_proportion_to_the_plate() -> None:
    def seconds(wells: int) -> float:
        fields = {("A", str(n), "1"): [Plane(f"{n}_{c}.tif", 0, c) for c in (1, 2)] for n in range(1, wells + 1)}
        export = Export(Source("x", format="imagexpress"), Path(), "", fields, {})
        start = time.perf_counter()
        assert all(len(export.planes_of(key)) == 2 for key in fields)
        return time.perf_counter() - start

    seconds(100)
    assert seconds(4000) < 4000 / 200 * 8 * max(seconds(200), 1e-3)
