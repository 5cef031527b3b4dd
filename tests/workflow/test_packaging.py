"""The package as others get it: a wheel that carries the workflow, and the workflow as a module of another one."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from email import message_from_bytes
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
import pytest
import yaml
from borrowed_environment import lent_python
from planted_campaign import write_campaign
from workflow_runs import HELPERS, REPOSITORY

import pcim

pytestmark = pytest.mark.workflow

CARRIED = ("Snakefile", "workflow", "config", "envs", "profiles", "requirements/run.txt")
TIMEOUT_S = 500


def call(*words: str | Path, cwd: Path, **environment: str) -> str:
    """Run a program that must succeed, and return all that it says."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(HELPERS), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files_of(folder: Path) -> set[Path]:
    found = {folder} if folder.is_file() else {path for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("built")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own: the wheel is installed in it, and all that the package needs is lent by this environment."""
    python = lent_python(tmp_path_factory.mktemp("installed"))
    wheel = next(built.glob("*.whl"))
    call(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=built)
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    for path in sorted(site.glob("pcim/**/*")):
        path.chmod(path.stat().st_mode & ~0o222)
    return python


def test_a_folder_of_wheels_is_enough_where_no_index_can_be_reached(tmp_path: Path) -> None:
    """What others make is lent: pip finds each pin of the lock there, and that pcim's own bounds allow it."""
    pip = (lent_python(tmp_path / "venv"), "-m", "pip", "--no-input")
    wheel = ("--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "wheels")
    call(*pip, "wheel", *wheel, ".", cwd=REPOSITORY)
    lock = REPOSITORY / "requirements/run.txt"
    folder = ("--no-index", "--find-links", "wheels")
    told = call(*pip, "install", *folder, "--requirement", lock, "pcim", cwd=tmp_path)
    assert f"Successfully installed pcim-{pcim.__version__}\n" in told


def test_a_wheel_holds_the_package_and_its_workflow_and_nothing_else(built: Path) -> None:
    sources = {str(path.relative_to(REPOSITORY / "src")) for path in files_of(REPOSITORY / "src")}
    workflow = {f"pcim/_workflow/{path.relative_to(REPOSITORY)}" for name in CARRIED for path in files_of(REPOSITORY / name)}
    with ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        about = {name for name in names if name.startswith(f"pcim-{pcim.__version__}.dist-info/")}
        metadata = message_from_bytes(wheel.read(f"pcim-{pcim.__version__}.dist-info/METADATA"))
    assert names - about == sources | workflow
    assert {"pcim/py.typed", "pcim/_workflow/profiles/slurm/profile.yaml"} <= names
    assert metadata["Version"] == pcim.__version__ == yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"]
    for licence in metadata.get_all("License-File"):
        assert f"pcim-{pcim.__version__}.dist-info/licenses/{licence}" in about
    assert "LICENSE" in metadata.get_all("License-File")


def test_an_sdist_holds_what_makes_the_wheel_and_its_papers(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for name in ("src", *CARRIED):
        assert {str(path.relative_to(REPOSITORY)) for path in files_of(REPOSITORY / name)} <= names
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders <= {
        "src",
        "workflow",
        "config",
        "envs",
        "profiles",
        "requirements",
        "docs",
        "containers",
        "LICENCES",
    }
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "hatch_build.py"} <= names


def test_an_editable_install_uses_the_workflow_of_the_clone(tmp_path: Path) -> None:
    call(sys.executable, "-c", f"from hatchling.build import build_editable as b; b({str(tmp_path)!r})", cwd=REPOSITORY)
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert [name for name in wheel.namelist() if "dist-info" not in name] == ["_pcim.pth"]
        assert wheel.read("_pcim.pth").decode() == str(REPOSITORY / "src")


def test_an_installed_package_runs_its_workflow_in_an_empty_folder_and_writes_only_there(python: Path, tmp_path: Path) -> None:
    inputs, folder = tmp_path / "inputs", tmp_path / "campaign"
    inputs.mkdir()
    folder.mkdir()
    values = write_campaign(inputs, plates=1)
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    site = next(python.parents[1].glob("lib/python*/site-packages/pcim"))

    def digest() -> str:
        return hashlib.sha256(b"".join(str(p).encode() + p.read_bytes() for p in sorted(files_of(site)))).hexdigest()

    def where(*words: str) -> str:
        return call(python.parent / "pcim", "where", *words, cwd=folder).strip()

    before, snakefile = digest(), where()
    assert snakefile == str(site / "_workflow/Snakefile")
    run = (python, "-m", "snakemake", "--snakefile", snakefile, "--configfile", "config.yaml")
    told = call(*run, "--profile", where("slurm"), "--dry-run", cwd=folder)
    assert f"Using profiles {site}/_workflow/profiles/slurm and workflow specific profile {site}/_workflow/profiles/default" in told
    assert not (folder / "results").exists()
    call(*run, "--until", "ingest", cwd=folder)
    fields = pd.read_parquet(folder / f"results/{values['campaign']}/ingest/plate1/fields.parquet")
    assert len(fields) > 0
    assert digest() == before
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "results", ".snakemake"}


# What `snakedeploy deploy-workflow https://github.com/pcim/pcim . --tag v1` (0.17.1) writes, after a handler of the user's own.
DEPLOYED = """
configfile: "config/config.yaml"


onstart:
    open("handled", "x").close()


onsuccess:
    open("succeeded", "x").close()


module pcim:
    snakefile:
        github("pcim/pcim", path="workflow/Snakefile", tag="v1")
    config:
        config


use rule * from pcim
"""


def git(*words: str, cwd: Path) -> None:
    call("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *words, cwd=cwd)


def test_the_workflow_is_a_module_of_one_that_snakedeploy_deploys(tmp_path: Path) -> None:
    inputs, repository, folder = (tmp_path / name for name in ("inputs", "repository", "deployed"))
    inputs.mkdir()
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(REPOSITORY / name, repository / name)
    shutil.copy(REPOSITORY / "Snakefile", repository)
    git("init", "--quiet", cwd=repository)
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message=all", cwd=repository)
    git("tag", "v1", cwd=repository)
    values: dict[str, Any] = write_campaign(inputs, plates=1)
    for name, text in (("config/config.yaml", yaml.safe_dump(values)), ("workflow/Snakefile", DEPLOYED)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    environment = {
        "PYTHONPATH": f"{REPOSITORY / 'src'}:{HELPERS}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_COUNT": "1",  # what is asked of GitHub is answered from here
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/pcim/pcim",
    }
    run = (sys.executable, "-m", "snakemake", "--cores", "2", "--nolock")
    told = call(*run, "--dry-run", "--quiet", "rules", cwd=folder, **environment)
    assert {"ingest", "classify", "attribute", "report"} <= set(told.split())
    assert not (folder / "results").exists()
    call(*run, "--until", "ingest", cwd=folder, **environment)
    results = folder / "results" / values["campaign"]
    assert (folder / "handled").exists()
    assert (folder / "succeeded").exists()
    for made in ("ingest/plate1/fields.parquet", "plan/plate1.json", "campaign.json", ".lock"):
        assert (results / made).stat().st_size > 0, made
