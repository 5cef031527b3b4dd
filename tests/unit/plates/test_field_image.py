"""Plates of maps: valid for the validators, readable by the readers, few files, no half-written field."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_zarr_models import v05
from planted_campaign import write_plate

from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate, FieldMaps
from pcim.plates.field_image import FieldImage

SHAPE = (41, 50)


def write(plate: AttributionPlate, field: str, maps: np.ndarray, **changes: Any) -> None:
    told: dict[str, Any] = {
        "layers": {"call": [f"pcim {n}" for n in range(len(maps))]},
        "beside": {"weights": maps[:1]},
        "label": ("top", (maps[0] > 0.5).astype(np.uint8)),
        "levels": 3,
        "dtype": "float32",
        "space": ngff.Space((0.5, 0.5), unit="micrometer"),
        "provenance": {"fingerprints": {"0_0": "abc"}},
    }
    plate.write_field(field, FieldMaps(maps, **(told | changes)))


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)


@pytest.fixture
def finished(tmp_path: Path, maps: np.ndarray) -> AttributionPlate:
    """A plate of maps of a source plate with a hole, three fields in two of its wells."""
    fields = {
        (r, c, f): np.zeros((2, *SHAPE), np.uint16) for r, c, f in [("A", "1", "0"), ("A", "1", "1"), ("B", "3", "0"), ("B", "2", "0")]
    }
    source = write_plate(tmp_path / "source.zarr", fields)
    plate = AttributionPlate(tmp_path / "source_pcim.zarr")
    for field in ("A/1/0", "A/1/1"):
        write(plate, field, maps)
    two_layers = {"call": ["pcim all channels"], "dead": ["pcim dead all channels"]}
    high = (maps > 0.5).astype(np.uint8)
    write(plate, "B/3/0", maps, layers=two_layers, beside={"weights": maps}, label=("top", high[0] | high[1] << 1))
    plate.finish(ngff.read_plate(source), {"A/1": ["0", "1"], "B/3": ["0"]}, "source_pcim")
    return plate


def groups(path: Path) -> list[Path]:
    return sorted(file.parent for file in path.rglob("zarr.json") if '"group"' in file.read_text())


def test_every_group_is_valid(finished: AttributionPlate) -> None:
    seen = set()
    v05.HCS.from_zarr(zarr.open_group(finished.path, mode="r"))
    for path in groups(finished.path):
        group = zarr.open_group(path, mode="r")
        ome = group.attrs.asdict().get("ome")
        if ome is None:
            continue
        kind = next(k for k in ("plate", "well", "labels", "image-label", "multiscales") if k in ome)
        model = {
            "plate": v05.HCS,
            "well": v05.Well,
            "labels": v05.Labels,
            "image-label": v05.ImageLabel,
            "multiscales": v05.Image,
        }
        model[kind].from_zarr(group)  # type: ignore[attr-defined]
        seen.add(kind)
    assert seen == {"plate", "well", "labels", "image-label", "multiscales"}


def test_a_field_has_at_most_sixteen_files_and_eight_more_for_each_array_beside(tmp_path: Path, maps: np.ndarray) -> None:
    plate = AttributionPlate(tmp_path / "p.zarr")
    write(plate, "A/1/0", maps, beside={})
    assert len([f for f in (plate.path / "A/1/0").rglob("*") if f.is_file()]) <= 16
    write(plate, "A/1/0", maps)
    assert len([f for f in (plate.path / "A/1/0").rglob("*") if f.is_file()]) <= 24


def test_ome_zarr_reads_the_plate(finished: AttributionPlate) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(finished.path)
    assert location is not None
    nodes = list(Reader(location)())
    assert nodes
    stitched = nodes[0].data[0]
    assert stitched.shape == (2, 2 * SHAPE[0], 3 * SHAPE[1])  # the grid keeps the hole's place


def test_napari_reads_the_plate_without_a_window(finished: AttributionPlate) -> None:
    reader = pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed").napari_get_reader(str(finished.path))
    layers = reader(str(finished.path))
    assert layers
    assert all(np.isfinite(np.asarray(layer[0][0] if isinstance(layer[0], list) else layer[0])).any() for layer in layers)


def test_maps_come_back_as_they_went_in(finished: AttributionPlate, maps: np.ndarray) -> None:
    np.testing.assert_array_equal(finished.read("A/1/1"), maps)
    np.testing.assert_array_equal(finished.read("A/1/1", "weights"), maps[:1])


def test_half_precision_halves_the_bytes(tmp_path: Path, maps: np.ndarray) -> None:
    plate = AttributionPlate(tmp_path / "p.zarr")
    write(plate, "A/1/0", maps, dtype="float16")
    assert zarr.open_array(plate.path / "A/1/0/0", mode="r").dtype == np.float16
    np.testing.assert_allclose(plate.read("A/1/0"), maps, atol=1e-3)


def test_coarser_levels_are_means_that_leave_out_what_is_not_explained(tmp_path: Path, maps: np.ndarray) -> None:
    maps[:, :, 25:] = np.nan
    plate = AttributionPlate(tmp_path / "p.zarr")
    write(plate, "A/1/0", maps)
    coarse = zarr.open_array(plate.path / "A/1/0/1", mode="r")[:]
    assert coarse.shape == (2, 21, 25)
    np.testing.assert_allclose(coarse[0, 0, 0], maps[0, :2, :2].mean(), rtol=1e-6)
    np.testing.assert_allclose(coarse[0, 20, 12], maps[0, 40, 24], rtol=1e-6)
    assert np.isnan(coarse[:, :, 13:]).all()


def test_a_field_is_replaced_in_one_step_and_debris_of_a_kill_is_no_field(tmp_path: Path, maps: np.ndarray) -> None:
    plate = AttributionPlate(tmp_path / "p.zarr")
    debris = plate.path / ".partial-A-1-0" / "junk"
    debris.mkdir(parents=True)
    write(plate, "A/1/0", maps)
    write(plate, "A/1/0", 2 * maps)
    np.testing.assert_array_equal(plate.read("A/1/0"), 2 * maps)
    assert sorted(path.name for path in plate.path.iterdir()) == ["A"]


def test_channels_are_found_by_label_not_by_position(tmp_path: Path) -> None:
    pixels = np.stack([np.full(SHAPE, 1, np.uint16), np.full(SHAPE, 2, np.uint16)])
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): pixels}, channels=("GFP", "DNA"))
    field = FieldImage.open(Source(str(plate)), "A/1/0")
    assert field.read(["DNA", "GFP"])[:, 0, 0].tolist() == [2, 1]
    with pytest.raises(ngff.NgffError, match=r"channels \['Actin'\] are not there just once; there are \['GFP', 'DNA'\]"):
        field.read(["Actin"])


def test_a_long_time_axis_is_refused_not_guessed(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "p.zarr", {("A", "1", "0"): np.zeros((2, *SHAPE), np.uint16)}, version="0.4")
    attributes = plate / "A/1/0/.zattrs"
    attributes.write_text(attributes.read_text().replace('"name": "c"', '"name": "t"'))
    with pytest.raises(
        ngff.NgffError,
        match="axis t has 2 planes and column 't' of the table of plates is ''; expected a number below 2",
    ):
        FieldImage.open(Source(str(plate)), "A/1/0")


@given(
    places=st.sets(
        st.tuples(
            st.sampled_from(["A", "C", "P", "AF"]),
            st.sampled_from(["1", "02", "48"]),
            st.sampled_from(["0", "3", "0_mip"]),
        ),
        min_size=1,
        max_size=6,
    ),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(["float16", "float32"]),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_map_sits_where_its_field_sat(tmp_path: Path, places: set[tuple[str, str, str]], shape: tuple[int, int], dtype: str) -> None:
    """Holes, asymmetric shapes, other names: the plate of maps has the rows, columns and wells of its source."""
    numbered = {key: number + 1 for number, key in enumerate(sorted(places))}
    source = write_plate(tmp_path / "s.zarr", {key: np.full((1, *shape), n, np.uint16) for key, n in numbered.items()})
    shutil.rmtree(tmp_path / "m.zarr", ignore_errors=True)
    plate, wells = AttributionPlate(tmp_path / "m.zarr"), dict[str, list[str]]()
    for (row, column, field), n in numbered.items():
        wells.setdefault(f"{row}/{column}", []).append(field)
        maps = np.full((1, *shape), n, np.float32)
        write(plate, f"{row}/{column}/{field}", maps, label=("top", maps[0].astype(np.uint8)), dtype=dtype)
    layout = ngff.read_plate(source)
    plate.finish(layout, wells, "m")
    v05.HCS.from_zarr(zarr.open_group(plate.path, mode="r"))
    made = ngff.read_plate(plate.path)
    assert (made.rows, made.columns) == (layout.rows, layout.columns)
    found = {}
    for well in made.wells:
        for name in ngff.read_well(plate.path, well):
            group = zarr.open_group(plate.path / well.path / name, mode="r")
            told: Any = group.attrs["pcim"]
            pixels = np.asarray(zarr.open_array(plate.path / well.path / name / "0", mode="r"))
            assert pixels.shape == (1, *shape)
            assert (pixels == pixels.flat[0]).all()
            found[told["source_field"]] = int(pixels.flat[0])
    assert found == {"/".join(key): n for key, n in numbered.items()}


def test_half_precision_does_not_overflow_and_keeps_what_is_not_explained(tmp_path: Path, maps: np.ndarray) -> None:
    maps[0, 0, 0], maps[0, 0, 1] = 1e6, np.nan
    plate = AttributionPlate(tmp_path / "p.zarr")
    write(plate, "A/1/0", maps, dtype="float16")
    stored = plate.read("A/1/0")
    assert stored[0, 0, 0] == 65504
    assert np.isnan(stored[0, 0, 1])


def test_a_map_lies_in_space_where_its_image_lies(tmp_path: Path, maps: np.ndarray) -> None:
    space = ngff.Space((0.65, 0.325), (1200.5, -30.0), "micrometer")
    plate = AttributionPlate(tmp_path / "p.zarr")
    write(plate, "A/1/0", maps, space=space)
    assert ngff.read_image(plate.path / "A/1/0").space == space
    assert ngff.read_image(plate.path / "A/1/0/labels/top").space == space
    assert space.pixel_size_um == (0.65, 0.325)
    assert ngff.Space((650.0, 325.0), unit="nanometer").pixel_size_um == (0.65, 0.325)
    assert ngff.Space((1.0, 1.0)).pixel_size_um is None
