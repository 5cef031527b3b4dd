"""``pcim reproduce``: what comes of making maps again."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer needs the name at run time
from typing import Annotated

import typer

from pcim.cli.terminal import AsJson, Results, console, refuse


def reproduce(  # noqa: PLR0913, PLR0917 - options
    results: Results,
    plate: Annotated[str, typer.Option(help="This plate alone.")] = "",
    well: Annotated[str, typer.Option(help="This well alone, A01: minutes, where a campaign takes as long as it took.")] = "",
    model: Annotated[str, typer.Option(help="This classifier alone.")] = "",
    method: Annotated[str, typer.Option(help="The maps of this method alone, and the calls.")] = "",
    keep: Annotated[Path | None, typer.Option(help="Keep what is made, in a new folder. Without it, it is deleted.")] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="A Python package that makes a classifier, or a program's SHA-256: its code will be run."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make calls and maps again from what their tables record, elsewhere, and compare them with the campaign's, map by map.

    Config, plates.tsv and contracts may have changed since: those that were recorded are used, and what changed is told. Nothing of the
    campaign is written to. Code beside PCIM's own is run only if it is named here, whatever the campaign trusted.

    For example:
        pcim reproduce results/demo --plate bbbc013 --well A01
        pcim reproduce results/demo --well A01 --method pcim --keep again

    Exit codes:
        0  equal, byte for byte, or within the tolerance that docs/reproducing.md states: the last line says which
        1  something differs
        2  it cannot be told: an input is gone or changed, or nothing was recorded
    """
    from pcim.cli.output import show_reproduction
    from pcim.operations.reproduce import Selection
    from pcim.operations.reproduce import reproduce as make_again

    try:
        found = make_again(results, Selection(plate, well, model, method), keep, trust or [])
    except (ValueError, RuntimeError, OSError) as error:
        refuse(error)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        show_reproduction(console(), found)
    raise typer.Exit({"equal": 0, "close": 0, "different": 1, "unknown": 2}[found.state])
