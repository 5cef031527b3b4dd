"""``pcim doctor``: whether a campaign will run here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pcim.cli.terminal import AsJson, Configs, console


def doctor(
    configfile: Configs = [Path("config/config.yaml")],  # noqa: B006 - typer copies it
    profile: Annotated[str, typer.Option(help="The Snakemake profile of a cluster: slurm, or a path. Without it, this machine.")] = "",
    no_job: Annotated[bool, typer.Option("--no-job", help="Submit no test jobs.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for each test job.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Tell whether a campaign will run here, and what to do where it will not: a line a check.

    Looks at Python and packages, the config, the results' folder, space and quota; with --profile at the cluster too, by a test job of
    a minute in each partition that is used.

    For example:
        pcim doctor --configfile my/config.yaml
        pcim doctor --configfile my/config.yaml --profile slurm

    Exit codes:
        0  nothing failed; warnings are no failures
        1  something failed
    """
    from pcim.cli.output import show_check
    from pcim.operations.doctor.doctor import checks_as_dict, examine

    screen, found = console(), []
    for check in examine(configfile, profile, with_jobs=not no_job, timeout_s=timeout):
        found.append(check)
        if not as_json:
            show_check(screen, check)
    if as_json:
        typer.echo(json.dumps(checks_as_dict(found), indent=1))
    raise typer.Exit(int(any(check.state == "failed" for check in found)))
