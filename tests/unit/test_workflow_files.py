"""The workflow is found where it lies, and told where it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pcim import workflow_files

ROOT = Path(__file__).parents[2]
FIND = "from pcim.workflow_files import profile, snakefile; print(snakefile(), profile('slurm'))"


def test_in_a_clone_the_workflow_is_that_of_the_clone() -> None:
    assert workflow_files.snakefile() == ROOT / "Snakefile"
    assert workflow_files.profile("slurm-plugin") == ROOT / "profiles/slurm-plugin"


def test_a_profile_that_does_not_come_along_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"'\.\./envs': not one of .*: default, slurm, slurm-plugin"):
        workflow_files.profile("../envs")


def find(package: Path) -> subprocess.CompletedProcess[str]:
    """Ask a copy of the package that lies elsewhere."""
    command = [sys.executable, "-c", FIND]
    environment = {"PYTHONPATH": "."}
    return subprocess.run(command, cwd=package.parent, env=environment, capture_output=True, text=True, check=False)


def test_an_installed_package_uses_the_workflow_that_it_carries_and_says_when_it_has_none(tmp_path: Path) -> None:
    package = tmp_path / "site/pcim"
    package.mkdir(parents=True)
    for name in ("__init__.py", "workflow_files.py"):
        shutil.copy(ROOT / "src/pcim" / name, package)
    assert f"FileNotFoundError: {package}: the workflow is neither" in find(package).stderr
    for folder in ("workflow", "profiles"):
        shutil.copytree(ROOT / folder, package / "_workflow" / folder)
    shutil.copy(ROOT / "Snakefile", package / "_workflow")
    shutil.copy(ROOT / "Snakefile", tmp_path)  # of something else: it has no rules
    assert find(package).stdout.split() == [
        str(package / "_workflow/Snakefile"),
        str(package / "_workflow/profiles/slurm"),
    ]
