"""``pcim where``: the workflow that this package carries."""

from __future__ import annotations

from typing import Annotated

import typer

from pcim.cli.terminal import refuse
from pcim.core import workflow_files


def where(
    profile: Annotated[str, typer.Argument(help="A profile that comes with it: slurm or slurm-plugin.", show_default=False)] = "",
) -> None:
    """Print where the workflow lies that this package carries: its Snakefile or, asked for one, the folder of a profile.

    Both are read in place and stay as they are: a profile is copied to be changed.

    For example:
        pcim where slurm
        cp -r "$(pcim where slurm)" .
        snakemake --snakefile "$(pcim where)" --configfile my/config.yaml --profile ./slurm

    Exit codes:
        0  printed
        2  no profile of that name comes with it
    """
    try:
        found = workflow_files.profile(profile) if profile else workflow_files.snakefile()
    except (ValueError, FileNotFoundError) as error:
        refuse(error)
    typer.echo(found)
