"""The benchmarks' one form."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

_FILE = Path(__file__).parents[3] / "benchmarks/harness.py"
_SPEC = importlib.util.spec_from_file_location("harness", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
harness: Any = importlib.util.module_from_spec(_SPEC)


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "harness", harness)
    _SPEC.loader.exec_module(harness)  # type: ignore[union-attr]
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")


def test_a_ratio_compares_two_works_of_one_run() -> None:
    assert harness.paired_ratio(lambda: time.sleep(0.02), lambda: time.sleep(0.005), 5) == pytest.approx(4, rel=0.5)


def test_the_full_form_is_written_and_the_quick_form_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [harness.Row("loop / bare", 1.25, "x", 1.2, "lower"), harness.Row("lift", 3.0, "x", None, "higher")]
    harness.report("speed", rows, True)
    assert not (tmp_path / "results").exists()
    harness.report("speed", rows, False)
    content = json.loads((tmp_path / "results/speed.json").read_text())
    assert list(content) == ["machine", "versions", "commit", "rows"]
    assert content["rows"][0] == {
        "name": "loop / bare", "value": 1.25, "unit": "x", "bar": 1.2, "better": "lower", "low": None, "high": None, "n": None,
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "MISSED" in printed


def test_the_quick_form_is_written_where_that_is_asked_for(tmp_path: Path) -> None:
    harness.report("speed", [harness.Row("loop / bare", 1.25, "x", None, "lower")], True, True)
    assert (tmp_path / "results/speed.json").exists()


@pytest.mark.parametrize(("better", "met"), [("lower", [True, True, False]), ("higher", [False, True, True])])
def test_a_bar_is_met_on_its_good_side_and_at_the_bar_itself(better: str, met: list[bool]) -> None:
    assert [harness.Row("any", value, "x", 1.0, better).met for value in (0.9, 1.0, 1.1)] == met


def test_committed_results_have_that_form() -> None:
    for file in (_FILE.parent / "results").glob("*.json"):
        content = json.loads(file.read_text())
        assert content["commit"]
        fields = {"name", "value", "unit", "bar", "better", "low", "high", "n"}
        assert content["rows"]
        assert all(set(row) == fields for row in content["rows"])


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(_FILE.parent)
    return importlib.import_module("scoring")


def test_a_paired_difference_knows_its_units(scoring: Any) -> None:
    lot = np.random.default_rng(0)
    of_unit = np.repeat(lot.normal(0.3, 1, 40), 5)
    alone = scoring.paired(of_unit, [str(n) for n in range(200)], 2000)
    by_unit = scoring.paired(of_unit, [str(n // 5) for n in range(200)], 2000)
    assert alone.mean == pytest.approx(by_unit.mean) == pytest.approx(of_unit.mean())
    assert by_unit.high - by_unit.low > 1.7 * (alone.high - alone.low)
    gap = scoring.paired(np.array([1.0, 2.0, np.nan, 3.0]), list("abcd"), 500)
    assert (gap.n, gap.mean) == (3, 2.0)
    assert gap.p < 0.01
    assert scoring.paired(np.array([-1.0, 1.0] * 20), [str(n) for n in range(40)], 500).p > 0.3


def test_localization_of_the_mask_itself_is_1_and_without_a_mask_nothing(scoring: Any) -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, 2:4, 2:4] = True
    found = scoring.localization(masks.float(), masks)
    assert float(found[0]) == pytest.approx(1)
    assert bool(found[1].isnan())
