"""Folders of their own for the runs of real Snakemake."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from workflow_runs import Run, new_run


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    return functools.partial(new_run, tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run that nothing disturbed. Tests look at it and leave it as it is."""
    run = new_run(tmp_path_factory.mktemp("undisturbed"), plates=1)
    run()
    return run
