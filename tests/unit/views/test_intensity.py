"""Intensities are scaled by exact percentiles of the field, the well, the plate or its negative controls, measured once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from planted_campaign import CHANNELS, write_plate

from pcim.classifiers.contract import InputContract, Percentiles
from pcim.core.identity import ViewKey
from pcim.core.plate_source import Source
from pcim.core.tiling import Box
from pcim.stages.intensities import measure_intensities
from pcim.views.intensity import FieldRecords, count_values, percentile
from pcim.views.reader import read_views
from pcim.views.view import View

WELLS = {("A", "1", "0"): "negcon", ("A", "1", "1"): "negcon", ("A", "2", "0"): "", ("B", "1", "0"): "poscon"}


@given(
    pixels=arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(st.integers(1, 9), st.integers(1, 9))),
    percent=st.floats(0, 100),
)
def test_percentiles_of_whole_numbers_are_exact(pixels: np.ndarray, percent: float) -> None:
    expected = np.percentile(pixels, percent, method="inverted_cdf")
    assert percentile(count_values(pixels), percent, pixels.dtype.name) == expected


@given(
    pixels=arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32)),
    percent=st.floats(0, 100),
)
def test_percentiles_of_reals_are_right_to_a_hundredth(pixels: np.ndarray, percent: float) -> None:
    expected = float(np.percentile(pixels, percent, method="inverted_cdf"))
    found = percentile(count_values(pixels), percent, "float32")
    assert abs(found - expected) <= abs(expected) / 127 + 1e-37


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    """Four fields of which each has its own range, two of them in one well, and their table."""
    rng = np.random.default_rng(0)
    pixels = {key: rng.integers(100 * n, 100 * n + 50, (2, 30, 40)).astype(np.uint16) for n, key in enumerate(WELLS, 1)}
    plate = write_plate(tmp_path / "p.zarr", pixels)
    rows = [
        {"plate": "p", "row": r, "column": c, "well": f"{r}0{c}", "field": f, "path": f"{r}/{c}/{f}", "qc": "ok",
         "channels": list(CHANNELS), "control_type": WELLS[r, c, f], "dtype": "uint16", "digests": ["", ""]}
        for r, c, f in WELLS
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "fields.parquet")
    return {"pixels": pixels, "source": Source(str(plate)), "folder": tmp_path}


def measured(world: dict[str, Any], over: str, workers: int = 2, **how: Any) -> pd.DataFrame:
    table = world["folder"] / "intensities.parquet"
    measure_intensities(
        fields=str(world["folder"] / "fields.parquet"), store=world["source"], channels=["Reporter", "DNA"],
        percentiles=Percentiles(over=over, low=10, high=90, **how), table=str(table), workers=workers, revision=1,
    )  # fmt: skip
    return pd.read_parquet(table).set_index("path")


@pytest.mark.parametrize(
    ("over", "counted"),
    [
        ("field", [("A", "1", "1")]),
        ("well", [("A", "1", "0"), ("A", "1", "1")]),
        ("plate", list(WELLS)),
        ("negcon", [("A", "1", "0"), ("A", "1", "1")]),
    ],
)
def test_the_ends_are_those_of_the_pixels_that_the_contract_names(
    world: dict[str, Any], over: str, counted: list[tuple[str, str, str]]
) -> None:
    table = measured(world, over)
    assert len(table) == len(WELLS)
    for number, channel in enumerate((1, 0)):  # the contract's order: Reporter, DNA
        pooled = np.concatenate([world["pixels"][key][channel].ravel() for key in counted])
        for name, percent in (("low", 10), ("high", 90)):
            assert table.loc["A/1/1", name][number] == np.percentile(pooled, percent, method="inverted_cdf")
    pd.testing.assert_frame_equal(table, measured(world, over, workers=1))


def test_scaled_pixels_lie_between_0_and_1(world: dict[str, Any]) -> None:
    measured(world, "field")
    fields = pd.read_parquet(world["folder"] / "fields.parquet")
    known = FieldRecords.from_tables(fields, [str(world["folder"] / "intensities.parquet")])
    raw = world["pixels"]["B", "1", "0"][::-1]
    scaled = known.scale("B/1/0", raw)
    assert (scaled.min(), scaled.max()) == (0, 1)
    inside = (scaled > 0) & (scaled < 1)
    low, high, _ = known.ends["B/1/0"]
    expected = (raw - np.array(low)[:, None, None]) / (np.array(high) - np.array(low))[:, None, None]
    np.testing.assert_allclose(scaled[inside], expected[inside], rtol=1e-5)
    measured(world, "field", clip=False)
    known = FieldRecords.from_tables(fields, [str(world["folder"] / "intensities.parquet")])
    assert known.scale("B/1/0", raw).max() > 1
    assert FieldRecords.from_tables(fields).scale("B/1/0", raw) is raw
    with pytest.raises(KeyError):
        known.scale("no/such/field", raw)


def test_a_plate_without_usable_negative_controls_is_an_error(world: dict[str, Any]) -> None:
    file = world["folder"] / "fields.parquet"
    pd.read_parquet(file).assign(control_type="").to_parquet(file)
    with pytest.raises(RuntimeError, match="no field of a negative control"):
        measured(world, "negcon")


def test_percentiles_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low 60\.0 is not below high 50\.0"):
        Percentiles(over="field", low=60, high=50)


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("field", {"A/1/0", "A/1/1", "A/2/0", "B/1/0"}),
        ("well", {"A/1/0", "A/1/1", "B/1/0"}),
        ("plate", {"A/1/0", "A/1/1", "A/2/0", "B/1/0"}),
    ],
)
def test_an_accepted_field_is_scaled_like_the_others_or_not_fed_at_all(world: dict[str, Any], over: str, expected: set[str]) -> None:
    file = world["folder"] / "fields.parquet"
    table = pd.read_parquet(file)
    table.loc[table["well"] == "A02", "qc"] = "suspect"
    table.to_parquet(file)
    found = measured(world, over)
    assert set(found.index) == expected
    if over == "plate":  # scaled by the plate, not counted into it
        pooled = np.concatenate([world["pixels"][key][1].ravel() for key in WELLS if key != ("A", "2", "0")])
        assert found.loc["A/2/0", "low"][0] == np.percentile(pooled, 10, method="inverted_cdf")
    known = FieldRecords.from_tables(table, [str(world["folder"] / "intensities.parquet")])
    contract = InputContract(
        channels=["Reporter", "DNA"], view="field", size=(30, 40), dtype="uint16", mean=[0, 0], std=[1, 1],
        percentiles=Percentiles(over=over),
    )  # fmt: skip
    key = ViewKey("p", "A", "2", "0", "0_0")
    ((_, reading),) = read_views(world["source"], [View(key, "A/2/0", Box(0, 0, 30, 40))], contract, 1, known)
    assert isinstance(reading, str) == ("A/2/0" not in expected)
    if isinstance(reading, str):
        assert reading == "no percentiles could be measured for this field"
