"""What every test shares: one compute thread, and one line that says what this machine could not run."""

from __future__ import annotations

import collections
import logging
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)  # as every job does on a CPU

# A busy machine is slow; that is no failure of a law.
hypothesis.settings.register_profile("pcim", deadline=None)
hypothesis.settings.load_profile("pcim")

# Every call of these modules checks the shapes and types that its signature states.
CHECKED = [
    "metrics",
    "views.regions",
    "interventions",
    "composites",
    "attribution.blending",
    "attribution.optimiser",
    "attribution.optimiser_step",
    "attribution.forward_only",
]
install_import_hook([f"pcim.{name}" for name in CHECKED], "beartype.beartype")


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Leave the level of PCIM's log as it was: a command that runs inside a test sets it."""
    logger = logging.getLogger("pcim")
    level = logger.level
    yield
    logger.setLevel(level)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one line what was skipped and how to get it: every skip's reason says so."""
    skipped = collections.Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", []))
    told = "; ".join(f"{count} x {reason}" for reason, count in skipped.items()) or "nothing"
    terminalreporter.write_line(f"skipped on this machine: {told}")
