"""The environments agree: locks, conda files, profiles."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[3]
ON_CONDA = {
    "dask-core": "dask",
    "matplotlib-base": "matplotlib",
    "pytorch": "torch",
    "python-xxhash": "xxhash",
    "universal_pathlib": "universal-pathlib",
}


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


@pytest.mark.parametrize("file", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda file: file.name)
def test_conda_alone_makes_an_environment_from_conda_forge(file: Path) -> None:
    # Snakemake copies the file elsewhere before conda reads it, so a relative path in a pip section would point nowhere,
    # and pip refuses options such as --no-deps there.
    content = yaml.safe_load(file.read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    assert all(isinstance(entry, str) for entry in content["dependencies"])


def test_a_script_in_a_conda_environment_finds_this_package_where_snakemake_looks() -> None:
    code = "from snakemake.common import get_snakemake_searchpaths as paths; print(*paths(), sep='\\n')"
    # A process of its own, elsewhere: pytest puts src on the path by itself.
    output = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert any((Path(path) / "pcim/__init__.py").is_file() for path in output.stdout.splitlines())


IMPORTED = """
import importlib, sys
from importlib.metadata import packages_distributions
for name in sys.argv[1:]:
    importlib.import_module(name)
loaded = {name.partition(".")[0] for name in sys.modules}
print(*{dist for name, dists in packages_distributions().items() if name in loaded for dist in dists})
"""


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("environment", "modules"),
    [
        ("tables", ["pcim.stages.ingest", "pcim.stages.aggregate.job", "pcim.stages.report"]),
        (
            "torch",
            [
                "pcim.stages.classify",
                "pcim.stages.attribute.job",
                "captum.attr",
                "pcim.stages.evaluate",
                "pcim.interventions.experiment",
            ],
        ),
    ],
)
def test_what_a_stage_imports_and_we_ask_for_is_in_its_environment(environment: str, modules: list[str]) -> None:
    command = [sys.executable, "-c", IMPORTED, *modules]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.lower().split()
    asked = {re.split(r"[\[=]", line)[0].lower() for line in (ROOT / "requirements/run.in").read_text().splitlines()}
    entries = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())["dependencies"]
    named = {ON_CONDA.get(entry.split("=")[0], entry.split("=")[0]) for entry in entries}
    brought = {"matplotlib", "jinja2"} if environment == "torch" else set()  # by captum and by torch
    assert (asked & set(imported)) - named - brought == set()


def test_what_runs_is_what_is_tested() -> None:
    assert lock("run.txt").items() <= lock("dev.txt").items()
    assert lock("run.txt")["torch"] == "2.13.0"  # no build suffix: pip decides between CPU and CUDA


def test_the_lowest_versions_are_those_that_the_package_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = lock("lowest.txt")
    for text in project["dependencies"]:
        asked = Requirement(text)
        (bound,) = [Version(one.version) for one in asked.specifier if one.operator == ">="]
        pin = Version(lowest[asked.name.lower().replace("_", "-")])
        assert pin in asked.specifier, text
        assert pin.release[: len(bound.release)] == bound.release, f"{text}: {pin} is not the lowest"


def test_continuous_integration_tries_every_python_that_the_package_names_and_the_lowest_versions() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    tried = [(one["python"], one["requirements"]) for one in jobs["versions"]["strategy"]["matrix"]["include"]]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = [found[1] for one in classifiers if (found := re.search(r"Python :: (3\.\d+)$", one))]
    assert [("3.11", "lowest"), *((python, "run") for python in named if python != "3.11")] == sorted(tried)
    assert jobs["ci"]["steps"][1]["with"]["python-version"] == "3.11"


def test_every_rule_names_an_environment_that_exists_and_a_log() -> None:
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        rules = re.split(r"^rule ", file.read_text(), flags=re.M)[1:]
        for rule in rules:
            environment = re.search(r'conda:\s+"([^"]+)"', rule)
            assert environment is not None, rule[:40]
            assert (file.parent / environment[1]).resolve().is_file()
            for directive in ("log:", "benchmark:", "threads:", "resources:", "revision="):
                assert directive in rule, f"{file.name}: no {directive}"


def profile(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()))


@pytest.mark.parametrize(("name", "executor"), [("slurm", "pcim-slurm"), ("slurm-plugin", "slurm")])
def test_the_profiles_share_no_key_with_the_one_that_always_loads_which_names_no_executor(name: str, executor: str) -> None:
    assert profile("default")
    assert not profile("default").keys() & profile(name).keys()
    assert "executor" not in profile("default")
    assert profile(name)["executor"] == executor
    asked = {rule: dict(asks) for rule, asks in profile(name)["set-resources"].items()}
    for asks in asked.values():
        asks.pop("nodes", None)  # which the executor of our own sets by itself
    assert asked == profile("slurm")["set-resources"]
    assert profile(name)["set-threads"] == profile("slurm")["set-threads"]


def test_the_profile_of_clusters_sets_what_the_executor_has_by_itself() -> None:
    from snakemake_executor_plugin_pcim_slurm import ExecutorSettings

    settings = ExecutorSettings()
    for key, value in profile("slurm").items():
        if key.startswith("pcim-slurm-"):
            assert getattr(settings, key.removeprefix("pcim-slurm-").replace("-", "_")) == value


def test_the_official_plugin_is_no_part_of_the_environment() -> None:
    # Merely installed it asks slurmctld at every start of Snakemake, which takes 11 s when that is down.
    assert not any("plugin-slurm" in package for file in ("run.txt", "dev.txt") for package in lock(file))


def test_the_slurm_profile_resolves_from_a_clone_and_chooses_slurm() -> None:
    script = (
        "import sys; from snakemake.cli import get_argument_parser, parse_args\n"
        "parser, args = parse_args(sys.argv[1:])\n"
        "print(args.executor, args.cores, args.retries, args.nolock)"
    )
    command = [sys.executable, "-c", script, "--dry-run", "--profile", "slurm"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    chosen = output.stdout.split()
    assert (chosen[0], chosen[-1]) == ("pcim-slurm", "True"), output.stdout + output.stderr
    assert "Using profiles slurm and workflow specific profile profiles/default" in output.stderr
