"""Verdicts on real wells, where what a classifier reads is known; `benchmarks/contrasts.py` does the same with more networks."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def contrasts() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("contrasts")


@pytest.mark.parametrize("name", ["bbbc013_translocation", "bbbc010_rows", "bbbc010_columns"])
def test_the_examples_classifiers_look_where_they_are_known_to(contrasts: Any, name: str) -> None:
    assert contrasts.example(name).reading.verdict == contrasts.EXAMPLES[name]


def test_the_columns_classifier_follows_the_rim_and_not_the_worms(contrasts: Any) -> None:
    found = contrasts.example("bbbc010_columns").table.set_index("region")["follows"]
    assert found["rim"] > 0.4
    assert found["worms"] < 0.1


def test_a_network_that_only_the_wells_could_teach_looks_elsewhere(contrasts: Any) -> None:
    found = contrasts.contrast("bg_only", contrasts.STEPS["bg_only"], seed=1000)  # not among the benchmark's
    assert found.accuracy > 0.8
    assert found.reading.verdict == "looks elsewhere"


def test_what_is_composed_has_one_wells_background_and_the_others_worms(contrasts: Any) -> None:
    one, other = contrasts.read_wells("A")[:2]
    seen = contrasts.compose("bg_only", one, other)
    assert (seen.label, seen.key.well) == (one.label, one.name)
    worms = other.scene.objects
    assert (seen.scene.pixels[:, worms] == other.scene.pixels[:, worms]).all()
    assert (seen.scene.pixels[:, ~worms] == one.scene.empty[:, ~worms]).all()
    back = contrasts.compose("worm_only", other, one)
    assert (back.scene.pixels == seen.scene.pixels).all()
    assert (back.label, back.key.well) == (other.label, other.name)
