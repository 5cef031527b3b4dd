"""Verdicts are right where the truth is planted; `benchmarks/verdicts.py` does the same a hundred times each."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


def benchmark(name: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module(name)


@pytest.fixture(scope="module")
def verdicts() -> Any:
    yield from benchmark("verdicts")


@pytest.fixture(scope="module")
def trained() -> Any:
    yield from benchmark("trained_verdicts")


@pytest.mark.parametrize("kind", ["none", "corner", "gradient", "offset", "rim"])
@pytest.mark.parametrize("seed", [1000, 1001, 1002])  # none that the benchmark has
def test_what_was_planted_is_what_is_read(verdicts: Any, kind: str, seed: int) -> None:
    assert verdicts.verdict_of(kind, seed) == verdicts.PLANTED[kind].verdict


def test_too_few_wells_tell_nothing(verdicts: Any) -> None:
    assert verdicts.verdict_of("none", 1000, wells=3) == "cannot tell"


@pytest.mark.parametrize("kind", ["none", "corner", "gradient", "offset", "rim"])
def test_what_a_trained_network_had_to_read_is_what_is_read(verdicts: Any, trained: Any, kind: str) -> None:
    found = trained.campaign(kind, 2000)  # not among the benchmark's
    assert found.accuracy >= trained.LEARNT
    assert found.reading.verdict == verdicts.PLANTED[kind].verdict
