"""The environments agree: locks, conda files, profiles."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ON_CONDA = {"dask-core": "dask", "matplotlib-base": "matplotlib", "pytorch": "torch"}


def lock(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {package.lower().replace("_", "-"): version for package, version in pins}


@pytest.mark.parametrize("file", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda file: file.name)
def test_every_pin_of_an_environment_is_that_of_the_lock(file: Path) -> None:
    pins = [entry.split("=") for entry in yaml.safe_load(file.read_text())["dependencies"] if isinstance(entry, str)]
    versions = {ON_CONDA.get(pin[0], pin[0]): pin[1] for pin in pins if len(pin) == 2 and pin[0] != "python"}
    assert len(versions) > 8
    assert versions.items() <= lock("run.txt").items()


def test_what_runs_is_what_is_tested() -> None:
    assert lock("run.txt").items() <= lock("dev.txt").items()
    assert lock("run.txt")["torch"] == "2.13.0"  # no build suffix: pip decides between CPU and CUDA


def test_every_rule_names_an_environment_that_exists_and_a_log() -> None:
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        rules = re.split(r"^rule ", file.read_text(), flags=re.M)[1:]
        for rule in rules:
            environment = re.search(r'conda:\s+"([^"]+)"', rule)
            assert environment is not None, rule[:40]
            assert (file.parent / environment[1]).resolve().is_file()
            for directive in ("log:", "benchmark:", "threads:", "resources:", "revision="):
                assert directive in rule, f"{file.name}: no {directive}"


def test_the_profiles_share_no_key_and_only_slurm_names_an_executor() -> None:
    default, slurm = (
        yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in ("default", "slurm")
    )
    assert default
    assert not default.keys() & slurm.keys()
    assert "executor" not in default
    assert slurm["executor"] == "slurm"


@pytest.mark.workflow
def test_the_slurm_profile_resolves_from_a_clone_and_chooses_slurm() -> None:
    script = (
        "import sys; from snakemake.cli import get_argument_parser, parse_args\n"
        "parser, args = parse_args(sys.argv[1:])\n"
        "print(args.executor, args.cores, args.retries)"
    )
    command = [sys.executable, "-c", script, "--dry-run", "--profile", "slurm"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.split()[0] == "slurm", output.stdout + output.stderr
    assert "Using profiles slurm and workflow specific profile profiles/default" in output.stderr
