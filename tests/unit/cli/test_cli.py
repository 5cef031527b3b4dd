"""The command line: it starts light, every command says what it does and how it ends, and a verb hands its stage to Snakemake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from planted_campaign import write_campaign
from typer.testing import CliRunner
from workflow_runs import hear_interrupts

from pcim import __version__
from pcim.cli.commands import stages
from pcim.cli.main import app
from pcim.cli.terminal import campaigns
from pcim.core.workflow_files import snakefile
from pcim.operations.status import campaign_status
from pcim.runtime.progress import progress_file

COMMANDS = typer.main.get_group(app).commands
HEAVY = {"torch", "zarr", "dask", "captum", "pandas", "scipy", "matplotlib", "numpy", "snakemake", "pydantic"}


def pcim(*words: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "pcim.cli.main", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout)


def test_help_and_completion_import_nothing_heavy() -> None:
    code = "import sys; from pcim.cli.main import app; app(['--help'], standalone_mode=False); print('MODULES', *sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    text, _, modules = told.partition("MODULES ")
    assert not HEAVY & {name.partition(".")[0] for name in modules.split()}
    places = [text.index(f" {name} ") for name in ("init", "validate", "doctor", "where", *stages.RULES, "status", "rescan")]
    assert places == sorted(places), "commands stand in the order of the work"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_exit_codes_and_words_for_every_option(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"    pcim {name} " in result.stdout.partition("For example:")[2]
    assert "    0  " in result.stdout.partition("Exit codes")[2]
    silent = [each.name for each in COMMANDS[name].params if not getattr(each, "help", None)]
    assert silent == []


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_campaigns(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results/one/report").mkdir(parents=True)
    (tmp_path / "results/one/campaign.json").touch()
    (tmp_path / "results/no_campaign").mkdir()
    monkeypatch.chdir(tmp_path)
    assert campaigns("results/") == ["results/one"]
    assert campaigns("other") == []
    words = {"bash": {"COMP_WORDS": "pcim status res", "COMP_CWORD": "2"}}
    asked = words.get(shell, {"_TYPER_COMPLETE_ARGS": "pcim status res", "_TYPER_COMPLETE_FISH_ACTION": "get-args"})
    result = CliRunner().invoke(app, env={"_PCIM_COMPLETE": f"complete_{shell}", **asked}, prog_name="pcim")
    assert "results/one" in result.stdout
    assert "no_campaign" not in result.stdout


def test_what_snakemake_is_told() -> None:
    there = ["--snakefile", str(snakefile())]
    quiet = ["--quiet", "host", "reason"]
    assert stages.snakemake_words("report", [], "", []) == [*quiet, *there]
    words = stages.snakemake_words("evaluate", [Path("a.yaml"), Path("b.yaml")], "", ["--dry-run", "--cores", "3"])
    until = ["--until", "evaluate", "interventions", "compare"]
    assert words == [*quiet, *until, "--configfile", "a.yaml", "b.yaml", *there, "--dry-run", "--cores", "3"]
    own = stages.snakemake_words("classify", [], "", ["--logger", "mine"])
    assert own == ["--until", "classify", *there, "--logger", "mine"], "what is said of printing is left as it is"


def test_a_profile_is_that_which_is_here_else_that_which_comes_with_the_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = stages.snakemake_words("report", [], "slurm", [])
    assert words[words.index("--profile") + 1] == str(snakefile().parent / "profiles/slurm")
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/profile.yaml").write_text("jobs: 1\n")
    words = stages.snakemake_words("report", [], "slurm", [])
    assert words[words.index("--profile") + 1] == "slurm"
    result = CliRunner().invoke(app, ["report", "--profile", "nowhere"])
    assert (result.exit_code, "slurm-plugin" in result.stderr) == (2, True)


def test_without_a_config_a_verb_says_so_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["report"])
    assert result.exit_code == 2
    assert result.stderr == (
        "pcim: config/config.yaml: no such file here: name the campaign's config, --configfile my/config.yaml; pcim init writes one\n"
    )


def test_every_rule_of_the_workflow_belongs_to_one_stage() -> None:
    files = sorted(snakefile().parent.glob("workflow/rules/*.smk"))
    rules = [line[5:-1] for file in files for line in file.read_text().splitlines() if line.startswith("rule ")]
    reached = [rule for named in stages.RULES.values() for rule in named]
    assert sorted([*reached, "convert", "report"]) == sorted(rules), "convert is what ingest needs"


@pytest.mark.workflow
def test_ctrl_c_stops_a_run_with_one_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(write_campaign(tmp_path, columns=2, pause=0.3)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "pcim.cli.main", "attribute", "--configfile", "config.yaml", "--", "--cores", "2"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=hear_interrupts,  # noqa: PLW1509 - this process has one thread
    ) as run:  # fmt: skip
        table = tmp_path / "results/planted/attribute/spots/pcim/plate1/A01-B02.parquet"
        deadline = time.monotonic() + 300
        while not progress_file(table).exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to every process of the run
        _, told = run.communicate(timeout=120)
    assert run.returncode == 130, told
    assert told.splitlines()[-1] == "pcim: stopped; the same command goes on from there"
    assert "Traceback" not in told
    assert "Error" not in told
    log = (tmp_path / "results/planted/logs/attribute/spots/pcim/plate1/A01-B02.log").read_text()
    assert "WARNING stopped by SIGTERM; a rerun goes on from what is saved" in log
    assert "Traceback" not in log
    (stopped, *_) = [one for one in campaign_status(tmp_path / "results/planted").troubles if one.job.method == "pcim"]
    assert stopped.state == "stopped"
    again = pcim("attribute", "--configfile", "config.yaml", "--dry-run", folder=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.workflow
def test_a_verb_runs_its_stage_and_what_that_needs_once_and_ends_as_snakemake_does(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(write_campaign(tmp_path, columns=2)))
    given: tuple[Any, ...] = ("--configfile", "config.yaml")
    planned = pcim("evaluate", *given, "--dry-run", folder=tmp_path)
    assert planned.returncode == 0, planned.stderr
    counts = dict(line.split() for line in planned.stdout.splitlines() if len(line.split()) == 2)
    assert {name: counts.get(name) for name in ("ingest", "classify", "attribute", "evaluate", "interventions")} == {
        "ingest": "1", "classify": "1", "attribute": "3", "evaluate": "1", "interventions": "1",
    }  # fmt: skip
    assert not {"aggregate", "report", "all"} & counts.keys()
    done = pcim("ingest", *given, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    made = [path.relative_to(tmp_path).as_posix() for path in (tmp_path / "results").rglob("*.parquet")]
    assert made == ["results/planted/ingest/plate1/fields.parquet"]
    first = (tmp_path / made[0]).stat().st_mtime_ns
    assert pcim("ingest", *given, folder=tmp_path).returncode == 0
    assert (tmp_path / made[0]).stat().st_mtime_ns == first, "what is there is not made again"
    (tmp_path / "plate1.csv").unlink()
    refused = pcim("ingest", *given, folder=tmp_path)
    assert refused.returncode == 1
    assert "plate1.csv" in refused.stderr
