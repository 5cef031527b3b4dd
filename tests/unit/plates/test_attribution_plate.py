"""Plates from Python: what is opened is what the workflow reads, nothing earlier than asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import dask
import numpy as np
import pytest
import vendor_exports
import xarray as xr
from chunk_jobs import SETTINGS, Chunk
from planted_campaign import write_plate

from pcim import open_plate
from pcim.core.plate_source import Source
from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.field_image import FieldImage

PIXELS = np.arange(2 * 12 * 17, dtype=np.uint16).reshape(2, 12, 17)


@pytest.fixture(params=["0.4", "0.5"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    fields = {("A", "1", "0"): PIXELS, ("A", "1", "1"): PIXELS + 1, ("B", "12", "0"): PIXELS + 2}
    labels = {key: {"cells": (PIXELS[0] % 3).astype(np.uint8)} for key in fields}
    return write_plate(tmp_path / "p.zarr", fields, labels=labels, version=request.param)


def test_a_plate_says_what_it_holds_and_gives_its_pixels_with_their_names_and_places(store: Path) -> None:
    plate = open_plate(store)
    assert repr(plate) == "<Plate p: 2 wells, 3 fields, channels ['DNA', 'Reporter'], labels ['cells']>"
    assert (plate.wells, plate.fields("a1"), plate.pixel_size_um) == (["A01", "B12"], ["0", "1"], 0.5)
    field = plate.field("A1", "1")
    assert (field.dims, field.dtype, field.attrs["well"]) == (("channel", "y", "x"), np.uint16, "A01")
    np.testing.assert_array_equal(field.sel(channel="Reporter"), PIXELS[1] + 1)
    assert field["x"].attrs == {"units": "µm"}
    np.testing.assert_array_equal(field["x"], 0.5 * np.arange(17))
    np.testing.assert_array_equal(plate.field("B12"), PIXELS + 2)
    np.testing.assert_array_equal(plate.label("A01", None, "cells"), PIXELS[0] % 3)


def test_no_pixel_is_read_before_it_is_computed_and_then_only_its_channel(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = FieldImage.read, []
    monkeypatch.setattr(FieldImage, "read", lambda self, channels=None: asked.append(channels) or read(self, channels))
    field = open_plate(store).field("A01")
    assert dask.is_dask_collection(field)
    assert not asked
    field.sel(channel="DNA").compute()
    assert asked == [["DNA"]]


def test_what_is_not_there_is_refused_with_what_is(store: Path, tmp_path: Path) -> None:
    plate = open_plate(store)
    with pytest.raises(KeyError, match=r"plate p has no well A02.*it has \['A01', 'B12'\]"):
        plate.field("A2")
    with pytest.raises(KeyError, match=r"well A01 of plate p has no field '7'; it has \['0', '1'\]"):
        plate.field("A01", "7")
    with pytest.raises(ngff.NgffError, match="no such folder"):
        open_plate(tmp_path / "nothing.zarr")
    with pytest.raises(ValueError, match=r"format 'tiff'.*z 'top'.*name 'a b'"):
        open_plate(store, format="tiff", z="top", name="a b")
    with pytest.raises(ValueError, match="credentials belong in the environment"):
        open_plate("https://me:secret@host/p.zarr")


def test_an_export_without_its_format_says_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(ngff.NgffError, match=r"not a zarr group .*; of an export say which, format=: one of .*imagexpress"):
        open_plate(vendor_exports.imagexpress(tmp_path / "export"))


def test_an_export_is_seen_as_its_conversion_will_be(tmp_path: Path) -> None:
    plate = open_plate(vendor_exports.imagexpress(tmp_path / "export"), format="imagexpress", z=1)
    assert (plate.wells, plate.fields("B02")) == (["B02", "B03"], ["1", "2"])
    field = plate.field("B03", "2")
    np.testing.assert_array_equal(field[1], vendor_exports.image(3, 2, 2, 2))  # depths count from 1, z from 0
    assert list(field["channel"].values) == plate.channels


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Chunk:
    """A chunk explained for its calls and for one class, its plate of maps finished."""
    chunk = Chunk.make(tmp_path_factory.mktemp("chunk"))
    chunk.classify()
    chunk.attribute(settings=SETTINGS.model_copy(update={"targets": ["call", "spot"]}))
    source = ngff.read_plate(Source(str(chunk.inputs / "p.zarr")).place)
    AttributionPlate(chunk.maps("pcim")).finish(source, {"A/1": ["0"], "A/2": ["0"]}, "pcim")
    return chunk


def test_a_plate_of_maps_has_an_axis_of_explained_classes(mapped: Chunk) -> None:
    maps = open_plate(mapped.maps("pcim")).field("A02")
    assert maps.dims == ("layer", "channel", "y", "x")
    assert (list(maps["layer"].values), list(maps["channel"].values)) == (["call", "spot"], ["DNA", "Reporter"])
    assert (maps.attrs["method"], maps.attrs["units"]) == ("pcim", "mean attribution of the view")
    for layer in ("call", "spot"):
        stored = AttributionPlate(mapped.maps("pcim")).read("A/2/0", layer=layer)
        np.testing.assert_array_equal(maps.sel(layer=layer), stored)
    source = open_plate(mapped.inputs / "p.zarr").field("A02")
    assert maps["y"].equals(source["y"])  # a map lies where its image lies
    assert maps["x"].equals(source["x"])
    assert bool((maps.where(source.isel(channel=0) >= 0).sum() > 0).compute())


def test_threads_may_read_one_field_together(store: Path) -> None:
    field, found = open_plate(store).field("A01"), []

    def compute() -> None:
        found.append(field.compute(scheduler="threads"))

    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for one in found:
        xr.testing.assert_identical(one, found[0])
