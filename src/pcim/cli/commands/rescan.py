"""``pcim rescan``: which pixels are not what was ingested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pcim.cli.terminal import AsJson, Configs, console, refuse
from pcim.core.workflow_files import start_command


def rescan(
    plates: Annotated[list[str] | None, typer.Argument(help="Plates to look at; all of them if none is named.")] = None,
    configfile: Configs = [Path("config/config.yaml")],  # noqa: B006 - typer copies it
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what changed, and change nothing.")] = False,
    as_json: AsJson = False,
    threads: Annotated[int, typer.Option(min=1, help="Fields read at once.")] = 4,
) -> None:
    """Compare every pixel of the plates with what was ingested, and let the next run do again what changed, and only that.

    Sources are only read.

    For example:
        pcim rescan --configfile my/config.yaml --dry-run
        pcim rescan --configfile my/config.yaml p0001 p0002

    Exit codes:
        0  nothing changed
        1  something changed, and is told
        2  a plate or the config cannot be read
    """
    from pcim.campaign.campaign import Campaign
    from pcim.campaign.input_tables import read_config
    from pcim.cli.output import show_scans
    from pcim.operations.rescan import make_rerun, scan_campaign, scans_as_dict

    try:
        campaign = Campaign.load(read_config(configfile), look_at_plates=False)
        scans = scan_campaign(campaign, plates or [], threads)
        taken = [] if dry_run else make_rerun(campaign, scans)
    except (ValueError, RuntimeError) as error:
        refuse(error)
    command = start_command(configfile)
    if as_json:
        typer.echo(json.dumps(scans_as_dict(campaign.name, scans, taken, command), indent=1))
    else:
        show_scans(console(), scans, taken, command)
    states = {scan.state for scan in scans}
    raise typer.Exit(2 if "unreadable" in states else int("changed" in states))
