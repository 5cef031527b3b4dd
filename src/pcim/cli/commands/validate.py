"""``pcim validate``: whether a campaign is right."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from pcim.cli.terminal import AsJson, Configs, console, refuse


def validate(
    configfile: Configs = [Path("config/config.yaml")],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """Check all that a campaign is made of, before anything runs, and name every fault in one message.

    Reads the config, the table of plates, plate maps, contracts and the plates' own metadata; loads every classifier on the CPU and
    compares digest and stored logits; counts what will be made against the budget and the free space. It takes no lock and writes
    nothing. Whether this machine or a cluster is able to run it, pcim doctor tells.

    For example:
        pcim validate --configfile my/config.yaml
        pcim validate --configfile my/config.yaml --json

    Exit codes:
        0  nothing is wrong
        2  something is, and is told
    """
    from pcim.campaign.input_tables import CampaignError
    from pcim.cli.setup_output import show_validation
    from pcim.operations import validate as stage

    told = stage.validate(configfile)
    if as_json:
        typer.echo(json.dumps(told.to_dict(), indent=1))
    elif told.faults:
        refuse(CampaignError(told.faults))
    else:
        show_validation(console(), told)
    raise typer.Exit(2 if told.faults else 0)
