"""What changed on a plate since it was ingested is told exactly, and only then is anything made to be done again."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import vendor_exports
import yaml
import zarr
from planted_campaign import write_campaign
from typer.testing import CliRunner

from pcim.campaign.campaign import Campaign
from pcim.cli.main import app
from pcim.config.stages import IngestSettings
from pcim.core.plate_source import Source
from pcim.operations.rescan import fields_table, make_rerun, scan_plate
from pcim.runtime.locks import hold_results
from pcim.stages.convert import convert_plate
from pcim.stages.ingest import ingest_plate

CONFIG = "my config.yaml"


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    monkeypatch.chdir(tmp_path)
    values = write_campaign(tmp_path, plates=2)
    Path(CONFIG).write_text(yaml.safe_dump(values))
    loaded = Campaign.load(values)
    loaded.write_plans()
    for plate in loaded.plates:
        ingest(loaded, plate)
    return loaded


def ingest(campaign: Campaign, plate: str) -> None:
    ingest_plate(
        plate=plate,
        store=campaign.sources[plate],
        platemap=campaign.plates[plate].platemap,
        table=str(fields_table(campaign.name, plate)),
        settings=IngestSettings(),
        workers=2,
        revision=1,
    )


def rescan(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["rescan", "--configfile", CONFIG, *arguments])


def change(plate: Path, field: str, channel: int = 1) -> None:
    array = zarr.open_array(plate / field / "0", mode="r+")
    pixels = np.asarray(array[channel])
    pixels[3, 5] += 1
    array[channel] = pixels


def test_plates_that_are_the_same_are_left_alone(campaign: Campaign, tmp_path: Path) -> None:
    for path in tmp_path.rglob("*"):
        path.touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = rescan()
    assert result.exit_code == 0, result.output
    assert result.stdout == "plate1: same\nplate2: same\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_exactly_what_changed_is_told_and_its_plate_is_ingested_again(campaign: Campaign, tmp_path: Path) -> None:
    change(tmp_path / "plate2.zarr", "A/3/0")
    shutil.rmtree(tmp_path / "plate2.zarr/B/1/0")
    dry = rescan("--dry-run", "--json")
    assert dry.exit_code == 1
    told = json.loads(dry.stdout)
    assert [(one["plate"], one["state"], one["fields"]) for one in told["plates"]] == [
        ("plate1", "same", 8),
        ("plate2", "changed", 8),
    ]
    assert [(one["path"], one["well"], one["kind"]) for one in told["plates"][1]["differences"]] == [
        ("A/3/0", "A03", "changed"),
        ("B/1/0", "B01", "missing"),
    ]
    assert told["plates"][1]["differences"][0]["why"] == "other pixels in Reporter"
    assert told["taken_away"] == []
    assert fields_table("planted", "plate2").exists()
    result = rescan()
    assert result.exit_code == 1
    assert "A/3/0 (well A03, field 0) changed: other pixels in Reporter" in result.stdout
    assert "pcim report --configfile 'my config.yaml'" in result.stdout
    assert fields_table("planted", "plate1").exists()
    assert not fields_table("planted", "plate2").exists()
    assert "plate2: not ingested" in rescan().stdout
    ingest(campaign, "plate2")
    assert rescan().exit_code == 0


def test_only_the_named_plates_are_read(campaign: Campaign, tmp_path: Path) -> None:
    change(tmp_path / "plate2.zarr", "A/3/0")
    assert rescan("plate1").exit_code == 0
    assert rescan("plate2").exit_code == 1
    wrong = rescan("plaet1")
    assert wrong.exit_code == 2
    assert "did you mean 'plate1'?" in wrong.stderr


def test_a_plate_that_is_out_of_reach_did_not_change(campaign: Campaign, tmp_path: Path) -> None:
    (tmp_path / "plate1.zarr").rename(tmp_path / "elsewhere")
    result = rescan()
    assert result.exit_code == 2
    assert "plate1: unreadable" in result.stdout
    assert fields_table("planted", "plate1").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "plate1.zarr")
    for chunks in tmp_path.glob("plate1.zarr/*/*/0/0/zarr.json"):
        chunks.unlink()  # the plate is there, its pixels are not
    result = rescan()
    assert result.exit_code == 2
    assert "no pixel of" in result.stdout
    assert fields_table("planted", "plate1").exists()


def test_nothing_is_taken_away_from_a_run_at_work(campaign: Campaign, tmp_path: Path) -> None:
    change(tmp_path / "plate1.zarr", "A/3/0")
    hold_results(Path("results/planted/.lock"))
    result = rescan()
    assert result.exit_code == 2
    assert "is being worked on" in result.stderr
    assert fields_table("planted", "plate1").exists()
    assert rescan("--dry-run").exit_code == 1


def test_a_file_of_an_export_that_kept_its_size_and_time_is_found_and_converted_again(campaign: Campaign, tmp_path: Path) -> None:
    source = Source(str(vendor_exports.operetta(tmp_path / "export")), format="operetta")
    entry = replace(campaign.plates["plate1"], source=source)
    entry.platemap.write_text("well_position\nB03\nE11\n")
    campaign = replace(campaign, plates={"plate1": entry})
    table = fields_table("planted", "plate1")
    told = table.parent / "conversion.parquet"

    def ingest_export() -> None:
        settings = {"levels": 2, "workers": 1, "revision": 1}
        convert_plate(plate="plate1", source=source, store=table.parent / "plate.zarr", table=str(told), **settings)
        ingest(campaign, "plate1")

    ingest_export()
    assert scan_plate("plate1", source, table, 2, lambda: None).state == "same"
    file = tmp_path / "export/Images/r05c11f02p01-ch2sk1fk1fl1.tiff"
    stat = file.stat()
    tifffile.imwrite(file, vendor_exports.image(9, 9, 9, 9), compression=None if stat.st_size > 500 else "lzw")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    scan = scan_plate("plate1", source, table, 2, lambda: None)
    assert [(one.path, one.kind, one.why) for one in scan.differences] == [("E/11/2", "changed", "other pixels in HOECHST 33342")]
    assert set(make_rerun(campaign, [scan])) == {told, table, table.parent / "plate.zarr/E/11/2/zarr.json"}
    ingest_export()
    assert scan_plate("plate1", source, table, 2, lambda: None).state == "same"


def test_faults_of_the_config_are_one_message(campaign: Campaign) -> None:
    Path(CONFIG).write_text("campaign: planted\nplates: nowhere.tsv\n")
    result = rescan()
    assert result.exit_code == 2
    assert f"{CONFIG}: classifiers: missing" in result.stderr
    Path(CONFIG).write_text("- 1")
    assert "expected keys and values, got a list" in rescan().stderr
    assert "no such file" in CliRunner().invoke(app, ["rescan", "--configfile", "nowhere.yaml"]).stderr
