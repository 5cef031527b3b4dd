"""What is wrong with a campaign is found before it runs, all of it at once, by really loading what will be loaded."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import vendor_exports
import yaml
from planted_campaign import write_campaign, write_model
from typer.testing import CliRunner

from pcim.campaign.input_tables import read_platemap
from pcim.classifiers.contract import read_contract
from pcim.cli.main import app
from pcim.operations.doctor import machine
from pcim.operations.validate import validate


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_campaign(tmp_path_factory.mktemp("inputs"), columns=2)


@pytest.fixture
def values(inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The campaign, in a folder of its own, with a classifier that may be spoilt."""
    monkeypatch.chdir(tmp_path)
    model = shutil.copytree(Path(inputs["classifiers"]["spots"]["model"]).parent, tmp_path / "model")
    entry = inputs["classifiers"]["spots"] | {"model": str(model / "model.yaml")}
    return copy.deepcopy(inputs | {"classifiers": {"spots": entry}})


def check(values: dict[str, Any]) -> list[str]:
    Path("my.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return validate([Path("my.yaml")]).faults


def everything(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_sound_campaign_has_no_fault_says_its_costs_and_leaves_nothing_behind(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets.py").write_text("from planted_campaign import spot_detector\n")
    monkeypatch.syspath_prepend(tmp_path)
    write_model(tmp_path / "model", architecture="own_nets:spot_detector")
    values |= {"classify": {"trusted_packages": ["own_nets"]}}
    Path("my.yaml").write_text(yaml.safe_dump(values))
    before = everything(tmp_path)
    result = CliRunner().invoke(app, ["validate", "--configfile", "my.yaml"])
    assert result.exit_code == 0, result.output
    assert "ok      classifier spots: tells plain, spot from DNA, Reporter; loaded" in result.stdout
    assert "To come in campaign 'planted':" in result.stdout
    assert everything(tmp_path) == before, "not even compiled Python beside a user's package"


def test_faults_of_every_kind_come_in_one_numbered_message(values: dict[str, Any], tmp_path: Path) -> None:
    values["attribute"]["levles"] = 3
    values["classifiers"]["spots"]["truth"] = "lable"
    (tmp_path / "model/weights.safetensors").write_bytes(b"other")
    (tmp_path / "results").write_text("no folder")
    Path("my.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    result = CliRunner().invoke(app, ["validate", "--configfile", "my.yaml"])
    assert result.exit_code == 2
    assert result.stdout == ""
    head, *lines = result.stderr.splitlines()
    assert head == "pcim: 5 faults in the campaign's inputs; nothing was started:"
    assert [line[:4] for line in lines] == ["  1.", "  2.", "  3.", "  4.", "  5."]
    for line, told in zip(
        lines,
        (
            "attribute.levles: unknown key",
            "column 'lable' is not in",
            "plan/plate1.json: not readable as a plan",
            "weights.safetensors: SHA-256",
            "results is no folder",
        ),
        strict=True,
    ):
        assert told in line
    assert lines[3].startswith("  4. my.yaml:6: classifiers.spots.model: ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sha256": "0" * 64}, f"says {'0' * 64}: restore the file or, if these weights are meant, run pcim adopt again"),
        ({"architecture": "planted_campaign.lost:net"}, "; install it in this environment, or name its folder in PYTHONPATH"),
        ({"architecture": "planted_campaign:write_model"}, "write_model() missing 1 required positional argument"),
        ({"architecture": "pcim.architectures:small_cnn", "arguments": {"channels": 0, "classes": 2}}, "channels is 0; allowed: 1 or more"),
        ({"architecture": "pcim.architectures:small_cnn", "arguments": {"channels": 2, "classes": 2}}, "Missing key(s) in state_dict"),
        ({"classes": ["plain", "spot", "other"]}, "expected one for each of ['plain', 'spot', 'other']"),
        ({"input": {"mean": [0.0, 0.0]}}, "the test input gives logits that are off by"),
    ],
)  # fmt: skip
def test_a_classifier_that_is_not_what_its_contract_says_is_named(
    values: dict[str, Any], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    contract, _ = read_contract(tmp_path / "model/model.yaml")
    assert contract is not None
    if "input" in change:
        change = {"input": contract.model_dump(mode="json")["input"] | change["input"]}
    write_model(tmp_path / "model", **change)
    (fault,) = check(values)
    assert fault.startswith("my.yaml:6: classifiers.spots.model: ")
    assert told in fault
    assert "\n" not in fault


def test_what_follows_from_a_file_that_is_not_there_is_not_told_and_where_it_was_looked_for_is(
    values: dict[str, Any], tmp_path: Path
) -> None:
    assert validate([Path("lost.yaml")]).faults == ["lost.yaml: no such file; name it by --configfile"]
    for name, lost in (("plates", "lost.tsv"), ("platemap", "lost.csv")):
        table = Path(values["plates"]).read_text().splitlines()
        Path("own.tsv").write_text("\n".join([table[0], *("\t".join([*row.split("\t")[:2], lost]) for row in table[1:])]))
        faults = check(values | {"plates": lost if name == "plates" else "own.tsv"})
        assert f"{lost}: no such file; paths are relative to the working folder, {tmp_path}" in faults


def test_a_true_class_that_is_none_is_named_with_its_wells_and_lines(values: dict[str, Any]) -> None:
    plate, path, platemap = Path(values["plates"]).read_text().splitlines()[1].split("\t")[:3]
    lines = Path(platemap).read_text().splitlines()
    column = lines[0].split(",").index("label")
    rows = [line.split(",") for line in lines]
    for number in (2, 4):
        rows[number][column] = "spott"
    Path("own.csv").write_text("\n".join(",".join(row) for row in rows))
    Path("own.tsv").write_text(f"plate\tpath\tplatemap\n{plate}\t{path}\town.csv\n")
    faults = check(values | {"plates": "own.tsv"})
    told = f"'spott' in own.csv:3, {rows[2][0]} and 1 more, is no class of ['plain', 'spot'] (did you mean 'spot'?)"
    (fault,) = faults
    assert fault.endswith(f"classifiers.spots.truth: {told}")


def own_platemap(values: dict[str, Any], text: str) -> dict[str, Any]:
    """Write a plate map of four wells for the first plate, and the table that names it; return the config."""
    plate, path, _ = Path(values["plates"]).read_text().splitlines()[1].split("\t")[:3]
    Path("own.csv").write_bytes(text.encode())
    Path("own.tsv").write_text(f"plate\tpath\tplatemap\n{plate}\t{path}\town.csv\n")
    return values | {"plates": "own.tsv"}


def test_a_misspelt_split_is_named_with_its_wells_lines_and_the_right_word(values: dict[str, Any]) -> None:
    rows = "well_position,split\nA01,train\nA02,training\nB01,\nB02,training\n"
    own = own_platemap(values, rows)
    own["classifiers"]["spots"] |= {"truth": None, "split": "split"}
    (fault,) = check(own)
    told = "'training' in own.csv:3, A02 and 1 more, is none of train, test and not empty (did you mean 'train'?)"
    assert fault.endswith(f"classifiers.spots.split: {told}")
    own["classifiers"]["spots"]["split"] = None
    assert check(own) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_plate_map_is_separated_as_its_first_line_says(values: dict[str, Any], delimiter: str) -> None:
    rows = "well_position|label|note|dose\r\nA01|spott|x,y;z|1.5\r\nA02|spot||1e-3\r\nB01|||\r\nB02|||\r\n"
    quoted = rows.replace("x,y;z", '"x,y;z"').replace("|", delimiter)
    (fault,) = check(own_platemap(values, quoted))
    assert "'spott' in own.csv:2, A01, is no class" in fault


def test_a_decimal_comma_is_one_where_semicolons_separate_and_nowhere_else(values: dict[str, Any]) -> None:
    rows = "well_position;dose\nA01;0,5\nA02;-1,25E-3\nB01;1.5\nB02;,5\n"
    own = own_platemap(values, rows)
    own["classifiers"]["spots"]["truth"] = None
    assert check(own) == []
    read = read_platemap(Path("own.csv"), [])
    assert [float(row["dose"]) for row in read.values()] == [0.5, -0.00125, 1.5, 0.5]
    own_platemap(values, 'well_position,dose\nA01,"0,5"\nA02,\nB01,\nB02,\n')
    (fault,) = check(own)
    assert fault == "own.csv:2: dose '0,5': expected a number, with a point for its decimals, or nothing"
    own_platemap(values, "well_position;dose\nA01;1.000,5\nA02;\nB01;\nB02;\n")
    assert "own.csv:2: dose '1.000,5'" in check(own)[0]


def test_a_layout_of_several_plates_is_one_fault_that_says_what_splits_it(values: dict[str, Any]) -> None:
    own = own_platemap(values, "plate,well_position\np,A01\nq,A01\np,A02\nq,A02\n")
    own["classifiers"]["spots"]["truth"] = None
    (fault,) = check(own)
    assert fault == ("own.csv: columns ['plate'] are names that PCIM gives; one table a plate: `pcim init --platemap` splits one")


def test_files_of_an_export_that_are_not_there_or_empty_are_a_warning(values: dict[str, Any], tmp_path: Path) -> None:
    names = [f"{number}.tif" for number in range(8)]
    for name in names:
        vendor_exports.write(tmp_path / "raw" / name, np.zeros((60, 60), np.uint16))
    rows = [f"{name},A,{number // 2 + 1},{number % 2}" for number, name in enumerate(names)]
    (tmp_path / "raw/tiles.csv").write_text("\n".join(["file_path,row,column,start_c", *rows]) + "\n")
    Path("own.csv").write_text("well_position\n" + "".join(f"A0{number}\n" for number in range(1, 5)))
    table = "plate\tpath\tplatemap\tformat\tchannels\np\traw\town.csv\ttiles\tDNA,Reporter\n"
    Path("own.tsv").write_text(table)
    entry = values["classifiers"]["spots"]
    told = {key: entry[key] for key in entry.keys() - {"objects", "regions", "truth", "crops"}} | {"plates": ["p"]}
    own = values | {"plates": "own.tsv", "classifiers": {"spots": told}}
    assert check(own) == []
    assert "warning" not in {one.state for one in validate([Path("my.yaml")]).found}
    (tmp_path / "raw/2.tif").unlink()
    (tmp_path / "raw/7.tif").write_bytes(b"")
    assert check(own) == [], "each is a row with a reason, and the plate goes on"
    (warning,) = (one for one in validate([Path("my.yaml")]).found if one.state == "warning")
    assert warning.name == "plate p"
    assert warning.found == "of 8 files 2 cannot be read: 2.tif: no such file; 7.tif: an empty file"
    shown = CliRunner().invoke(app, ["validate", "--configfile", "my.yaml"])
    assert shown.exit_code == 0
    assert "nothing is wrong; 1 warning below" in shown.stdout
    assert warning.found in shown.stdout
    for name in names[:6]:
        (tmp_path / "raw" / name).unlink(missing_ok=True)
    (warning,) = (one for one in validate([Path("my.yaml")]).found if one.state == "warning")
    assert warning.found.startswith("of 8 files 7 cannot be read: 0.tif: no such file; ")
    assert warning.found.endswith("4.tif: no such file and 2 more")


def test_code_that_is_not_trusted_is_one_fault_and_is_not_run(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    write_model(tmp_path / "model", architecture="strange:net")
    (fault,) = check(values)
    assert "'strange', whose code makes classifiers.spots, is not in ['pcim', 'planted_campaign']" in fault
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_no_safetensors_are_named(values: dict[str, Any], tmp_path: Path) -> None:
    import hashlib

    told = yaml.safe_load((tmp_path / "model/model.yaml").read_text())
    (tmp_path / "model/weights.safetensors").write_bytes(b"PK\x03\x04 an archive")
    told["sha256"] = hashlib.sha256(b"PK\x03\x04 an archive").hexdigest()
    (tmp_path / "model/model.yaml").write_text(yaml.safe_dump(told))
    (fault,) = check(values)
    assert "weights.safetensors: not readable as safetensors" in fault


def test_places_of_crops_are_read(values: dict[str, Any], tmp_path: Path) -> None:
    told = yaml.safe_load((tmp_path / "model/model.yaml").read_text())
    told["input"]["view"] = "object"
    (tmp_path / "model/model.yaml").write_text(yaml.safe_dump(told))
    Path("places.csv").write_text("well,field,y,x\nA01,0,1,1\nA02,0,north,1\n")
    values["classifiers"]["spots"]["crops"] = {"table": "places.csv"}
    (fault,) = check(values)
    assert "classifiers.spots.crops.table: places.csv:3:" in fault


def test_a_campaign_above_its_budget_and_the_free_space_is_refused_with_both(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    found = check(values | {"budget": {"max_jobs": 1}})
    assert len(found) == 2
    assert "budget.max_jobs: " in found[0]
    assert found[1].startswith("space: free: 0.0 GB")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; run as a user")
def test_results_that_may_not_be_written_are_named(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o500)
    (fault,) = check(values)
    assert "may not be written to" in fault


def test_json_holds_the_faults_or_the_costs(values: dict[str, Any]) -> None:
    for change, is_valid in (({}, True), ({"max_failed": 3}, False)):
        Path("my.yaml").write_text(yaml.safe_dump(values | change))
        result = CliRunner().invoke(app, ["validate", "--configfile", "my.yaml", "--json"])
        told = json.loads(result.stdout)
        assert (told["form"], told["campaign"], told["is_valid"]) == (1, "planted", is_valid)
        assert bool(told["faults"]) is not is_valid
        assert (told["costs"].get("plate1", {}).get("maps") == 16 * 3) is is_valid
        assert result.exit_code == (0 if is_valid else 2)
