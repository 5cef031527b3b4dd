"""Run the real workflow, by real Snakemake, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from planted_campaign import write_campaign

REPOSITORY = Path(__file__).parents[2]
HELPERS = REPOSITORY / "tests/helpers"


def hear_interrupts() -> None:
    """Let the process be interrupted as a person's would, also where these tests run in the background of a shell, which is deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
        python_path = os.pathsep.join([str(REPOSITORY / "src"), str(HELPERS)])
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return os.environ | {"PYTHONPATH": python_path, "PATH": path}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake in a session of its own; what it and its children say goes to a file that outlives it."""
        with self.output.open("w") as output:
            return subprocess.Popen(
                self.command(*arguments),
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=hear_interrupts,  # noqa: PLW1509 - this process has one thread
            )

    def __call__(self, *arguments: str, succeeds: bool = True) -> str:
        code = self.start(*arguments).wait(timeout=600)
        output = self.output.read_text()
        assert (code == 0) == succeeds, output
        return output

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.values["campaign"]

    def maps(self) -> dict[str, bytes]:
        """Every file of every plate of maps."""
        root = self.results / "maps"
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def new_run(folder: Path, **settings: Any) -> Run:
    """Make inputs and an empty folder for a run on them."""
    inputs, place = folder / "inputs", folder / "campaign"
    inputs.mkdir()
    place.mkdir()
    return Run(place, write_campaign(inputs, **settings))
