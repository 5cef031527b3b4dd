"""Profiles of wells: the columns that cytomining tools expect, and the join with CellProfiler's tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pcim.stages.aggregate.well_profiles import profile_wells

CLASSES = ["dead", "live"]


def of_well(well: str, field: str = "0") -> dict[str, str]:
    return {"plate": "p1", "row": well[0], "column": well[1:], "well": f"{well[0]}{int(well[1:]):02d}", "field": field}


def fields_table() -> pd.DataFrame:
    """Return fields of four wells, as ingest writes them: out of order, A10 with two fields."""
    wells = [("A10", "0"), ("A10", "1"), ("A2", "0"), ("B1", "0"), ("A1", "0")]
    known = {"A1": ("DMSO", "negcon", 0.0), "A2": ("drug", "", 1.5), "A10": ("drug", "", 3.0), "B1": ("", "", np.nan)}
    rows = [
        of_well(well, field)
        | {"path": f"{well[0]}/{well[1:]}/{field}", "channels": ["DNA"], "height": 48, "width": 48, "digest": "d"}
        | dict(zip(("treatment", "control_type", "dose"), known[well], strict=True))
        | {"batch": "one", "qc": "ok", "reason": "", "revision": 2}
        | {"illumination": [100.0], "tilt_right": [1.0], "tilt_down": [-1.0]}
        for well, field in wells
    ]
    return pd.DataFrame(rows)


def calls_table() -> pd.DataFrame:
    known = [("A1", "0", 0.9), ("A2", "0", 0.2), ("A10", "0", 0.4), ("A10", "1", 0.8), ("B1", "0", None)]
    rows = [
        of_well(well, field) | {"view": "0_0", "status": "skipped" if p is None else "ok", "probabilities": [] if p is None else [1 - p, p]}
        for well, field, p in known
    ]
    return pd.DataFrame(rows)


def shares_table() -> pd.DataFrame:
    rows = [
        of_well(well, field) | {"view": "0_0", "method": method, "region": region, "channel": channel, "share": share, "lift": lift}
        for well, field, method, region, channel, share, lift in [
            ("A1", "0", "pcim", "nuclei", "all", 0.5, 2.0),
            ("A1", "0", "pcim", "nuclei", "FKHR GFP", 0.2, np.nan),
            ("A10", "0", "pcim", "nuclei", "all", 0.2, 1.0),
            ("A10", "1", "pcim", "nuclei", "all", 0.4, 3.0),
            ("A10", "0", "pcim", "nuclei", "FKHR GFP", 0.1, np.nan),
            ("A1", "0", "edge", "nuclei", "all", 0.9, 9.0),
        ]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def profiles() -> pd.DataFrame:
    return profile_wells(fields_table(), calls_table(), shares_table(), classes=CLASSES, method="pcim")


def test_metadata_come_first_and_features_are_numbers_named_after_region_and_channel() -> None:
    table = profiles()
    metadata = [name for name in table if name.startswith("Metadata_")]
    assert list(table)[: len(metadata)] == metadata == [
        "Metadata_Plate", "Metadata_Well", "Metadata_treatment", "Metadata_control_type", "Metadata_dose", "Metadata_batch",
        "Metadata_method", "Metadata_views", "Metadata_explained",
    ]  # fmt: skip
    features = list(table)[len(metadata) :]
    assert features == [
        "PCIM_Probability_dead", "PCIM_Probability_live", "PCIM_Share_nuclei_all", "PCIM_Share_nuclei_FKHR GFP",
        "PCIM_Lift_nuclei_all", "PCIM_Lift_nuclei_FKHR GFP",
    ]  # fmt: skip
    assert (table[features].dtypes == "float64").all()


def test_a_row_is_the_mean_of_a_wells_views_by_the_method_that_is_read() -> None:
    table = profiles().set_index("Metadata_Well")
    assert table.index.tolist() == ["A01", "A02", "A10", "B01"], "in plate order"
    assert table.loc["A10", "PCIM_Probability_live"] == pytest.approx(0.6)
    assert table.loc["A10", "PCIM_Share_nuclei_all"] == pytest.approx(0.3)
    assert table.loc["A10", "PCIM_Lift_nuclei_all"] == pytest.approx(2.0)
    assert table.loc["A01", "PCIM_Share_nuclei_all"] == 0.5, "not the edge control's 0.9"
    assert table["Metadata_views"].tolist() == [1, 1, 2, 0]
    assert table["Metadata_explained"].tolist() == [1, 0, 2, 0]


def test_a_well_without_a_map_or_a_call_is_a_row_of_nan_and_not_left_out() -> None:
    table = profiles().set_index("Metadata_Well")
    assert np.isnan(table.loc["A02", "PCIM_Share_nuclei_all"])
    assert table.loc["A02", "PCIM_Probability_dead"] == pytest.approx(0.8)
    assert np.isnan(table.loc["B01", "PCIM_Probability_dead"])
    assert np.isnan(table["PCIM_Lift_nuclei_FKHR GFP"]).all(), "a lift that is never defined keeps its column"


def test_it_joins_cellprofilers_wells_one_to_one() -> None:
    cellprofiler = pd.DataFrame(
        {
            "Metadata_Plate": ["p1", "p1", "p2"],
            "Metadata_Well": ["A10", "A01", "A01"],
            "Nuclei_AreaShape_Area": [110.0, 101.0, 999.0],
        }
    )
    joined = profiles().merge(cellprofiler, on=["Metadata_Plate", "Metadata_Well"], validate="one_to_one")
    found = joined.set_index("Metadata_Well")
    assert found["Nuclei_AreaShape_Area"].to_dict() == {"A01": 101.0, "A10": 110.0}
    assert found.loc["A10", "PCIM_Share_nuclei_all"] == pytest.approx(0.3)


def test_a_plate_on_which_nothing_was_called_or_explained_has_its_wells() -> None:
    calls = calls_table().assign(status="failed", probabilities=[[]] * 5)
    table = profile_wells(fields_table(), calls, shares_table().iloc[:0], classes=CLASSES, method="pcim")
    assert len(table) == 4
    assert table[["PCIM_Probability_dead", "PCIM_Probability_live"]].isna().all(axis=None)
    assert table["Metadata_views"].tolist() == [0] * 4
