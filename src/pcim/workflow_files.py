"""Where the workflow lies: in the package, if that was installed from a wheel, else in the clone that the package is part of."""

from __future__ import annotations

from pathlib import Path


def workflow_folder() -> Path:
    """Return the folder that holds the Snakefile, ``workflow``, ``config``, ``envs`` and ``profiles``. It may be read-only.

    Raises
    ------
    FileNotFoundError
        When this package came without its workflow.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_workflow", package.parents[1]):
        if (folder / "Snakefile").is_file() and (folder / "workflow/rules").is_dir():
            return folder
    raise FileNotFoundError(f"{package}: the workflow is neither in the package nor beside it: install PCIM anew")


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
        raise ValueError(f"profile {name!r}: not one of those that come with PCIM: {', '.join(there)}")
    return workflow_folder() / "profiles" / name
