"""Where the workflow lies: in the package if a wheel installed it, else in the clone around the package."""

from __future__ import annotations

import importlib.resources
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def package_folder() -> Path:
    """Return the folder of the package `pcim`."""
    return Path(str(importlib.resources.files("pcim"))).resolve()


def workflow_folder() -> Path:
    """Return the folder that holds the Snakefile, ``workflow``, ``config``, ``envs`` and ``profiles``. It may be read-only.

    Raises
    ------
    FileNotFoundError
        When this package came without its workflow.
    """
    package = package_folder()
    for folder in (package / "_workflow", package.parents[1]):
        if (folder / "Snakefile").is_file() and (folder / "workflow/rules").is_dir():
            return folder
    raise FileNotFoundError(f"{package}: the workflow is neither in the package nor beside it: install PCIM anew")


def workflow_parts() -> list[Path]:
    """Return the Snakefile, the rules and the scripts, relative to `workflow_folder`: what runs, and what a campaign keeps a copy of."""
    folder = workflow_folder()
    parts = [file for name in ("rules", "scripts") for file in (folder / "workflow" / name).rglob("*") if file.is_file()]
    return [Path("Snakefile"), *sorted(file.relative_to(folder) for file in parts if "__pycache__" not in file.parts)]


def snakefile() -> Path:
    """Return the Snakefile, for ``snakemake --snakefile``."""
    return workflow_folder() / "Snakefile"


def profile(name: str) -> Path:
    """Return the folder of a profile that comes with the workflow (``slurm``, ``slurm-plugin``), for ``snakemake --profile``.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    there = sorted(file.parent.name for file in workflow_folder().glob("profiles/*/profile.yaml"))
    if name not in there:
        raise ValueError(
            f"profile {name!r}: not found; a path, a folder here or in ~/.config/snakemake with profile.yaml in it, or one "
            f"that comes with PCIM: {', '.join(there)}"
        )
    return workflow_folder() / "profiles" / name


def find_profile(name: str) -> Path:
    """Return a profile as Snakemake finds it, a path, here or among the user's or the site's, else that which comes with the workflow.

    Raises
    ------
    ValueError
        When there is none.
    """
    from snakemake.cli import get_profile_dir

    return Path(name) if get_profile_dir(name) else profile(name)


def start_command(configfiles: Iterable[Path | str]) -> str:
    """Return what a person types here to start a campaign again: Snakemake where it finds a workflow here, else ``pcim report``."""
    files = [str(file) for file in configfiles]
    if any(Path(name).is_file() for name in ("Snakefile", "workflow/Snakefile")):
        return shlex.join(["snakemake", *(["--configfile", *files] if files else [])])
    return shlex.join(["pcim", "report", *(word for file in files for word in ("--configfile", file))])
