"""``pcim status``: how far a campaign is."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from pcim.cli.terminal import AsJson, Results, console, refuse


def status(
    results: Results,
    as_json: AsJson = False,
    all_plates: Annotated[bool, typer.Option("--all", help="Show the plates that are complete, too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again and again, until the campaign is complete.")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks of --watch.")] = 10,
) -> None:
    """Tell how far a campaign is, also while it runs: what is done, failed and why, waiting, how fast, until when.

    Reads what lies in the folder and changes nothing.

    For example:
        pcim status results/demo
        pcim status results/demo --watch
        pcim status results/demo --json

    Exit codes:
        0  no job failed
        1  some job failed
        2  it cannot be told: there is no such campaign
    """
    from pcim.cli.output import show_status
    from pcim.operations.status import campaign_status, status_as_dict

    while True:
        try:
            found = campaign_status(results)
        except ValueError as error:
            refuse(error)
        if as_json:
            typer.echo(json.dumps(status_as_dict(found), indent=None if watch else 1))
        else:
            screen = console()
            if watch and screen.is_terminal:
                screen.clear()
            show_status(screen, found, all_plates=all_plates)
        if not watch or found.is_complete:
            raise typer.Exit(int(any(one.state == "failed" for one in found.troubles)))
        time.sleep(every)
