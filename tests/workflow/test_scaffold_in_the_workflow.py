"""What `pcim init` writes for a folder of TIFFs runs to its report as it is, with an empty plate map."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from planted_campaign import spot_field, write_model
from workflow_runs import Run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.workflow


def pcim(run: Run, *words: str) -> str:
    command = [sys.executable, "-m", "pcim.cli.main", *words]
    ran = subprocess.run(command, cwd=run.folder, env=run.environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def test_a_folder_of_tiffs_and_a_classifier_become_maps_and_a_report_in_three_commands(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    (tmp_path / "raw plates/p 1/TimePoint_1").mkdir(parents=True)
    for well in ("A01", "A02"):
        for wave, plane in enumerate(spot_field(rng, (48, 48), (20, 20) if well == "A02" else None), 1):
            tifffile.imwrite(tmp_path / f"raw plates/p 1/TimePoint_1/x_{well}_s1_w{wave}.TIF", plane)
    write_model(tmp_path / "my model")
    run = Run(tmp_path, {})
    words = ["--model", "my model", "--channels", "DNA,Reporter", "--trust", "planted_campaign"]
    assert "Next:" in pcim(run, "init", "my screen", "--plates", "raw plates", *words)
    config = tmp_path / "my screen/config.yaml"
    text = config.read_text()
    fast = text.replace("#attribute:", "attribute:").replace("  #methods: [", "  methods: [pcim, random]  # [")
    config.write_text(fast)  # as the page says: take the # away
    assert "Campaign my_screen: nothing is wrong" in pcim(run, "validate", "--configfile", "my screen/config.yaml")
    words = ["--configfile", "my screen/config.yaml", "--", "--cores", "2"]
    assert "Report: " not in pcim(run, "ingest", *words)
    assert "\nReport: results/my_screen/report/index.html\n" in pcim(run, "report", *words)
    results = tmp_path / "results/my_screen"
    assert (results / "report/index.html").stat().st_size > 100_000
    ledger: Any = pd.read_parquet(next((results / "attribute/spots/pcim").rglob("*.parquet")))
    assert sorted(ledger.query("status == 'ok'")["well"]) == ["A01", "A02"], "a view a well, whose map is there"
