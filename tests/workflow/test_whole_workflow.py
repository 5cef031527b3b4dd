"""The whole workflow on plates with a planted signal: it is found, nothing is redone, nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import zarr
from planted_campaign import write_campaign

from pcim.plates.attribution_plate import AttributionPlate

pytestmark = pytest.mark.workflow


def lift_inside(run: Any, method: str) -> float:
    shares = pd.concat(pd.read_parquet(path) for path in run.results.glob("aggregate/spots/*/shares.parquet"))
    inside = shares[(shares["region"] == "spots") & (shares["channel"] == "all") & (shares["call"] == "spot")]
    return float(inside.loc[(inside["method"] == method) & (inside["area"] > 0), "lift"].mean())


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)).hexdigest()


def test_a_planted_signal_is_found_and_the_sources_stay_as_they_were(make_run: Any, tmp_path: Path) -> None:
    run = make_run(plates=2)
    before = digest(tmp_path / "inputs")
    run()
    assert digest(tmp_path / "inputs") == before

    calls = pd.concat(pd.read_parquet(path) for path in run.results.glob("classify/spots/*/*.parquet"))
    assert (calls["status"] == "ok").all()
    assert set(calls["call"]) == {"plain", "spot"}
    assert lift_inside(run, "pcim") > 8  # chance is 1
    assert 0.5 < lift_inside(run, "random") < 2

    scores = pd.concat(pd.read_parquet(path) for path in run.results.glob("evaluate/spots/*/*[0-9].parquet"))
    mass = scores[(scores["metric"] == "pointing_game") & scores["value"].notna()].groupby("method")["value"].mean()
    assert mass["pcim"] > 0.9 > mass["random"]
    exchanges = pd.read_parquet(run.results / "evaluate/spots/interventions.parquet")
    follows = exchanges.groupby(["region", "kind"])["follows"].mean()
    assert follows["spots", "exchange"] > 0.9
    assert follows["spots", "control"] < 0.1

    page = (run.results / "report/index.html").read_text()
    assert "Looks at the biology" in page

    # the field is cut into ragged tiles: every pixel of every map belongs to one of them
    maps = AttributionPlate(run.results / "maps/spots/plate1_pcim.zarr").read("A/2/0")
    assert np.isfinite(maps).all()
    assert len(maps) == 2

    assert "Nothing to be done" in run()
    for path in (tmp_path / "inputs").rglob("*"):
        path.touch()
    assert "Nothing to be done" in run()


def test_a_campaign_that_was_copied_or_touched_has_nothing_to_do(undisturbed: Any, tmp_path: Path) -> None:
    moved = replace(undisturbed, folder=tmp_path / "elsewhere")
    shutil.copytree(undisturbed.folder, moved.folder, copy_function=shutil.copy)  # with the time of now, in any order
    assert "Nothing to be done" in moved()
    for path in sorted(moved.results.rglob("*"), reverse=True):
        path.touch()
    assert "Nothing to be done" in moved()


def test_two_classifiers_of_one_plate_are_compared_view_by_view(make_run: Any) -> None:
    run = make_run(plates=1)
    run.values["classifiers"]["twice"] = dict(run.values["classifiers"]["spots"])
    run()
    found = pd.read_parquet(run.results / "evaluate/spots/plate1/against_twice.parquet")
    explained = pd.concat(pd.read_parquet(path) for path in run.results.glob("attribute/spots/pcim/plate1/*.parquet"))
    assert len(found) == len(explained) > 0
    assert found["same_call"].all()
    assert np.allclose(found["agreement"], 1), "the same network on the same views"
    assert set(found["other"]) == {"twice"}
    assert not list(run.results.glob("evaluate/twice/plate1/against_*")), "a pair is compared once"
    assert "Nothing to be done" in run()


def test_an_added_plate_is_the_only_one_worked_on(make_run: Any, tmp_path: Path) -> None:
    run = make_run(plates=1)
    run()
    old = run.maps()
    run.values = write_campaign(tmp_path / "inputs", plates=2)
    plan = run("--dry-run")
    assert "plate=plate2" in plan
    jobs = dict(line.split() for line in plan.partition("Job stats:")[2].partition("\n\n")[0].splitlines()[3:])
    own = {"ingest": "1", "classify": "2", "attribute": "6", "aggregate": "1", "evaluate": "2"}
    assert jobs == own | {"interventions": "1", "report": "1", "all": "1", "total": "15"}
    assert "plate=plate1" not in plan
    run()
    new = run.maps()
    assert all(new[name] == content for name, content in old.items())
    assert any("plate2_pcim" in name for name in new)


def test_chunks_of_any_size_give_the_same_maps_and_no_more_files_than_the_dry_run_told(make_run: Any, undisturbed: Any) -> None:
    run = make_run()
    del run.values["wells_per_chunk"]
    run.values |= {
        "minutes_per_chunk": 1,
        "budget": {"seconds_per_view": 5.0},
    }  # 4 views a well: 3 wells, which 8 are not
    told = run("--dry-run")
    assert "3 wells a chunk, 1 minutes at 4 maps a well and 5 s a map, assumed (budget.seconds_per_view)" in told
    (totals,) = [line.split() for line in told.splitlines() if line.startswith("all ") and len(line.split()) == 7]
    run()
    assert [path.stem for path in sorted(run.results.glob("classify/spots/plate1/A*"))] == ["A01-A03", "A04-B02"]
    assert run.maps() == undisturbed.maps()
    left = [path for part in ("results", ".snakemake") for path in (run.folder / part).rglob("*") if path.is_file()]
    assert 0.8 * int(totals[4]) < len(left) <= int(totals[4])


def wait_for(run: Any, process: Any, pattern: str) -> None:
    """Wait until the running workflow has written a file or folder of this form."""
    while not list(run.results.glob(pattern)):
        assert process.poll() is None, run.output.read_text()
        time.sleep(0.02)


@pytest.mark.parametrize(
    "moment",
    ["logs/ingest/*.log", "attribute/spots/pcim/plate1/.*.journal.jsonl", "aggregate/spots/plate1/shares.parquet"],
    ids=["at the start", "while maps are learnt", "near the end"],
)
def test_after_a_kill_the_same_command_finishes_with_the_same_maps(make_run: Any, undisturbed: Any, moment: str) -> None:
    run = make_run()
    process = run.start()
    wait_for(run, process, moment)
    os.kill(process.pid, signal.SIGKILL)  # Snakemake alone: its jobs live on, as when a login session crashes
    process.wait()
    run()
    assert run.maps() == undisturbed.maps()
    assert "Nothing to be done" in run()


def test_after_a_kill_of_everything_nothing_half_written_is_taken_for_whole(make_run: Any, undisturbed: Any) -> None:
    run = make_run()
    process = run.start()
    wait_for(run, process, "maps/spots/*/A")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run.results / "report/index.html").exists()
    run()
    assert run.maps() == undisturbed.maps()


def test_finished_views_of_a_job_that_runs_again_are_not_learnt_again(undisturbed: Any) -> None:
    ledger = next(undisturbed.results.glob("attribute/spots/pcim/plate1/A*.parquet"))
    before, maps = pd.read_parquet(ledger), undisturbed.maps()
    undisturbed("--forcerun", str(ledger.relative_to(undisturbed.folder)))
    pd.testing.assert_frame_equal(pd.read_parquet(ledger), before)  # the seconds too: nothing was timed anew
    assert undisturbed.maps() == maps


def test_snakemakes_own_report_holds_page_tables_and_figures_with_captions(undisturbed: Any) -> None:
    undisturbed("--report", "report.zip")
    with ZipFile(undisturbed.folder / "report.zip") as archive:
        names = [PurePosixPath(name).name for name in archive.namelist()]
        (page,) = [name for name in archive.namelist() if name.endswith("report.html")]
        html = archive.read(page).decode()
    assert {"index.html", "report.json", "methods.csv", "interventions.csv", "spots.exchanges.svg"} <= set(names)
    for words in (
        "What each classifier of this campaign looks at",
        "A table behind the report",
        "A figure of the report",
    ):
        assert words in html


def test_bad_input_is_one_message_before_any_work(make_run: Any) -> None:
    run = make_run()
    run.values["atribute"] = {}
    run.values["evaluate"]["stpes"] = 3
    output = run(succeeds=False)
    assert "2 faults in the campaign's inputs; nothing was started:" in output
    assert "did you mean 'attribute'?" in output
    assert not (run.folder / "results").exists()


def test_pixel_faults_become_rows_and_the_plate_goes_on(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    chunk = tmp_path / "inputs/plate1.zarr/A/3/0/0/c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    (tmp_path / "inputs/plate1.zarr/B/2/0/0/c/0/0/0").unlink()
    run()
    fields = pd.read_parquet(run.results / "ingest/plate1/fields.parquet").set_index("well")["qc"]
    assert fields["A03"] == "truncated"
    assert fields["B02"] == "suspect"  # this writer leaves out empty chunks: black, or lost
    assert (fields.drop(["A03", "B02"]) == "ok").all()
    ledger = pd.concat(pd.read_parquet(path) for path in run.results.glob("attribute/spots/pcim/plate1/*.parquet"))
    assert set(ledger.loc[ledger["well"] == "A03", "status"]) == {"skipped"}
    assert ledger.loc[ledger["well"] == "B02", "reason"].str.startswith("suspect: ").all()
    page = (run.results / "report/index.html").read_text()
    assert "truncated" in page


def test_two_runs_do_not_work_on_one_campaign(make_run: Any) -> None:
    run = make_run()
    first = run.start()
    wait_for(run, first, ".lock")
    output = run(succeeds=False)
    assert re.search(r"^pcim: results/planted is being worked on by process", output, re.M)
    assert 'File "' not in output, "it is no crash"
    assert first.wait(timeout=600) == 0


def test_a_chunk_without_a_selected_view_is_an_empty_table_and_the_campaign_goes_on(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    layout = tmp_path / "inputs/plate1.csv"
    head, *rows = layout.read_text().splitlines()
    layout.write_text("\n".join([f"{head},split", *(f"{row},{'test' if row[0] == 'A' else 'train'}" for row in rows)]) + "\n")
    run.values["classifiers"]["spots"] |= {"split": "split", "select": {"where": {"split": ["test"]}}}
    run()
    empty = pd.read_parquet(run.results / "attribute/spots/pcim/plate1/B01-B04.parquet")
    full = pd.read_parquet(run.results / "attribute/spots/pcim/plate1/A01-A04.parquet")
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert set(full["well"]) == {"A01", "A02", "A03", "A04"}
    assert not (run.results / "maps/spots/plate1_pcim.zarr/B").exists()
    run.values["classifiers"]["spots"]["select"] = {"where": {"split": ["nothing"]}}
    run()
    assert "There are no maps to read" in (run.results / "report/index.html").read_text()


def test_of_a_plate_that_changed_only_the_changed_field_is_learnt_again(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    run()
    old, maps = run.maps(), run.results / "maps/spots"
    times = {path: path.stat().st_mtime_ns for path in maps.glob("*.zarr/*/*/0/**/*") if path.is_file()}
    array = zarr.open_array(tmp_path / "inputs/plate1.zarr/A/2/0/0", mode="r+")
    array[1] = np.roll(np.asarray(array[1]), 3, axis=0)
    command = [sys.executable, "-m", "pcim.cli.main", "rescan", "--configfile", str(run.folder / "config.yaml")]
    scan = subprocess.run(command, env=run.environment, cwd=run.folder, capture_output=True, text=True, check=False)
    assert scan.returncode == 1, scan.stderr
    assert "1 of 8 fields changed" in scan.stdout
    run()
    new = run.maps()
    changed = {name.split(".zarr/")[1] for name in new if new[name] != old.get(name)}
    assert changed
    assert all(name.startswith("A/2/0/") for name in changed)
    rewritten = [path.as_posix() for path in times if path.stat().st_mtime_ns != times[path]]
    assert rewritten
    assert all(".zarr/A/2/0/" in path for path in rewritten)
    assert subprocess.run(command, env=run.environment, cwd=run.folder, capture_output=True, check=False).returncode == 0
    assert "Nothing to be done" in run()
    told = subprocess.run(
        [sys.executable, "-m", "pcim.cli.main", "status", str(run.results), "--json"],
        env=run.environment,
        capture_output=True,
        check=True,
    )
    status = json.loads(told.stdout)
    assert status["is_complete"]
    assert status["left_s"] == 0


def test_a_table_that_a_failed_rerun_left_out_is_made_by_the_same_command(make_run: Any) -> None:
    run = make_run()
    run()
    before = run.maps()
    for lost in ("ingest/plate1/fields.parquet", "attribute/spots/edge/plate1/B01-B04.parquet"):
        (run.results / lost).unlink()  # as Snakemake does before a job, and the job failed; the report is still there
    run()
    assert (run.results / lost).exists()
    assert run.maps() == before
    assert "Nothing to be done" in run()
