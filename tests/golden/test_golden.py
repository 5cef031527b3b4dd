"""Numbers that moved without a raised revision fail here, because no finished campaign would notice."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_SPEC = importlib.util.spec_from_file_location("measure", Path(__file__).with_name("measure.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(golden)

KNOWN = json.loads(golden.GOLDEN.read_text())


@pytest.fixture(scope="module")
def measured() -> Any:
    return golden.measure()


@pytest.mark.parametrize("stage", KNOWN)
def test_numbers_move_only_with_a_raised_revision(stage: str, measured: Any) -> None:
    new, old = measured[stage], KNOWN[stage]
    assert new["revision"] == old["revision"], f"REVISIONS[{stage!r}] was raised: run python tests/golden/measure.py"
    advice = f"the numbers of {stage!r} moved: raise REVISIONS[{stage!r}] and run python tests/golden/measure.py"
    np.testing.assert_allclose(new["numbers"], old["numbers"], rtol=2e-3, atol=2e-4, err_msg=advice)
