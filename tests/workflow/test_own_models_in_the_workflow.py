"""A classifier that gives scores and no gradient goes through the whole chain; what it cannot answer is refused before a job starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from model_forms import save_onnx, write_own

pytestmark = pytest.mark.workflow


def test_an_onnx_model_without_gradients_is_called_explained_scored_and_reported(make_run: Any, tmp_path: Path) -> None:
    run = make_run(columns=2)
    folder = tmp_path / "onnx"
    folder.mkdir()
    save_onnx(folder / "net.onnx", batch=1)
    run.values["classifiers"]["spots"]["model"] = str(write_own(folder, "onnx", "net.onnx", differentiable=False))
    chosen = {"methods": ["pcim", "integrated_gradients", "rise", "random"], "forward_passes": 128}
    run.values["attribute"] |= chosen | {"peers": {"rise_masks": 40}}
    output = run(succeeds=False)
    assert "integrated_gradients needs gradient, which classifiers.spots does not show" in output
    assert not list(run.results.glob("**/*.parquet"))
    run.values["attribute"]["methods"].remove("integrated_gradients")
    run()
    calls = pd.concat(pd.read_parquet(p) for p in run.results.glob("classify/spots/plate1/*.parquet"))
    assert set(calls["call"]) == {"plain", "spot"}
    assert set(calls["device"]) == {"cpu"}
    ledger = pd.concat(pd.read_parquet(p) for p in run.results.glob("attribute/spots/pcim/plate1/*.parquet"))
    assert (ledger["status"] == "ok").all()
    assert set(ledger["stop"]) == {"budget"}
    assert set(ledger["steps"]) == {0}
    spot = np.asarray(zarr.open_group(run.results / "maps/spots/plate1_pcim.zarr/A/2/0", mode="r")["0"]).sum(0)
    seen = np.asarray(zarr.open_group(tmp_path / "inputs/plate1.zarr/A/2/0/labels/spots", mode="r")["0"]) > 0
    assert np.nanmean(spot[seen]) > 5 * np.nanmean(spot[~seen])
    scores = pd.concat(pd.read_parquet(p) for p in run.results.glob("evaluate/spots/plate1/*[0-9].parquet"))
    assert {"pcim", "rise", "random"} <= set(scores["method"])
    assert json.loads((run.results / "report/report.json").read_text())["classifiers"]
    assert "Nothing to be done" in run()
