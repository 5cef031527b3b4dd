"""A campaign's status is told from its folder alone, whatever lies in it, and the folder stays as it was."""

from __future__ import annotations

import io
import json
import shlex
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from planted_campaign import write_campaign
from rich.console import Console
from typer.testing import CliRunner

from pcim.campaign.campaign import Campaign
from pcim.campaign.job_list import JobList, read_job_list
from pcim.campaign.rule_inputs import RuleInputs
from pcim.cli.main import app
from pcim.cli.output import show_status
from pcim.operations.job_states import progress_file
from pcim.operations.status import Row, campaign_status, status_as_dict
from pcim.runtime.locks import sole_writer
from pcim.runtime.tables import write_table

COMMAND = "snakemake --configfile 'my config.yaml'"
ROOT = Path("results/planted")
KEY = {"plate": "plate1", "row": "A", "column": "1", "field": "0"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_campaign(tmp_path_factory.mktemp("inputs"), plates=2)


@pytest.fixture
def root(inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    campaign = Campaign.load(inputs)
    campaign.write_plans()
    JobList.from_campaign(campaign, COMMAND).write()
    return ROOT


def row(root: Path, stage: str, method: str = "", plate: str = "plate1") -> Row:
    (found,) = [r for r in campaign_status(root).rows if (r.stage, r.method, r.plate) == (stage, method, plate)]
    return found


def ledger(status: list[str], reasons: list[str], *, layers: int = 1) -> pd.DataFrame:
    rows = [
        KEY | {"view": str(number), "status": one, "reason": why, "scored": layer == 0}
        for number, (one, why) in enumerate(zip(status, reasons, strict=True))
        for layer in range(layers)
    ]
    return pd.DataFrame(rows)


def tell(table: Path, **changes: Any) -> None:
    told = {
        "stage": "attribute", "plate": "plate1", "chunk": "A01-A04", "method": "pcim", "model": "spots", "total": 20, "done": 6,
        "failed": 1, "started": time.time() - 60, "updated": time.time(), "rate": 0.5, "left_s": 26.0, "device": "cuda",
        "device_name": "A GPU", "host": "node7", "job": "4711", "state": "running",
    }  # fmt: skip
    table.parent.mkdir(parents=True, exist_ok=True)
    progress_file(table).write_text(json.dumps(told | changes))


def test_before_the_first_job_everything_waits_as_planned(root: Path) -> None:
    status = campaign_status(root)
    assert row(root, "ingest").total == 8
    assert row(root, "ingest").unit == "field"
    assert row(root, "classify").waiting == 8 * 4  # the field is cut into four tiles
    assert row(root, "attribute", "edge").waiting == 8 * 4
    assert {r.stage for r in status.rows if not r.plate} == {"interventions", "report"}
    assert status.left_s is None
    assert "attribute spots pcim" in status.unmeasured
    assert not status.rerun
    assert not status.is_complete
    assert {r.plate for r in status.rows} == {"plate1", "plate2", ""}


def test_the_list_of_jobs_names_the_jobs_that_the_rules_make(root: Path, inputs: dict[str, Any]) -> None:
    inputs_of_rules = RuleInputs(Campaign.load(inputs))
    tables = {f"{root}/{job.table}" for job in read_job_list(root).jobs()}
    for pattern in (
        "results/{campaign}/classify/{model}/{plate}/{chunk}.parquet",
        "results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet",
        "results/{campaign}/evaluate/{model}/{plate}/{chunk}.parquet",
        "results/{campaign}/aggregate/{model}/{plate}/shares.parquet",
        "results/{campaign}/ingest/{plate}/fields.parquet",
        "results/{campaign}/evaluate/{model}/interventions.parquet",
    ):
        paths = set(inputs_of_rules.everywhere(pattern)({"campaign": "planted"}))
        assert paths <= tables
        tables -= paths
    assert tables == {f"{root}/report/index.html"}


def test_views_are_counted_once_with_the_reasons_that_they_share(root: Path) -> None:
    verdicts = ["ok", "ok", "empty", "out_of_focus"]
    write_table(pd.DataFrame({"qc": verdicts, "reason": "numbers"}), root / "ingest/plate1/fields.parquet")
    found = row(root, "ingest")
    assert (found.done, found.unfit, found.waiting) == (2, 2, 0)
    assert found.reasons == {"empty": 1, "out_of_focus": 1}
    path = root / "attribute/spots/pcim/plate1/A01-A04.parquet"
    states, reasons = ["ok", "failed", "failed", "skipped", "skipped"], ["", "NaN", "NaN", "empty: 1.2", "empty: 3.4"]
    write_table(ledger(states, reasons, layers=3), path)
    found = row(root, "attribute", "pcim")
    assert (found.done, found.failed, found.unfit) == (1, 2, 2)
    assert found.reasons == {"NaN": 2, "empty": 2}
    assert found.waiting == 16, "of the other chunk"
    assert campaign_status(root).rerun == f"{COMMAND} --forcerun {path}"


def test_plates_with_fields_that_cannot_be_read_are_named_with_the_command_that_reads_them_again(root: Path) -> None:
    verdicts = {"plate1": ["ok", "missing", "empty"], "plate2": ["ok", "empty", "suspect"]}
    for plate, qc in verdicts.items():
        write_table(pd.DataFrame({"qc": qc, "reason": "x"}), root / f"ingest/{plate}/fields.parquet")
    status = campaign_status(root)
    assert status.rescan == "pcim rescan --configfile 'my config.yaml' plate1"
    text = io.StringIO()
    show_status(Console(file=text, width=80), status, all_plates=False)
    assert f"once mended, by this and the next run:\n  {status.rescan}\n" in text.getvalue()
    assert status_as_dict(status)["rescan"] == status.rescan
    write_table(pd.DataFrame({"qc": ["ok", "empty"], "reason": "x"}), root / "ingest/plate1/fields.parquet")
    assert campaign_status(root).rescan == ""


def test_views_that_were_scored_are_counted_and_not_those_that_metadata_promised(root: Path) -> None:
    scores = pd.DataFrame({"fingerprint": ["a", "a", "b", "b", "c", "c"], "value": 0.5})
    write_table(scores, root / "evaluate/spots/plate1/A01-A04.parquet")
    write_table(scores.iloc[:0], root / "evaluate/spots/plate1/B01-B04.parquet")
    found = row(root, "evaluate")
    assert (found.total, found.done, found.waiting) == (3, 3, 0)


def test_the_command_that_tries_again_names_exactly_the_tables_with_a_failed_view(root: Path) -> None:
    for method, states in (("pcim", ["ok", "failed"]), ("edge", ["ok", "skipped"]), ("random", ["failed", "ok"])):
        write_table(ledger(states, ["x", "x"]), root / f"attribute/spots/{method}/plate2/B01-B04.parquet")
    command = shlex.split(campaign_status(root).rerun)
    assert command[:4] == ["snakemake", "--configfile", "my config.yaml", "--forcerun"]
    assert command[4:] == [f"results/planted/attribute/spots/{method}/plate2/B01-B04.parquet" for method in ("pcim", "random")]


def test_a_job_at_work_is_told_from_its_progress_and_a_silent_one_is_dead(root: Path) -> None:
    table = root / "attribute/spots/pcim/plate1/A01-A04.parquet"
    tell(table)
    status = campaign_status(root)
    (one,) = status.running
    assert (one.total, one.done, one.failed, one.waiting) == (20, 6, 1, 13)
    found = row(root, "attribute", "pcim")
    assert found.rate == 0.5
    assert found.left_s == pytest.approx((13 + 16) / 0.5)
    assert "attribute spots pcim" not in status.unmeasured
    later = campaign_status(root, now=time.time() + 3600)
    assert not later.running
    (dead,) = later.troubles
    assert dead.state == "stopped"
    assert dead.why == "dead: not heard of for 60 min (4711 on node7)"
    assert later.rerun == COMMAND
    with sole_writer(table):  # a job that loads for long, or hangs, is told, and is no dead one
        (one,) = campaign_status(root, now=time.time() + 3600).running
        assert one.why == "not heard of for 60 min"
    tell(table, updated=time.time() - 9000)  # a clock that is wrong: the file is fresh all the same
    assert len(campaign_status(root).running) == 1
    tell(table, state="stopped")
    assert campaign_status(root).troubles[0].why == "stopped (4711 on node7)"


def test_views_that_a_job_of_the_whole_counts_are_not_taken_for_jobs(root: Path) -> None:
    tell(root / "evaluate/spots/interventions.parquet", stage="interventions", total=200, done=50, failed=0)
    status = campaign_status(root)
    (found,) = [row for row in status.rows if row.stage == "interventions"]
    assert (found.unit, found.total, found.waiting, found.rate) == ("job", 1, 1, 0)
    assert "interventions spots" in status.unmeasured
    output = io.StringIO()
    show_status(Console(file=output, width=1000), status, all_plates=False)
    assert "50 of 200" in output.getvalue()


def test_what_a_killed_job_had_finished_counts_and_lines_that_were_cut_off_do_not(root: Path) -> None:
    table = root / "attribute/spots/pcim/plate1/A01-A04.parquet"
    rows = [KEY | {"view": str(n), "status": "ok" if n else "failed"} for n in (0, 1, 2, 2)]
    table.parent.mkdir(parents=True)
    (table.parent / ".A01-A04.journal.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"plate": "pl')
    log = root / "logs/attribute/spots/pcim/plate1/A01-A04.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00,000 INFO began\n")
    assert row(root, "attribute", "pcim").done == 2
    (stopped,) = campaign_status(root).troubles
    assert stopped.state == "stopped"
    assert "without a word" in stopped.why
    log.write_text("2026-01-01 00:00:00,000 WARNING stopped by SIGTERM; a rerun goes on\n")
    assert campaign_status(root).troubles[0].why == "stopped by SIGTERM; a rerun goes on"


def test_a_failed_job_is_told_with_its_last_error_and_its_log(root: Path) -> None:
    log = root / "logs/evaluate/spots/plate1/A01-A04.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "2026-01-01 00:00:00,000 INFO began\n2026-01-01 00:00:01,000 ERROR failed\nTraceback (most recent call last):\n"
        '  File "x.py", line 1\nRuntimeError: 3 of 4 views failed, allowed are 20%\n'
    )
    status = campaign_status(root)
    (failed,) = status.troubles
    assert failed.state == "failed"
    assert failed.why == "RuntimeError: 3 of 4 views failed, allowed are 20%"
    assert status_as_dict(status)["troubles"][0]["log"] == str(log)
    assert status.rerun == COMMAND
    result = CliRunner().invoke(app, ["status", str(root)])
    assert result.exit_code == 1
    assert str(log) in result.output
    assert "RuntimeError: 3 of 4 views failed, allowed are 20%" in result.output


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and then nothing PAR1", b"\x00" * 5000], ids=repr)
def test_a_broken_table_is_a_job_with_a_reason(root: Path, content: bytes) -> None:
    for table in (
        "classify/spots/plate1/A01-A04.parquet",
        "evaluate/spots/plate1/B01-B04.parquet",
        "ingest/plate1/fields.parquet",
    ):
        (root / table).parent.mkdir(parents=True, exist_ok=True)
        (root / table).write_bytes(content)
    status = campaign_status(root)
    assert {one.state for one in status.troubles} == {"failed"}
    assert all(one.why.startswith("the table cannot be read: ") for one in status.troubles)
    assert len(shlex.split(status.rerun)) == 4 + 3


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"total": 3}', '{"form": 1}', "\x00", '{"form": 99}'])
def test_broken_small_files_are_no_traceback(root: Path, content: str) -> None:
    table = root / "attribute/spots/pcim/plate1/A01-A04.parquet"
    table.parent.mkdir(parents=True)
    progress_file(table).write_text(content)
    (table.parent / ".A01-A04.journal.jsonl").write_text(content)
    benchmark = root / "benchmarks/attribute/spots/pcim/plate1/A01-A04.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text(content)
    assert row(root, "attribute", "pcim").waiting == 32
    (root / "campaign.json").write_text(content)
    result = CliRunner().invoke(app, ["status", str(root)])
    assert result.exit_code == 2
    assert "campaign.json: not readable as a list of jobs" in result.stderr


def test_the_end_is_what_is_left_at_the_measured_speed_shared_by_the_jobs_at_work(root: Path) -> None:
    for job in read_job_list(root).jobs():
        if job.rule in {"interventions", "report"}:
            continue
        is_left = job.rule == "attribute" and job.method == "pcim" and job.plate == "plate2"
        if is_left:
            tell(root / job.table, total=16, done=0, failed=0, rate=0)
        elif job.unit == "view":
            write_table(ledger(["ok"] * 16, [""] * 16), root / job.table)
        else:
            write_table(pd.DataFrame({"qc": ["ok"] * 8}), root / job.table)
        benchmark = root / f"benchmarks/{job.place}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text("s\th:m:s\n32.0\t0:00:32\n")
    status = campaign_status(root)
    assert len(status.running) == 2
    assert status.left_s == pytest.approx(2 * 16 * 2.0 / 2)  # two jobs side by side, 16 views each, 2 s a view
    assert status.unmeasured == ["interventions spots", "report"]


def test_the_screen_is_plain_in_a_pipe_and_leaves_nothing_out(root: Path) -> None:
    tell(root / "attribute/spots/pcim/plate1/A01-A04.parquet")
    output = io.StringIO()
    show_status(Console(file=output, width=1000, highlight=False, markup=False), campaign_status(root), all_plates=False)
    text = output.getvalue()
    assert "\x1b" not in text
    assert "…" not in text
    assert "node7 A GPU" in text
    assert "Plate plate2" in text
    for words in ("26 s", "attribute", "interventions", "no run is at work"):
        assert words in text


def test_what_failed_or_is_unfit_is_named_by_well_and_field_with_its_own_reason(root: Path) -> None:
    fields = pd.DataFrame([KEY | {"column": str(n), "qc": "missing", "reason": f"A0{n}.tif: cut off"} for n in range(1, 8)])
    write_table(fields, root / "ingest/plate1/fields.parquet")
    write_table(
        ledger(["ok", "failed", "skipped"], ["", "NaN in the map", "missing: x"], layers=2).assign(column="12"),
        root / "attribute/spots/pcim/plate1/A01-A04.parquet",
    )
    text = CliRunner().invoke(app, ["status", str(root)]).output
    assert "7 fields, ingest: missing\n    plate1 A01 field 0: A01.tif: cut off\n" in text
    assert "A05.tif" in text
    assert "A06.tif" not in text, "what is listed is bounded"
    assert "and 2 more (--json lists them all)" in text
    assert "1 view, attribute: NaN in the map\n    plate1 A12 field 0 view 1 (spots pcim)\n" in text
    told = status_as_dict(campaign_status(root))["bad"]
    assert [one["well"] for one in told] == [*(f"A0{n}" for n in range(1, 8)), "A12"]
    assert told[0]["reason"] == "A01.tif: cut off"
    assert (told[0]["verdict"], told[0]["log"]) == ("missing", f"{root}/logs/ingest/plate1.log")
    assert (told[-1]["verdict"], told[-1]["view"], told[-1]["method"]) == ("failed", "1", "pcim")


def test_tables_fit_into_80_columns_and_cut_nothing_off(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tell(root / "attribute/spots/pcim/plate1/A01-A04.parquet")
    text = CliRunner().invoke(app, ["status", str(root)]).output
    tables = text.partition("At work")[0].splitlines()
    assert max(map(len, tables)) <= 80
    assert "interventions" in text
    assert "…" not in text


def test_asking_changes_nothing_and_json_holds_every_row(root: Path) -> None:
    tell(root / "attribute/spots/pcim/plate1/A01-A04.parquet")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    result = CliRunner().invoke(app, ["status", str(root), "--json"])
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["form"] == 1
    assert {(one["stage"], one["method"]) for one in told["rows"] if one["plate"] == "plate1"} == {
        ("ingest", ""), ("classify", ""), ("attribute", "pcim"), ("attribute", "random"), ("attribute", "edge"),
        ("aggregate", ""), ("evaluate", ""),
    }  # fmt: skip
    assert told["running"][0]["table"] == "results/planted/attribute/spots/pcim/plate1/A01-A04.parquet"
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_folder_without_a_campaign_is_one_message(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "there is no folder" in result.stderr
