"""The two containers are the same one, and their steps install a package that runs. No engine is asked: neither file is built here."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from borrowed_environment import lent_python

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "containers/Dockerfile").read_text()
DEFINITION = (ROOT / "containers/pcim.def").read_text()
SECTIONS = {"arguments", "files", "post", "environment", "runscript", "test", "help"}


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in DOCKERFILE.splitlines() if line.startswith(f"{name} ")]


def sections() -> dict[str, list[str]]:
    """Return the definition's sections: name -> lines."""
    _, *parts = re.split(r"^%(\w+)\n", DEFINITION, flags=re.MULTILINE)
    return {name: [line.strip() for line in text.splitlines() if line.strip()] for name, text in zip(parts[::2], parts[1::2], strict=True)}


def copied() -> list[str]:
    return [line.split()[0] for line in sections()["files"]]


def test_both_files_start_from_the_same_base_copy_the_same_files_and_take_the_same_steps() -> None:
    header = dict(line.split(": ") for line in DEFINITION.partition("#")[0].split("\n") if line)
    bases = [words.split()[0] for words in instructions("FROM")]
    assert header == {"Bootstrap": "docker", "From": bases[0]}
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])  # no tag that moves to another Python
    assert sections().keys() == SECTIONS
    taken = [word for words in instructions("COPY") if "--from" not in words for word in words.split()[:-1]]
    assert sorted(taken) == sorted(copied())
    index = sections()["arguments"][0].partition("=")[2]
    assert instructions("ARG") == [f"TORCH_INDEX={index}"]
    steps = [*instructions("RUN"), *sections()["post"]]
    installs = [words.replace("$TORCH_INDEX", "?").replace("{{ torch_index }}", "?").removeprefix("/src/") for words in steps]
    assert installs.count('containers/install.sh /src /opt/pcim "?"') == 2


def test_the_context_holds_what_is_copied_and_the_image_is_no_roots() -> None:
    ignored = [line for line in (ROOT / "containers/Dockerfile.dockerignore").read_text().splitlines() if line[0] != "#"]
    assert ignored == ["*", *(f"!{name}" for name in copied()), "**/__pycache__"]
    assert instructions("USER") == ["1000"]
    assert not re.search(r"^(ADD|.*(token|password|secret|curl|wget))", DOCKERFILE + DEFINITION, flags=re.M | re.I)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the steps on a copy of the files. What pip would download is lent by this environment: pip finds every pin of the lock there."""
    source, prefix = tmp_path_factory.mktemp("src"), tmp_path_factory.mktemp("opt")
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    lent_python(prefix)
    step = [source / "containers/install.sh", source, prefix, "https://nowhere.invalid/simple"]
    offline = {"PIP_NO_INDEX": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(step, cwd="/", env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)
    return prefix


@pytest.mark.workflow
def test_the_steps_install_a_package_with_its_workflow_that_passes_the_definitions_own_test(prefix: Path) -> None:
    (said,) = sections()["environment"]
    where = {"PATH": "/usr/bin:/bin"}
    script = "\n".join(["set -eu", said.replace("/opt/pcim", str(prefix)), "command -v pcim", *sections()["test"]])
    done = subprocess.run(["/bin/sh", "-c", script], cwd="/", env=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(prefix / "bin/pcim")
    installed = next(prefix.glob("lib/python*/site-packages/pcim"))
    assert (installed / "_workflow/Snakefile").is_file()


@pytest.mark.workflow
def test_the_run_script_passes_words_on_and_nothing_needs_a_home(prefix: Path, tmp_path: Path) -> None:
    (script,) = sections()["runscript"]
    caches = dict(word.split("=", 1) for word in shlex.split(instructions("ENV")[0]))
    where = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": "/proc/none", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert caches["XDG_CACHE_HOME"].startswith("/tmp/")
    snakefile = next(prefix.glob("lib/python*/site-packages/pcim/_workflow/Snakefile"))
    words = ["python", "-m", "snakemake", "--snakefile", str(snakefile), "--dry-run"]
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *words], cwd=tmp_path, env=where, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        f"Workflow defines configfile config/config.yaml but it is not present or accessible (full checked path: {tmp_path}"
        in done.stdout + done.stderr
    )
