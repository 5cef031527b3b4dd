"""What the commands share: their options, their console, and how they refuse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console


def campaigns(incomplete: str) -> list[str]:
    """Return the folders of campaigns below ``results`` here, for a shell that completes."""
    from pcim.campaign.layout import RESULTS, job_list_file  # a shell that completes waits for what is imported

    found = sorted(file.parent.as_posix() for file in RESULTS.glob(f"*/{job_list_file(Path()).name}"))
    return [folder for folder in found if folder.startswith(incomplete)]


Results = Annotated[
    Path,
    typer.Argument(help="The campaign's results, results/{campaign}.", autocompletion=campaigns, show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines (docs/formats.md).")]
Configs = Annotated[
    list[Path],
    typer.Option("--configfile", help="The campaign's config, as for snakemake; again for another one over it."),
]


def console() -> Console:
    """Return where people read: as wide as their terminal or COLUMNS says, or, where it is piped, as wide as the text."""
    from rich.console import Console

    made = Console(highlight=False, markup=False, emoji=False)
    return (
        made
        if made.is_terminal or os.environ.get("COLUMNS", "").isdecimal()
        else Console(highlight=False, markup=False, emoji=False, width=1000)
    )


def refuse(error: Exception) -> NoReturn:
    """Tell what cannot be done, and end with exit code 2."""
    typer.echo(f"pcim: {error}", err=True)
    raise typer.Exit(2)
