"""The documentation's commands and Python, run in the order of each page in a folder that looks like a clone; and the files that a
campaign leaves, each of them named by docs/formats.md.

What is replaced in a command is SUBSTITUTIONS and nothing else. What a reader has made by then is in the folder: the environment, `my/`
with plates, a classifier and a config, and that campaign's results (the planted one of the tests), which also stand for the example's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented_formats import faults_of
from documents import PAGES, PYTHON, ROOT, SHELL, blocks_of

pytestmark = pytest.mark.workflow

SUBSTITUTIONS = [
    # Whole runs are made by the fixture and by other tests of this folder: here the same command only plans.
    (re.compile(r"^(snakemake (?!.*--dry-run)[^#\n]*)"), r"\1 --dry-run "),
    # The recipes are read and printed; `make test` runs in CI, and would run this test.
    (re.compile(r"^make "), "make --dry-run "),
    # The planted classifier is code of the tests' own.
    (re.compile(r"^(pcim reproduce results/my_screen [^#\n]*)"), r"\1 --trust planted_campaign "),
    # A usage line of docs/cli.md.
    (re.compile(r"^(pcim [a-z-]+) .*\[OPTIONS\].*"), r"\1 --help"),
]
NAMES = """
import torch
from planted_campaign import SIZE, spot_detector, spot_weights

network = classifier = spot_detector()
network.load_state_dict(spot_weights())
images = torch.randn(2, 2, *SIZE)
logits = network(images).detach()
"""
"""What a page's Python may take as given: the reader's own network and images."""


@pytest.fixture(scope="module")
def clone(undisturbed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone in which a reader has come so far."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in {Path(file).parts[0] for file in listed}:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(undisturbed.folder.parent / "inputs", folder / "my")
    config = yaml.safe_dump(undisturbed.values).replace(str(undisturbed.folder.parent / "inputs"), "my")
    (folder / "my/config.yaml").write_text(config)
    table = folder / "my/plates.tsv"
    table.write_text(table.read_text().replace(str(undisturbed.folder.parent / "inputs"), "my"))
    shutil.copytree(undisturbed.results, folder / "results/planted", copy_function=shutil.copy)
    (folder / "results/my_screen").symlink_to("planted")
    shutil.copytree(undisturbed.results, folder / "results/demo", copy_function=shutil.copy)
    maps = folder / "results/demo/maps"
    shutil.copytree(maps / "spots/plate1_pcim.zarr/A/2/0", maps / "bbbc010_columns/bbbc010_pcim.zarr/C/09/0")
    return folder


def run(folder: Path, *command: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests/helpers")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": python_path, "EDITOR": "true"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def substituted(line: str) -> str:
    for pattern, text in SUBSTITUTIONS:
        line = pattern.sub(text, line)
    return line


def with_blocks(languages: set[str]) -> list[Any]:
    """Return the pages that have blocks of these languages to be run."""
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if any(block.language in languages and not block.test for block in blocks_of(page))
    ]


@pytest.mark.parametrize("page", with_blocks(SHELL))
def test_the_commands_of_a_page_run_in_its_order(clone: Path, page: Path) -> None:
    for block in blocks_of(page):
        if block.language in SHELL and not block.test:
            run(clone, "bash", "-euo", "pipefail", "-c", "\n".join(substituted(line) for line in block.commands))


@pytest.mark.parametrize("page", with_blocks(PYTHON))
def test_the_python_of_a_page_runs_in_its_order(clone: Path, page: Path) -> None:
    blocks = [block.text for block in blocks_of(page) if block.language in PYTHON and not block.test]
    run(clone, sys.executable, "-c", "\n".join([NAMES, *blocks]))


def test_every_file_column_and_attribute_of_a_campaign_is_named_by_formats(undisturbed: Any) -> None:
    assert faults_of(undisturbed.results, {"label"}) == []
