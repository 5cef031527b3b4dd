"""The workflow is found where it lies, and told where it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pcim.cli.main import app
from pcim.core import workflow_files

ROOT = Path(__file__).parents[3]
FIND = "from pcim.core.workflow_files import profile, snakefile; print(snakefile(), profile('slurm'))"


def test_in_a_clone_the_workflow_is_that_of_the_clone() -> None:
    assert workflow_files.snakefile() == ROOT / "Snakefile"
    assert workflow_files.profile("slurm-plugin") == ROOT / "profiles/slurm-plugin"


def test_a_profile_that_does_not_come_along_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"'\.\./envs': not found; .*: default, slurm, slurm-plugin"):
        workflow_files.profile("../envs")


def test_a_profile_of_ones_own_comes_before_that_which_comes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert workflow_files.find_profile("slurm") == ROOT / "profiles/slurm"
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/profile.yaml").write_text("cores: 1")
    assert workflow_files.find_profile("slurm").resolve() == tmp_path / "slurm"


def test_where_prints_what_snakemake_is_given() -> None:
    asked = [CliRunner().invoke(app, ["where", *words]) for words in ([], ["slurm"], ["../envs"])]
    assert [one.stdout.strip() for one in asked] == [str(ROOT / "Snakefile"), str(ROOT / "profiles/slurm"), ""]
    assert [one.exit_code for one in asked] == [0, 0, 2]
    assert "default, slurm, slurm-plugin" in asked[2].stderr


def test_the_command_that_starts_a_campaign_again_names_the_workflow_only_where_none_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert workflow_files.start_command(["my a.yaml", "b.yaml"]) == ("pcim report --configfile 'my a.yaml' --configfile b.yaml")
    assert workflow_files.start_command([]) == "pcim report"
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").touch()  # as snakedeploy leaves it
    assert workflow_files.start_command([]) == "snakemake"


def find(package: Path) -> subprocess.CompletedProcess[str]:
    """Ask a copy of the package that lies elsewhere."""
    command = [sys.executable, "-c", FIND]
    environment = {"PYTHONPATH": "."}
    return subprocess.run(command, cwd=package.parent, env=environment, capture_output=True, text=True, check=False)


def test_an_installed_package_uses_the_workflow_that_it_carries_and_says_when_it_has_none(tmp_path: Path) -> None:
    package = tmp_path / "site/pcim"
    (package / "core").mkdir(parents=True)
    for name in ("__init__.py", "core/__init__.py", "core/workflow_files.py"):
        shutil.copy(ROOT / "src/pcim" / name, package / name)
    assert f"FileNotFoundError: {package}: the workflow is neither" in find(package).stderr
    for folder in ("workflow", "profiles"):
        shutil.copytree(ROOT / folder, package / "_workflow" / folder)
    shutil.copy(ROOT / "Snakefile", package / "_workflow")
    shutil.copy(ROOT / "Snakefile", tmp_path)  # of something else: it has no rules
    assert find(package).stdout.split() == [
        str(package / "_workflow/Snakefile"),
        str(package / "_workflow/profiles/slurm"),
    ]
