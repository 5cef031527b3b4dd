"""The command line, ``pcim``: what a person asks of a campaign beside running it. Each command computes elsewhere and prints here."""

from __future__ import annotations

import json
import logging
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="pcim",
    help="What is asked of a campaign beside running it. A campaign is run by Snakemake: snakemake --configfile my/config.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines (docs/formats.md).")]


Configs = Annotated[
    list[Path],
    typer.Option("--configfile", help="The campaign's config, as for snakemake; again for another one over it."),
]


@app.callback()
def _quiet() -> None:
    logging.getLogger("pcim").setLevel(logging.ERROR)  # what is wrong is told by the command itself


def _console() -> Console:
    """Return where people read: as wide as their terminal, or, where it is piped, as wide as the text."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=1000)


def _refuse(error: Exception) -> NoReturn:
    typer.echo(f"pcim: {error}", err=True)
    raise typer.Exit(2)


@app.command()
def status(
    results: Annotated[Path, typer.Argument(help="The campaign's results, results/{campaign}.")],
    as_json: AsJson = False,
    all_plates: Annotated[bool, typer.Option("--all", help="Show the plates that are complete, too.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Ask again and again, until the campaign is complete.")
    ] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks of --watch.")] = 10,
) -> None:
    """Tell how far a campaign is, also while it runs: what is done, failed and why, waiting, how fast, until when.

    Reads what lies in the folder and changes nothing. Exit codes: 0 no job failed, 1 some job failed, 2 cannot be told.
    """
    from pcim.screens import show_status
    from pcim.status import campaign_status, plain

    while True:
        try:
            found = campaign_status(results)
        except ValueError as error:
            _refuse(error)
        if as_json:
            typer.echo(json.dumps(plain(found), indent=None if watch else 1))
        else:
            console = _console()
            if watch and console.is_terminal:
                console.clear()
            show_status(console, found, all_plates=all_plates)
        if not watch or found.is_complete:
            raise typer.Exit(int(any(one.state == "failed" for one in found.troubles)))
        time.sleep(every)


@app.command()
def rescan(
    plates: Annotated[list[str] | None, typer.Argument(help="Plates to look at; all of them if none is named.")] = None,
    configfile: Configs = [Path("config/config.yaml")],  # noqa: B006 - typer copies it
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what changed, and change nothing.")] = False,
    as_json: AsJson = False,
    threads: Annotated[int, typer.Option(min=1, help="Fields read at once.")] = 4,
) -> None:
    """Compare every pixel of the plates with what was ingested, and let the next run do again what changed, and only that.

    Sources are only read. Exit codes: 0 nothing changed, 1 something changed (and is told), 2 a plate or the config cannot be read.
    """
    from pcim.campaign import Campaign
    from pcim.inputs import read_config
    from pcim.rescan import make_rerun, plain, scan_campaign
    from pcim.screens import show_scans

    try:
        campaign = Campaign.load(read_config(configfile), look_at_plates=False)
        scans = scan_campaign(campaign, plates or [], threads)
        taken = [] if dry_run else make_rerun(campaign, scans)
    except (ValueError, RuntimeError) as error:
        _refuse(error)
    command = shlex.join(["snakemake", "--configfile", *map(str, configfile)])
    if as_json:
        typer.echo(json.dumps(plain(campaign.name, scans, taken, command), indent=1))
    else:
        show_scans(_console(), scans, taken, command)
    states = {scan.state for scan in scans}
    raise typer.Exit(2 if "unreadable" in states else int("changed" in states))


@app.command()
def doctor(
    configfile: Configs = [Path("config/config.yaml")],  # noqa: B006 - typer copies it
    profile: Annotated[
        str, typer.Option(help="The Snakemake profile of a cluster: slurm, or a path. Without it, this machine.")
    ] = "",
    no_job: Annotated[bool, typer.Option("--no-job", help="Submit no test jobs.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for each test job.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Tell whether a campaign will run here, and what to do where it will not: a line a check.

    Looks at Python and packages, the config, the results' folder, space and quota; with --profile at the cluster too, by a test job of
    a minute in each partition that is used. Exit codes: 0 nothing failed (warnings are no failures), 1 something did.
    """
    from pcim.doctor import examine, plain
    from pcim.screens import show_check

    console, found = _console(), []
    for check in examine(configfile, profile, with_jobs=not no_job, timeout_s=timeout):
        found.append(check)
        if not as_json:
            show_check(console, check)
    if as_json:
        typer.echo(json.dumps(plain(found), indent=1))
    raise typer.Exit(int(any(check.state == "failed" for check in found)))


if __name__ == "__main__":
    app()
