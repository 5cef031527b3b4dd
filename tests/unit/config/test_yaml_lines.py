"""What is written in YAML is read with the line of every key, and nothing in it is dropped in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from planted_campaign import write_campaign

from pcim.campaign.campaign import Campaign
from pcim.campaign.input_tables import CampaignError, read_config
from pcim.config.yaml_lines import MAX_BYTES, YamlSource, read_together, read_yaml
from pcim.operations.validate import validate

ROOT = Path(__file__).parents[3]


def read(file: Path, text: str) -> tuple[YamlSource | None, list[str]]:
    file.write_text(text)
    faults: list[str] = []
    return read_yaml(file, faults), faults


def test_a_key_is_placed_at_its_line_and_one_that_is_not_there_at_its_group(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    written, faults = read(file, "campaign: x\n\ngroup:\n  inner: {deep: 1}\n  many:\n  - 1\n  - 2\n")
    assert written is not None
    assert not faults
    assert written.at("campaign") == f"{file}:1: campaign"
    assert written.at("group", "inner", "deep") == f"{file}:4: group.inner.deep"
    assert written.at("group", "many", 1) == f"{file}:7: group.many.1"
    assert written.at("group", "inner", "lost") == f"{file}:4: group.inner.lost"
    assert written.at("lost") == f"{file}: lost"
    assert written.at() == f"{file}: the file"


def test_of_several_files_each_key_is_placed_in_the_one_that_gave_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("a: 1\nb: {c: 2, d: 3}\n")
    second.write_text("\n\nb:\n  c: 4\n")
    faults: list[str] = []
    written = read_together([first, second], faults)
    assert written.values == {"a": 1, "b": {"c": 4, "d": 3}}
    assert [written.at(*key.split(".")) for key in ("a", "b.c", "b.d")] == [
        f"{first}:1: a",
        f"{second}:4: b.c",
        f"{first}:2: b.d",
    ]


def test_what_no_file_says_came_from_the_command_line(tmp_path: Path) -> None:
    written, _ = read(tmp_path / "a.yaml", "a: 1\nb: {c: [1, 2]}\n")
    assert written is not None
    run = written.over({"a": 2, "b": {"c": [1, 3]}, "d": {"e": 1}})
    assert [run.at("a"), run.at("b", "c", 0), run.at("b", "c", 1), run.at("d", "e")] == [
        "--config: a",
        f"{tmp_path}/a.yaml:2: b.c.0",
        "--config: b.c.1",
        "--config: d.e",
    ]


def test_a_key_that_stands_twice_is_a_fault_with_both_lines(tmp_path: Path) -> None:
    _, faults = read(tmp_path / "a.yaml", "a: 1\nb:\n- c: 1\n  d: 2\n  c: 3\na: 2\n")
    assert faults == [
        f"{tmp_path}/a.yaml:6: a: stands twice; it is in line 1 already",
        f"{tmp_path}/a.yaml:5: b.0.c: stands twice; it is in line 3 already",
    ]


def test_a_merged_key_that_is_given_again_does_not_stand_twice(tmp_path: Path) -> None:
    written, faults = read(tmp_path / "a.yaml", "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n")
    assert written is not None
    assert not faults
    assert written.values["b"] == {"x": 1, "y": 3}
    assert [written.at("b", "x"), written.at("b", "y")] == [f"{tmp_path}/a.yaml:1: b.x", f"{tmp_path}/a.yaml:4: b.y"]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "more than 100,000 keys and values once its aliases are followed"),
        (MERGES, "more than 100,000 keys and values once its aliases are followed"),
        ("a: &a\n  b: *a\n", "line 1: an alias to what it stands in"),
        ("[" * 9000, "nested too deeply"),
        ("#" * (MAX_BYTES + 1), "1,000,001 bytes; at most 1,000,000 are read"),
        ("a: 2020-13-45\n", "not readable as YAML: month must be in 1..12"),
        ("a: !!python/object:os.system x\n", ":1: not readable as YAML: could not determine a constructor"),
        ("a: 1\n\tb: 2\n", ":2: not readable as YAML: while scanning for the next token, found character"),
        ("a: \x00", "not readable as YAML: unacceptable character"),
    ],
)
def test_what_is_no_sound_yaml_is_one_line_that_says_where(tmp_path: Path, text: str, told: str) -> None:
    written, faults = read(tmp_path / "a.yaml", text)
    assert written is None
    (fault,) = faults
    assert told in fault
    assert fault.startswith(f"{tmp_path}/a.yaml")
    assert "\n" not in fault


def test_a_config_with_a_fault_of_syntax_has_no_other_faults_and_a_model_that_is_a_folder_is_named(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text("campaign: [a\n")
    (fault,) = validate([tmp_path / "broken.yaml"]).faults
    assert "not readable as YAML" in fault
    folder = Path(inputs["classifiers"]["spots"]["model"]).parent
    named = inputs | {"classifiers": {"spots": {"model": str(folder), "plates": ["plate1"]}}}
    (tmp_path / "folder.yaml").write_text(yaml.safe_dump(named))
    told = "\n".join(validate([tmp_path / "folder.yaml"]).faults)
    assert f"{folder}: a folder; name the file in it, {folder}/model.yaml" in told


def test_a_config_that_is_no_file_or_no_mapping_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(CampaignError) as error:
        read_config([tmp_path / name for name in ("lost.yaml", "list.yaml", "empty.yaml")])
    assert error.value.faults == [
        f"{tmp_path}/lost.yaml: no such file",
        f"{tmp_path}/list.yaml: expected keys and values, got a list",
        f"{tmp_path}/empty.yaml: expected keys and values, got nothing",
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_campaign(tmp_path_factory.mktemp("inputs"))


def faults_of(values: dict[str, Any], folder: Path) -> list[str]:
    (folder / "my.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(CampaignError) as error:
        Campaign.load(read_config([folder / "my.yaml"]))
    return [fault.replace(str(folder), ".") for fault in error.value.faults]


def test_faults_of_every_kind_say_the_line_of_their_key(inputs: dict[str, Any], tmp_path: Path) -> None:
    model = inputs["classifiers"]["spots"]["model"]
    config = f"""campaign: planted
plates: {inputs["plates"]}
max_failed: 2
classifiers:
  spots:
    model: {model}
    truth: lable
    halo: 3
    plates:
    - plate1
    - plate9
  läme: {{model: {model}, plates: [plate1]}}
  lame:
    plates: [plate1]
classify: {{trusted_packages: [pcim, planted_campaign]}}
"""
    (tmp_path / "my.yaml").write_text(config)
    with pytest.raises(CampaignError) as error:
        Campaign.load(read_config([tmp_path / "my.yaml"]))
    told = "\n".join(error.value.faults).replace(str(tmp_path), ".")
    for fault in (
        "./my.yaml:3: max_failed: Input should be less than or equal to 1, got 2",
        "./my.yaml:7: classifiers.spots.truth: column 'lable' is not in ",
        "./my.yaml:8: classifiers.spots.halo: unknown key (did you mean 'halo_px'?); allowed: model, plates",
        "./my.yaml:9: classifiers.spots.plates: 'plate9' is not in ",
        "./my.yaml:12: classifiers.läme: expected letters, digits, '_' and '-', a letter or digit first, got 'läme'",
        "./my.yaml:13: classifiers.lame.model: missing. It is required: The classifier's model.yaml, relative to",
    ):
        assert fault in told
    assert len(error.value.faults) == 6


def test_faults_of_a_model_yaml_say_its_line_and_who_named_it(inputs: dict[str, Any], tmp_path: Path) -> None:
    model = tmp_path / "model.yaml"
    told = yaml.safe_load(Path(inputs["classifiers"]["spots"]["model"]).read_text())
    told["input"]["view"] = "tiles"
    model.write_text(yaml.safe_dump(told, sort_keys=False))
    entry = inputs["classifiers"]["spots"] | {"model": str(model)}
    found = faults_of(inputs | {"classifiers": {"spots": entry}}, tmp_path)
    line = model.read_text().splitlines().index("  view: tiles") + 1
    assert f"classifiers.spots.model: ./model.yaml:{line}: input.view: expected one of field, tile, object" in found[0]
    assert found[0].endswith("got 'tiles' (did you mean 'tile'?)")


def test_a_run_says_the_lines_of_its_files_and_what_the_command_line_gave(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(inputs | {"max_failed": 2}, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", "--dry-run"]
    command += ["--configfile", "my.yaml", "--config", "jobs_per_plate=0"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    line = (tmp_path / "my.yaml").read_text().splitlines().index("max_failed: 2") + 1
    assert ran.returncode == 1
    assert f"my.yaml:{line}: max_failed: Input should be less than or equal to 1, got 2" in ran.stderr + ran.stdout
    assert "--config: jobs_per_plate: Input should be greater than or equal to 1, got 0" in ran.stderr + ran.stdout
