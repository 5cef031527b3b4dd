"""A classifier of crops around objects goes through the whole chain; objects are found once, in a label image or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr

pytestmark = pytest.mark.workflow


def test_crops_around_places_of_a_table_are_called_explained_and_reported(make_run: Any, tmp_path: Path) -> None:
    run = make_run(columns=2)
    inputs = tmp_path / "inputs"
    contract = inputs / "model/model.yaml"
    told = yaml.safe_load(contract.read_text())
    told["input"]["view"] = "object"
    contract.write_text(yaml.safe_dump(told))
    places = inputs / "places.csv"
    lines = [f"{row}{column:02d},0,{y},{x}" for row in "AB" for column in (1, 2) for y, x in ((24, 24), (40, 70))]
    places.write_text("\n".join(["well,field,y,x", *lines]) + "\n")
    output = run(succeeds=False)
    assert "classifiers.spots.crops: given if, and only if, the contract says view: object; it says object" in output
    run.values["classifiers"]["spots"]["crops"] = {"table": str(places)}
    run.values["attribute"]["targets"] = ["call", "plain"]
    run()
    objects = pd.read_parquet(run.results / "ingest/plate1/objects/spots.parquet")
    assert len(objects) == len(lines)
    calls = pd.concat(pd.read_parquet(p) for p in run.results.glob("classify/spots/plate1/*.parquet"))
    assert set(calls["view"]) == {f"o{number}" for number in range(2, 10)}
    assert set(calls["call"]) == {"plain", "spot"}
    ledger = pd.concat(pd.read_parquet(p) for p in run.results.glob("attribute/spots/pcim/plate1/*.parquet"))
    assert (ledger["status"] == "ok").all()
    assert ledger["layer"].tolist() == ["call", "plain"] * len(calls)
    assert set(ledger.loc[ledger["layer"] == "plain", "target"]) == {"plain"}
    field = zarr.open_group(run.results / "maps/spots/plate1_pcim.zarr/A/2/0", mode="r")
    labels = [channel["label"] for channel in field.attrs["ome"]["omero"]["channels"]]
    assert labels == ["pcim DNA", "pcim Reporter", "pcim plain DNA", "pcim plain Reporter"]
    whole = np.asarray(field["0"])
    assert 0.3 < np.isfinite(whole[0]).mean() < 1
    scores = pd.concat(pd.read_parquet(p) for p in run.results.glob("evaluate/spots/plate1/*[0-9].parquet"))
    assert set(scores["view"]) == set(calls["view"])
    assert "Nothing to be done" in run()
