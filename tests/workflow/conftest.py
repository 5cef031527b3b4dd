"""Run the real workflow, by real Snakemake, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from makers import write_campaign

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"


@dataclass
class Run:
    """A campaign in a folder, with the command that works on it."""

    folder: Path
    values: dict[str, Any]

    def command(self, *arguments: str) -> list[str]:
        config = self.folder / "config.yaml"
        config.write_text(yaml.safe_dump(self.values))
        snakefile = ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(self.folder)]
        kept = ["--nolock", "--rerun-incomplete", "--cores", "2"]  # profiles/default, which --directory does not reach
        return [sys.executable, "-m", "snakemake", *snakefile, *kept, "--configfile", str(config), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        python_path = os.pathsep.join([str(REPOSITORY / "src"), str(TESTS)])
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return os.environ | {"PYTHONPATH": python_path, "PATH": path}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, succeeds: bool = True) -> str:
        process = self.start(*arguments)
        output = process.communicate(timeout=600)[0]
        assert (process.returncode == 0) == succeeds, output
        return output

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.values["campaign"]

    def maps(self) -> dict[str, bytes]:
        """Every file of every plate of maps."""
        root = self.results / "maps"
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    def make(name: str = "campaign", **settings: Any) -> Run:
        folder = tmp_path / name
        folder.mkdir()
        return Run(folder, write_campaign(tmp_path / "inputs", **settings))

    (tmp_path / "inputs").mkdir()
    return make
