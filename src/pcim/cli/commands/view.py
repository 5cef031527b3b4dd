"""``pcim view``: a plate and its maps in a browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcim.cli.terminal import Results, refuse

if TYPE_CHECKING:
    from pcim.operations.viewer.plate_view import ViewerPlate
    from pcim.operations.viewer.server import Server


def plates(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the plates of the campaign that the command names so far, for a shell that completes."""
    from pcim.campaign.job_list import read_job_list

    try:
        job_list = read_job_list(Path(ctx.params.get("results") or ""))
    except ValueError:
        return []
    return [plate for plate in job_list.plates if plate.startswith(incomplete)]


def view(  # noqa: PLR0913, PLR0917 - a parameter an option
    results: Results,
    plate: Annotated[str, typer.Option(help="The plate; without it the first that has maps.", autocompletion=plates)] = "",
    model: Annotated[list[str] | None, typer.Option(help="Show maps of this classifier only; may be given again.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Show maps by this method only; may be given again.")] = None,
    field: Annotated[str, typer.Option(help="The field to begin with, its path in the plate: A/1/0.")] = "",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open no browser.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 is any that is free.")] = 0,
) -> None:
    """Show a plate and its maps in the browser, images beside or below the maps, until Ctrl-C.

    Works without internet, also while a campaign runs, and changes nothing. Only this machine is answered, and only who has the
    address that is printed. From another machine: ssh -L 8765:127.0.0.1:8765 HOST, with --no-browser --port 8765 there.
    Images on a server (s3, https) are not fetched: their maps are shown without them.

    For example:
        pcim view results/demo
        pcim view results/demo --plate bbbc010 --method pcim --field A/01/0
        pcim view results/demo --no-browser --port 8765

    Exit codes:
        0  it was shown, and ended by Ctrl-C
        2  it cannot be shown: no such campaign or plate, no maps yet, or the port is taken
    """
    from pcim.operations.viewer.plate_view import find_view, shared_files
    from pcim.operations.viewer.server import Server

    try:
        found = find_view(results, plate, model or [], method or [])
        server = Server(shared_files(found, field), port)
    except (ValueError, OSError) as error:
        refuse(error)
    try:
        with server:
            _serve(server, found, opens=not no_browser and _has_screen())
    except KeyboardInterrupt:
        typer.echo("")


def _serve(server: Server, found: ViewerPlate, *, opens: bool) -> None:
    """Tell where the page is, open it where it is to be opened, and serve for ever."""
    count = f"{len(found.maps)} plate{'s' * (len(found.maps) > 1)} of maps"
    typer.echo(f"Plate {found.plate} of campaign {found.campaign}, {count}. {found.why}".strip())
    typer.echo(f"{server.address}\nCtrl-C ends it.")
    sys.stdout.flush()
    if opens:
        webbrowser.open(server.address)
    server.serve_forever()


def _has_screen() -> bool:
    """Tell whether a browser has a screen here: one in a terminal would take it, and cannot draw."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
