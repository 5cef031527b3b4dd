"""One command per stage. It replaces this process with Snakemake and runs the workflow up to that stage."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcim.cli.terminal import refuse
from pcim.core import workflow_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CONFIG = Path("config/config.yaml")

RULES = {
    "ingest": ("ingest", "intensities", "objects"),
    "classify": ("classify",),
    "attribute": ("attribute",),
    "aggregate": ("aggregate",),
    "evaluate": ("evaluate", "interventions", "compare"),
    "report": (),
}
"""The rules at which a verb stops; the report is where the workflow ends by itself."""

_TOLD = {
    "ingest": "Look at the plates: which fields there are, what is wrong with them; convert exports, find objects.",
    "classify": "Call every view of the plates by the classifiers, and what that needs.",
    "attribute": "Learn which pixels each explained call rests on, and what that needs: the maps, by PCIM and its peers.",
    "aggregate": "Sum the maps up by object, well, treatment and class, and what that needs: tables and mean maps.",
    "evaluate": "Score the maps, exchange regions and compare classifiers, and what that needs.",
    "report": "Run the whole campaign, from the plates to the report: what is missing of it.",
}

_HELP = """{told}

Snakemake runs it, by the workflow that this package carries: what is finished is not done again, and what stopped goes on. What
follows -- goes to Snakemake as it is.

For example:
    pcim {stage} --configfile my/config.yaml --dry-run
    pcim {stage} --configfile my/config.yaml --profile slurm
    pcim {stage} --configfile my/config.yaml -- --cores 8

Exit codes:
    0    all that was asked for is there
    1    the config or the plates were refused, or a job failed: pcim status tells which and why
    2    the command line is wrong, or there is no config
    130  Ctrl-C stopped it; the same command goes on from there
"""


def snakemake_words(stage: str, configfiles: Sequence[Path], profile: str, more: Sequence[str]) -> list[str]:
    """Return the words after ``snakemake``. Options that take several words are followed by another option."""
    words = [*_printing(more), *(["--until", *RULES[stage]] if RULES[stage] else [])]
    # No config is left to Snakemake: the report tells the campaign's command, and would be made again for another one.
    words += ["--configfile", *map(str, configfiles)] if configfiles else []
    words += ["--profile", str(workflow_files.find_profile(profile))] if profile else []
    return [*words, "--snakefile", str(workflow_files.snakefile()), *more]


def _printing(more: Sequence[str]) -> list[str]:
    """Return how Snakemake prints, unless that is said: bars on a terminal; elsewhere these would be silent until the end."""
    if {"--logger", "--quiet", "-q"} & set(more):
        return []
    has_bars = sys.stderr.isatty() and "--dry-run" not in more and find_spec("snakemake_logger_plugin_rich")
    return ["--logger", "rich"] if has_bars else ["--quiet", "host", "reason"]


_NAMED = {"--configfile", "--configfiles", "--config", "-C", "--directory", "-d", "--profile"}


def _look_for_config(given: Sequence[object], more: Sequence[str]) -> None:
    """Raise FileNotFoundError where nothing that is given can name a config, and none lies where Snakemake looks by itself."""
    if not any(given) and not _NAMED & set(more) and not _CONFIG.is_file():
        raise FileNotFoundError(
            f"{_CONFIG}: no such file here: name the campaign's config, --configfile my/config.yaml; pcim init writes one"
        )


def verb(stage: str) -> Callable[..., None]:
    """Return the command that runs the workflow up to and including a stage."""

    def run(
        configfile: Annotated[
            list[Path] | None,
            typer.Option(
                exists=True,
                dir_okay=False,
                help="The campaign's config, again for another one over it.",
                show_default="config/config.yaml",
            ),
        ] = None,
        profile: Annotated[str, typer.Option(help="The Snakemake profile of a cluster: slurm, or a path. Without it, this machine.")] = "",
        dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Tell what would be done, and do nothing.")] = False,
        more: Annotated[list[str] | None, typer.Argument(metavar="-- WORDS", help="Options of Snakemake, or files to make.")] = None,
    ) -> None:
        try:
            _look_for_config([configfile, profile], more or [])
            words = snakemake_words(stage, configfile or [], profile, [*["--dry-run"] * dry_run, *(more or [])])
        except (ValueError, FileNotFoundError) as error:
            refuse(error)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "pcim.cli.run_snakemake", *words])  # noqa: S606 - words, no shell

    run.__name__, run.__doc__ = stage, _HELP.format(told=_TOLD[stage], stage=stage)
    return run


STAGES = tuple(verb(stage) for stage in RULES)
