"""Verdicts are right where the truth is planted; `benchmarks/verdicts.py` does the same a hundred times each."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def verdicts() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("verdicts")


@pytest.mark.parametrize("kind", ["none", "corner", "gradient", "offset", "rim"])
@pytest.mark.parametrize("seed", [1000, 1001, 1002])  # none that the benchmark has
def test_what_was_planted_is_what_is_read(verdicts: Any, kind: str, seed: int) -> None:
    assert verdicts.verdict_of(kind, seed) == verdicts.PLANTED[kind].verdict


def test_too_few_wells_tell_nothing(verdicts: Any) -> None:
    assert verdicts.verdict_of("none", 1000, wells=3) == "cannot tell"
