"""A plugin for pytest in the folder of the mutants: the tests that took least time are asked first, as most mutants fall to one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

STATS = Path("mutmut-stats.json")
"""What mutmut learnt of the tests before the first mutant; absent while it learns."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of a run by the time that they took."""
    if STATS.exists():
        took = json.loads(STATS.read_text(encoding="utf-8"))["duration_by_test"]
        items.sort(key=lambda item: took.get(item.nodeid, 0.0))
