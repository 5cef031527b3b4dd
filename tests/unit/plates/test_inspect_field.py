"""Pixel faults become rows with a reason, and the plate goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_campaign import CHANNELS, spot_field, write_plate
from scipy.ndimage import gaussian_filter

from pcim.config.stages import IngestSettings
from pcim.core.plate_source import Source
from pcim.plates.quality import illumination, judge
from pcim.stages.ingest import ingest_plate

RNG = np.random.default_rng(3)
GOOD = spot_field(RNG, (64, 64), (30, 30))


def with_plane(plane: np.ndarray) -> np.ndarray:
    return np.stack([plane, plane]).astype(np.float32)


@pytest.mark.parametrize(
    ("image", "verdict", "reason"),
    [
        (GOOD, "ok", ""),
        (np.where(np.arange(64) == 3, np.nan, GOOD), "nan", "128 pixels are NaN or infinite"),
        (np.stack([GOOD[0], np.full((64, 64), 7)]), "constant", "channel 'Reporter' is 7 everywhere"),
        (np.where(np.arange(64) < 32, 4095, GOOD), "saturated", "50% of channel 'DNA' sits at its highest value 4095"),
        (with_plane(RNG.normal(200, 5, (64, 64))), "empty", "nothing rises above"),
        (
            with_plane(gaussian_filter(spot_field(RNG, (64, 64), (30, 30))[1].astype(float), 14)),
            "out_of_focus",
            "expected 0.001 or more",
        ),
    ],
)
def test_a_field_gets_the_verdict_that_its_pixels_deserve(image: np.ndarray, verdict: str, reason: str) -> None:
    quality = judge(image, CHANNELS, IngestSettings())
    assert quality.verdict == verdict
    assert reason in quality.reason


def ingest(folder: Path, plate: Path) -> pd.DataFrame:
    platemap = folder / "map.csv"
    wells = [
        f"{row.name}{int(column.name):02d}"
        for row in sorted(plate.iterdir())
        if row.is_dir()
        for column in sorted(row.iterdir())
        if column.is_dir()
    ]
    platemap.write_text("\n".join(["well_position,dose", *(f"{well},0.5" for well in wells)]) + "\n")
    table = folder / "fields.parquet"
    settings = IngestSettings()
    ingest_plate(
        plate="p",
        store=Source(str(plate)),
        platemap=platemap,
        table=str(table),
        settings=settings,
        workers=2,
        revision=1,
    )
    return pd.read_parquet(table).set_index(["well", "field"])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_with_holes_and_faults_becomes_a_table_with_reasons(tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pcim")
    fields = {
        ("A", "1", "0"): GOOD,
        ("A", "1", "1"): GOOD,
        ("A", "3", "0"): GOOD,
        ("B", "2", "0"): GOOD,
        ("B", "3", "0"): GOOD,
    }
    plate = write_plate(tmp_path / "p.zarr", fields, version=version, chunks=(1, 64, 64))
    black = GOOD.copy()
    black[1] = 0
    write_plate(tmp_path / "p.zarr", fields | {("B", "1", "0"): black}, version=version, chunks=(1, 64, 64), empty=True)
    chunk = "0/0/0" if version == "0.4" else "c/0/0/0"
    (plate / "A/3/0/0" / chunk).unlink()
    stored = plate / "B/2/0/0" / chunk
    stored.write_bytes(stored.read_bytes()[: stored.stat().st_size // 2])
    (plate / "B/3/0" / (".zattrs" if version == "0.4" else "zarr.json")).write_text("{ not json")
    table = ingest(tmp_path, plate)
    assert table["qc"].to_dict() == {
        ("A01", "0"): "ok",
        ("A01", "1"): "ok",
        ("A03", "0"): "missing",
        ("B01", "0"): "constant",
        ("B02", "0"): "truncated",
        ("B03", "0"): "missing",
    }
    assert table.loc[("A03", "0"), "reason"] == (f"1 of 2 chunks are not stored, {chunk} the first; the writer stores every chunk")
    wording = {"0.4": "chunk 0/0/0 is not as long as its header says", "0.5": "cannot be decoded"}
    assert wording[version] in table.loc[("B02", "0"), "reason"]
    assert "not readable as JSON" in table.loc[("B03", "0"), "reason"]
    bad = table[table["qc"] != "ok"]
    assert [line for line in caplog.messages if line.startswith(("p: A/", "p: B/"))] == [
        f"p: {row.path} {row.qc}: {row.reason}" for row in bad.itertuples()
    ]
    assert table.loc[("A01", "0"), "digest"] == table.loc[("A01", "1"), "digest"] != ""
    assert table.loc[("A01", "0"), "pixel_size_um"] == 0.5
    assert table.loc[("A01", "0"), "dose"] == 0.5


def test_both_versions_of_a_plate_give_one_table(tmp_path: Path) -> None:
    fields = {("A", "1", "0"): GOOD, ("B", "2", "0"): GOOD}
    tables = [ingest(tmp_path, write_plate(tmp_path / f"{v}.zarr", fields, version=v)) for v in ("0.4", "0.5")]
    pd.testing.assert_frame_equal(*tables)


def test_light_is_the_median_and_what_one_half_has_more_than_the_other() -> None:
    y, x = np.mgrid[:40, :60]
    assert illumination(np.where(x < 30, 100, 140).astype(np.uint16)) == (120, 40, 0)
    assert illumination(np.where(y < 20, 100, 90).astype(np.uint16)) == (95, 0, -10)
    assert illumination(np.full((1, 1), 7.0)) == (7, 0, 0)
    assert np.isnan(illumination(np.full((4, 4), np.nan))).all()


def test_every_field_says_how_each_of_its_channels_is_lit(tmp_path: Path) -> None:
    lit = GOOD.copy()
    lit[0, :, 32:] += 50
    table = ingest(tmp_path, write_plate(tmp_path / "p.zarr", {("A", "1", "0"): lit, ("A", "2", "0"): GOOD}))
    expected = [[illumination(plane)[part] for plane in lit] for part in range(3)]
    assert [list(table.loc[("A01", "0"), name]) for name in ("illumination", "tilt_right", "tilt_down")] == expected
    assert expected[1][0] - illumination(GOOD[0])[1] == pytest.approx(50, abs=3)
