"""Sources: plates of every writer go in as they are, or are refused where they are wrong."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted_campaign import CHANNELS, spot_field, write_plate
from s3_server import put_in_a_bucket

from pcim import open_plate
from pcim.core.identity import well_name
from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.plates.inventory import survey_plate
from pcim.plates.ngff_json import MAX_JSON_BYTES

SUITES = Path(__file__).parents[2] / "data" / "ngff"
CASES = [
    pytest.param(version, kind, case, id=f"{version} {case['formerly']}")
    for version in ("0.4", "0.5")
    for kind in ("plate", "well")
    for case in json.loads((SUITES / f"{version}_{kind}_suite.json").read_text())["tests"]
]
GOOD = spot_field(np.random.default_rng(3), (40, 52), (20, 30))


def test_the_specification_has_this_many_cases() -> None:
    assert len(CASES) == 31 + 6 + 31 + 5


@pytest.mark.parametrize(("version", "kind", "case"), CASES)
def test_plates_and_wells_are_accepted_or_refused_as_the_specification_says(
    version: str, kind: str, case: dict[str, Any], tmp_path: Path
) -> None:
    content = case["data"] if version == "0.4" else {"zarr_format": 3, "node_type": "group", "attributes": case["data"]}
    (tmp_path / (".zattrs" if version == "0.4" else "zarr.json")).write_text(json.dumps(content))

    def read() -> None:
        if kind == "plate":
            ngff.read_plate(tmp_path)
        else:
            ngff.read_well(tmp_path, ngff.WellLayout("A", "1", "."), 0)

    if case["valid"]:
        read()
    else:
        with pytest.raises(ngff.NgffError):
            read()


def source_of(path: Path, **choices: Any) -> Source:
    return Source(str(path), **choices)


def stack_plate(path: Path, axes: str, pixels: np.ndarray, version: str = "0.4") -> Path:
    """Write a plate of one field whose array has other axes."""
    write_plate(path, {("A", "1", "0"): GOOD}, version=version)
    image = path / "A/1/0"
    zarr.create_array(image / "0", data=pixels, zarr_format=2 if version == "0.4" else 3, overwrite=True)
    file = image / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(file.read_text())
    ome = content if version == "0.4" else content["attributes"]["ome"]
    ome["multiscales"][0]["axes"] = [{"name": axis} for axis in axes]
    ome["multiscales"][0]["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [1.0] * len(axes)}]
    file.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_depth_and_time_are_used_as_declared_never_guessed(tmp_path: Path, version: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 900, (3, 2, 4, 8, 9)).astype(">u2")
    plate = stack_plate(tmp_path / "p.zarr", "tczyx", pixels, version)
    read = lambda **how: FieldImage.open(source_of(plate, **how), "A/1/0").read()  # noqa: E731
    np.testing.assert_array_equal(read(t="1", z="max"), pixels[1].max(1))
    np.testing.assert_array_equal(read(t="2", z="3"), pixels[2][:, 3])
    np.testing.assert_array_equal(read(t="0", z="mean"), np.rint(pixels[0].mean(1)))
    assert read(t="0", z="max").dtype == np.uint16
    for how, words in (
        (
            {"t": "1"},
            "axis z has 4 planes and column 'z' of the table of plates is ''; expected a number below 4 or one of",
        ),
        ({"z": "max"}, "axis t has 3 planes"),
        ({"t": "3", "z": "0"}, "is '3'; expected a number below 3"),
    ):
        with pytest.raises(ngff.NgffError, match=words):
            read(**how)
        with pytest.raises(ngff.NgffError, match=words):
            survey_plate(source_of(plate, **how))


@pytest.mark.parametrize(("z", "plane"), [("max", 2), ("mean", 2), ("1", 1)])
def test_a_label_follows_the_stack_where_it_is_one_and_is_taken_as_it_is_where_it_is_flat(tmp_path: Path, z: str, plane: int) -> None:
    """Numbers of objects have no mean: the highest is taken there."""
    pixels = np.random.default_rng(0).integers(0, 900, (2, 3, 8, 9)).astype(np.uint16)
    label = np.stack([np.full((8, 9), number) for number in (3, 5, 7)]).astype(np.uint8)
    for name, stored in (("stack", label), ("flat", label[1:2])):
        plate = stack_plate(tmp_path / f"{name}.zarr", "czyx", pixels)
        shutil.copytree(stack_plate(tmp_path / f"{name}_label.zarr", "zyx", stored) / "A/1/0", plate / "A/1/0/labels/n")
        read = FieldImage.open(source_of(plate, z=z), "A/1/0").read_label("n")
        np.testing.assert_array_equal(read, label[plane if name == "stack" else 1])


def test_one_channel_of_many_is_read_alone_or_with_others(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 900, (2, 40, 52)).astype(np.uint16)
    apart = write_plate(tmp_path / "a.zarr", {("A", "1", "0"): pixels}, chunks=(1, 16, 16))
    together = write_plate(tmp_path / "t.zarr", {("A", "1", "0"): pixels}, chunks=(2, 16, 16))
    for plate in (apart, together):
        field = FieldImage.open(source_of(plate), "A/1/0")
        np.testing.assert_array_equal(field.read(["Reporter"]), pixels[1:])
        np.testing.assert_array_equal(field.read(["Reporter", "DNA"]), pixels[::-1])


def test_channels_without_labels_are_named_by_the_table_of_plates(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD}, channels=("", ""))
    assert survey_plate(source_of(plate)).channels == ("0", "1")
    named = source_of(plate, channels=("GFP", "DNA"))
    assert survey_plate(named).channels == ("GFP", "DNA")
    np.testing.assert_array_equal(FieldImage.open(named, "A/1/0").read(["DNA"]), GOOD[1:])


def test_several_acquisitions_want_one_to_be_named(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD, ("A", "1", "1"): GOOD}, version="0.4")
    well = plate / "A/1/.zattrs"
    well.write_text(well.read_text().replace('"path": "0"', '"path": "0", "acquisition": 3').replace(
        '"path": "1"', '"path": "1", "acquisition": 4'))  # fmt: skip
    with pytest.raises(ngff.NgffError, match=r"acquisitions \[3, 4\]; name one in the column 'acquisition'"):
        survey_plate(source_of(plate))
    assert survey_plate(source_of(plate, acquisition="4")).wells == {"A01": ("A/1", ("1",))}


def test_of_several_images_a_well_some_can_be_chosen(tmp_path: Path) -> None:
    fields = {(row, "1", name): GOOD for row in "AB" for name in ("0", "0_mip")}
    plate = write_plate(tmp_path / "p.zarr", fields)
    chosen = survey_plate(source_of(plate, fields=("0_mip",)))
    assert chosen.wells == {"A01": ("A/1", ("0_mip",)), "B01": ("B/1", ("0_mip",))}
    with pytest.raises(ngff.NgffError, match=r"no well has a field \['1'\]"):
        survey_plate(source_of(plate, fields=("1",)))


def test_a_path_out_of_the_plate_is_refused(tmp_path: Path) -> None:
    outside = write_plate(tmp_path / "other.zarr", {("A", "1", "0"): GOOD})
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD, ("A", "2", "0"): GOOD}, version="0.4")
    (plate / "A/1/0").rename(tmp_path / "gone")
    (plate / "A/1/0").symlink_to(outside / "A/1/0")
    with pytest.raises(ngff.NgffError, match="a link leads out of the plate"):
        FieldImage.open(source_of(plate), "A/1/0").read()
    well = plate / "A/2/.zattrs"
    for climbing in ("../../../other.zarr/A/1/0", "..", "a/b", "\\\\x", ".hidden"):
        well.write_text(json.dumps({"well": {"images": [{"path": climbing}]}}))
        with pytest.raises(ngff.NgffError, match="is not a plain name"):
            ngff.read_well(plate, ngff.WellLayout("A", "2", "A/2"))
    plate_file = plate / ".zattrs"
    plate_file.write_text(plate_file.read_text().replace('"A/2"', '"../p.zarr/A/2"'))
    with pytest.raises(ngff.NgffError, match=r"plate\.wells\.1\.path"):
        ngff.read_plate(plate)


def test_a_link_of_one_chunk_out_of_the_plate_is_found(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD}, chunks=(1, 40, 52))
    chunk = plate / "A/1/0/0/c/0/0/0"
    chunk.rename(tmp_path / "secret")
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(ngff.NgffError, match="a link leads out of the plate"):
        FieldImage.open(source_of(plate), "A/1/0").torn_chunks()


def test_a_plate_itself_may_be_a_link_with_any_name(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD}, labels={("A", "1", "0"): {"Label [ä] #1": GOOD[0]}})
    odd = tmp_path / "Plate #1 [x] {y} 日本 ö.zarr"
    odd.symlink_to(plate)
    assert survey_plate(source_of(odd)).labels == ("Label [ä] #1",)
    field = FieldImage.open(source_of(odd), "A/1/0")
    np.testing.assert_array_equal(field.read_label("Label [ä] #1"), GOOD[0])


@pytest.mark.parametrize("place", ["", "A/1/0", "A/1/0/0"])
def test_metadata_of_a_gigabyte_is_refused_before_it_is_read(tmp_path: Path, place: str) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD})
    with (plate / place / "zarr.json").open("r+b") as handle:
        handle.truncate(10**9)  # sparse: no disk is used
    with pytest.raises(ngff.NgffError, match=f"1,000,000,000 bytes; at most {MAX_JSON_BYTES:,} are read"):
        survey_plate(source_of(plate))
        FieldImage.open(source_of(plate), "A/1/0")  # the survey opens no array


@pytest.mark.parametrize(
    ("content", "words"),
    [("[" * 100_000, "not readable as JSON"), ("[]", "expected a JSON object"), ("\xff\xfe", "not readable as JSON")],
)
def test_metadata_that_is_no_metadata_is_refused(tmp_path: Path, content: str, words: str) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD})
    (plate / "zarr.json").write_text(content, encoding="latin-1")
    with pytest.raises(ngff.NgffError, match=words):
        survey_plate(source_of(plate))


def test_a_label_of_another_shape_and_a_label_of_reals_are_refused(tmp_path: Path) -> None:
    for number, label in enumerate((GOOD[0, :-1], GOOD[0].astype(np.float32))):
        plate = write_plate(tmp_path / f"{number}.zarr", {("A", "1", "0"): GOOD}, labels={("A", "1", "0"): {"n": label}})
        with pytest.raises(ngff.NgffError, match=r"expected integers of \(40, 52\)"):
            FieldImage.open(source_of(plate), "A/1/0").read_label("n")


def test_two_wells_with_one_name_are_refused(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD, ("A", "01", "0"): GOOD})
    with pytest.raises(ngff.NgffError, match="are both A01"):
        survey_plate(source_of(plate))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback that serves the folder."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_on_a_web_server_is_read_like_a_local_one(tmp_path: Path, served: str, version: str) -> None:
    labels = {("A", "1", "0"): {"cells": (GOOD[0] > 250).astype(np.uint8)}}
    local = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD, ("B", "3", "0"): GOOD}, labels=labels, version=version)
    assert_read_alike(source_of(local), Source(f"{served}/p.zarr"))
    xr.testing.assert_identical(open_plate(f"{served}/p.zarr").field("B03"), open_plate(local).field("B03"))


def test_a_plate_in_a_bucket_is_read_like_a_local_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): GOOD, ("B", "3", "0"): GOOD})
    assert_read_alike(source_of(local), Source(put_in_a_bucket(local, monkeypatch)))


def assert_read_alike(local: Source, remote: Source) -> None:
    here, there = survey_plate(local), survey_plate(remote)
    assert here == there
    for source in (local, remote):
        field = FieldImage.open(source, "A/1/0")
        np.testing.assert_array_equal(field.read(), GOOD)
        assert field.absent_chunks() == ([], 1)
        assert field.torn_chunks() == []
        for label in here.labels:
            np.testing.assert_array_equal(field.read_label(label), GOOD[0] > 250)
    with pytest.raises(ngff.NgffError):
        FieldImage.open(remote, "C/1/0")


PLACES = st.sets(
    st.tuples(
        st.sampled_from(["A", "C", "H", "Z", "AA", "AF"]),
        st.sampled_from(["1", "2", "7", "48"]),
        st.sampled_from("013"),
    ),
    min_size=1,
    max_size=6,
)


@given(places=PLACES, shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), version=st.sampled_from(["0.4", "0.5"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_comes_out_sits_where_it_came_from(
    tmp_path: Path, places: set[tuple[str, str, str]], shape: tuple[int, int], version: str
) -> None:
    """Holes, 1536-well names and asymmetric shapes: a field is found by its key, never by its position."""
    values = {key: np.full((2, *shape), number + 1, np.uint16) for number, key in enumerate(sorted(places))}
    plate = write_plate(tmp_path / "p.zarr", values, version=version)
    found = survey_plate(source_of(plate))
    assert found.wells.keys() == {well_name(row, column) for row, column, _ in places}
    assert found.shape == shape
    assert found.channels == CHANNELS
    seen = {}
    for well, (path, fields) in found.wells.items():
        for field in fields:
            pixels = FieldImage.open(source_of(plate), f"{path}/{field}").read()
            assert pixels.shape == (2, *shape)
            seen[well, field] = int(pixels[0, 0, 0])
    assert seen == {(well_name(r, c), f): int(v[0, 0, 0]) for (r, c, f), v in values.items()}


def test_a_broken_first_well_does_not_stop_the_plate(tmp_path: Path) -> None:
    fields = {("A", "1", "0"): GOOD, ("A", "2", "0"): GOOD, ("B", "1", "0"): GOOD}
    plate = write_plate(tmp_path / "p.zarr", fields)
    (plate / "A/1/zarr.json").write_text("{")
    (plate / "A/2/0/zarr.json").write_text("{")
    found = survey_plate(source_of(plate))
    assert (found.shape, found.wells["A01"]) == ((40, 52), ("A/1", ("0",)))
    for well in ("A/2", "B/1"):
        (plate / well / "zarr.json").write_text("{")
    with pytest.raises(ngff.NgffError, match=r"A/1/zarr\.json: not readable as JSON"):
        survey_plate(source_of(plate))
