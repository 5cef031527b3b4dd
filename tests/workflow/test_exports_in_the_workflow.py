"""A vendor's export goes through the whole chain: converted once, called by overlapping tiles and scaled intensities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import zarr
from ome_zarr_models import v05
from safetensors.torch import load_file, save_file

from pcim.core.plate_source import Source
from pcim.plates.field_image import FieldImage

pytestmark = pytest.mark.workflow


def as_export(plate: Path, folder: Path) -> Path:
    """Write the fields of an OME-Zarr plate as MetaXpress would, one TIFF a channel."""
    folder.mkdir()
    for place in sorted(path.parent.parent for path in plate.glob("*/*/0/0/zarr.json")):
        well, name = place.parts[-3:-1], "0"
        pixels = FieldImage.open(Source(str(plate)), f"{well[0]}/{well[1]}/{name}").read()
        for wave, plane in enumerate(pixels, 1):
            tifffile.imwrite(folder / f"x_{well[0]}{int(well[1]):02d}_s1_w{wave}.TIF", plane)
    (folder / "x.HTD").write_text('"XWells", 12\n"YWells", 8\n"WaveName1", "DNA"\n"WaveName2", "Reporter"\n', encoding="latin-1")
    return folder


def test_an_export_is_converted_explained_and_reported(make_run: Any, tmp_path: Path) -> None:
    run = make_run(columns=2)
    inputs = tmp_path / "inputs"
    export = as_export(inputs / "plate1.zarr", inputs / "exported plate #1")
    (export / "x_B02_s1_w1.TIF").write_bytes(b"")
    (inputs / "plates.tsv").write_text(f"plate\tpath\tplatemap\tformat\nplate1\t{export}\t{inputs / 'plate1.csv'}\timagexpress\n")
    contract = inputs / "model/model.yaml"
    told = yaml.safe_load(contract.read_text())
    told["input"] |= {
        "overlap": 16,
        "percentiles": {"over": "negcon", "low": 0, "high": 100, "clip": False},
        "mean": [0.5, 0.5],
        "std": [0.25, 0.25],
    }
    contract.write_text(yaml.safe_dump(told))
    stored = load_file(inputs / "model/test.safetensors")  # the test input is of scaled intensities then
    save_file(stored | {"images": (stored["images"] - 200) / 400 + 0.5}, inputs / "model/test.safetensors")
    entry = run.values["classifiers"]["spots"]
    del entry["objects"], entry["regions"]  # an export has no label images
    output = run()
    assert "To come in campaign 'planted':" in output
    conversion = pd.read_parquet(run.results / "ingest/plate1/conversion.parquet").set_index("well")
    assert conversion["status"].to_dict() == {"A01": "ok", "A02": "ok", "B01": "ok", "B02": "failed"}
    fields = pd.read_parquet(run.results / "ingest/plate1/fields.parquet").set_index("well")
    assert fields.loc["B02", "reason"] == "x_B02_s1_w1.TIF: an empty file"
    assert set(fields["checksum"].drop("B02")) == {"crc32c"}
    ledger = pd.concat(pd.read_parquet(p) for p in run.results.glob("attribute/spots/pcim/plate1/*.parquet"))
    assert ledger["status"].value_counts().to_dict() == {"ok": 3 * 6, "skipped": 1}
    maps = run.results / "maps/spots/plate1_pcim.zarr"
    v05.HCS.from_zarr(zarr.open_group(maps, mode="r"))
    whole = np.asarray(zarr.open_array(maps / "A/2/1/0", mode="r"))
    assert whole.shape == (2, 70, 96)
    assert np.isfinite(whole).all()
    log = next(run.results.glob("logs/attribute/spots/pcim/plate1/*.log")).read_text()
    assert "the network waited for data" in log
    assert "Nothing to be done" in run()
    (inputs / "exported plate #1/x.HTD").touch()
    assert "Nothing to be done" in run()
    file = inputs / "exported plate #1/x_B02_s1_w1.TIF"
    others = {path: path.stat().st_mtime_ns for path in maps.glob("A/*/*/*/zarr.json")}
    tifffile.imwrite(file, np.asarray(tifffile.imread(file.with_name("x_B01_s1_w1.TIF"))))
    assert "Nothing to be done" not in run()
    fields = pd.read_parquet(run.results / "ingest/plate1/fields.parquet").set_index("well")
    assert fields.loc["B02", "qc"] == "ok"
    assert others == {path: path.stat().st_mtime_ns for path in maps.glob("A/*/*/*/zarr.json")}
    assert np.isfinite(np.asarray(zarr.open_array(maps / "B/2/1/0", mode="r"))).all()
    assert "Nothing to be done" in run()
