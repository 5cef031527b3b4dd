"""Numbers that moved without a raised revision fail here, because no finished campaign would notice."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from pcim.attribution import forward_only, optimiser, optimiser_step
from pcim.classifiers import classifier
from pcim.interventions import experiment
from pcim.metrics import score_view
from pcim.plates import ngff_writer, quality
from pcim.report.analysis import intervals
from pcim.revisions import REVISIONS
from pcim.stages import compare
from pcim.stages.aggregate import shares
from pcim.views import intensity, objects

_SPEC = importlib.util.spec_from_file_location("measure", Path(__file__).with_name("measure.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(golden)

KNOWN = json.loads(golden.GOLDEN.read_text())
SPREAD = json.loads(golden.SPREAD.read_text())

TIMES_THE_SPREAD = 10
RELATIVE, ABSOLUTE = 2e-4, 2e-5
LOOSE = 0.01
"""A number that may move by more, as a share of itself or of 0.1, tells too little."""


@pytest.fixture(scope="module")
def measured() -> Any:
    return golden.measure()


def allowed(stage: str, name: str) -> float:
    """Return how far a number may move: ten times its spread, and at least a floor."""
    floor = ABSOLUTE + RELATIVE * abs(KNOWN[stage]["numbers"][name])
    return max(floor, TIMES_THE_SPREAD * SPREAD[stage][name])


def how_far(stage: str, numbers: dict[str, float]) -> dict[str, float]:
    """Return how far every number of a stage moved, in units of what is allowed."""
    known = KNOWN[stage]["numbers"]
    return {name: abs(numbers[name] - known[name]) / allowed(stage, name) for name in known}


def assert_still(stage: str, new: Any) -> None:
    old, numbers = KNOWN[stage], new["numbers"]
    assert new["revision"] == old["revision"], f"REVISIONS[{stage!r}] was raised: run python tests/golden/measure.py"
    advice = f"the numbers of {stage!r} moved: raise REVISIONS[{stage!r}] and run python tests/golden/measure.py"
    assert numbers.keys() == old["numbers"].keys(), f"{advice}; came or went: {numbers.keys() ^ old['numbers'].keys()}"
    far = {name: by for name, by in how_far(stage, numbers).items() if not by <= 1}  # NaN moved too
    told = [
        f"  {name}: {old['numbers'][name]:.6g} became {numbers[name]:.6g}, {by:.3g} times what is allowed"
        for name, by in sorted(far.items(), key=lambda one: -one[1])
    ]
    assert not far, "\n".join([f"{advice}; {len(far)} of {len(numbers)} moved:", *told[:10]])


def test_every_stage_that_has_a_revision_has_numbers() -> None:
    assert KNOWN.keys() == REVISIONS.keys() == golden.STAGES.keys()


@pytest.mark.parametrize("stage", KNOWN)
def test_every_number_has_a_spread_that_is_too_small_to_hide_a_change(stage: str) -> None:
    known = KNOWN[stage]["numbers"]
    assert SPREAD[stage].keys() == known.keys(), "run python tests/golden/spread.py"
    loose = {name: allowed(stage, name) for name in known if allowed(stage, name) > LOOSE * max(abs(known[name]), 0.1)}
    assert not loose, f"these hang on the processor: choose other cases in measure.py: {loose}"


@pytest.mark.parametrize("stage", KNOWN)
def test_numbers_move_only_with_a_raised_revision(stage: str, measured: Any) -> None:
    assert_still(stage, measured[stage])


def scaled(function: Any, by: float) -> Any:
    return lambda *arguments, **more: function(*arguments, **more) * by


MOVES: list[tuple[str, Any, str, Any]] = [
    ("convert", ngff_writer, "mean_of_four", scaled(ngff_writer.mean_of_four, 1.01)),
    ("ingest", quality, "_BAND", quality._BAND * 1.01),
    ("ingest", objects, "middles", lambda labels: [("1", 20.1, 30.0)]),
    ("ingest", intensity, "percentile", scaled(intensity.percentile, 1.01)),
    ("classify", classifier.Classifier, "normalise", scaled(classifier.Classifier.normalise, 1.01)),
    ("attribute", optimiser_step, "SOFTNESS", optimiser_step.SOFTNESS * 1.1),
    ("attribute", optimiser, "TAIL", optimiser.TAIL * 10),
    ("attribute", forward_only, "RIDGE", forward_only.RIDGE * 2),
    ("aggregate", shares, "ALL_CHANNELS", "DNA"),
    ("evaluate", score_view, "CELLS", 8),
    ("evaluate", compare, "TOP_SHARE", 0.06),
    ("evaluate", experiment, "softmax", lambda scores, axis: experiment.np.exp(scores / 2)),
    ("report", intervals, "stdtrit", scaled(intervals.stdtrit, 1.5)),
]
"""A constant or a step of a stage, and what would be another."""


@pytest.mark.parametrize(("stage", "owner", "name", "other"), MOVES, ids=[f"{m[0]}-{m[2]}" for m in MOVES])
def test_whatever_moves_in_a_stage_is_noticed(stage: str, owner: Any, name: str, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, other)
    with pytest.raises((AssertionError, classifier.ModelError)):  # a job itself refuses a classifier that gives other logits
        assert_still(stage, golden.measure([stage])[stage])
