"""The benchmarks' one form."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).parents[2] / "benchmarks/harness.py"
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
    assert content["rows"][0] == {"name": "loop / bare", "value": 1.25, "unit": "x", "bar": 1.2, "better": "lower"}
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
        assert all(set(row) == {"name", "value", "unit", "bar", "better"} for row in content["rows"])
