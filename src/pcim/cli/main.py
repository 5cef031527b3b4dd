"""The command line ``pcim``. Each command is a module in `pcim.cli.commands`."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Annotated

import typer

from pcim import __version__
from pcim.cli.commands.adopt import adopt
from pcim.cli.commands.doctor import doctor
from pcim.cli.commands.init import init
from pcim.cli.commands.reproduce import reproduce
from pcim.cli.commands.rescan import rescan
from pcim.cli.commands.stages import STAGES
from pcim.cli.commands.status import status
from pcim.cli.commands.validate import validate
from pcim.cli.commands.view import view
from pcim.cli.commands.where import where

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="pcim",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Before a run": (adopt, init, validate, doctor, where),
    "A run, by Snakemake: each stage with all that it needs": STAGES,
    "During a run, and after": (status, view, rescan, reproduce),
}
"""The panels of ``pcim --help`` and their commands, both in the order of the work. A command's docstring is its help."""


def help_of(command: Callable[..., None]) -> str:
    """Return the help of a command: its docstring with each paragraph on one line, which the terminal breaks. Indented lines stay."""
    text, lines = inspect.cleandoc(command.__doc__ or ""), [""]
    for line in text.splitlines():
        if line and not line.startswith(" ") and lines[-1] and not lines[-1].startswith(" "):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines[1:])


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def pcim(
    version: Annotated[  # noqa: ARG001 - its callback tells it
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Tell what an image classifier looks at: from OME-Zarr plates and a trained classifier to maps, tables and a report.

    A command's own help, pcim COMMAND --help, has its options, examples and exit codes.
    """
    logging.getLogger("pcim").setLevel(logging.ERROR)  # what is wrong is told by the command itself


for _panel, _commands in COMMANDS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel, help=help_of(_command))(_command)


if __name__ == "__main__":
    app()
