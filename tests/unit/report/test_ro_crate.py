"""The campaign as a Workflow Run RO-Crate: valid, complete, bounded, and silent about the machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from finished_campaign import HOSTILE, Made, make_campaign, write_report
from planted_campaign import write_model
from pydantic import ValidationError

from pcim.classifiers.contract import load_contract
from pcim.config.config import Config, Person
from pcim.core.plate_source import Source
from pcim.report.ro_crate import CrateInput, copy_workflow, write_crate

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests/data/crate"
TOOLS = Path(os.environ.get("PCIM_TOOLS", ROOT / ".venv/tools")) / "bin"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
ADA = {"name": "Ada Lovelace", "orcid": "0000-0002-1825-0097", "affiliation": "Analytical Engines"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = make_campaign(tmp_path_factory.mktemp("crate"))
    made.arguments["config"] |= {"people": [ADA, {"name": HOSTILE}], "licence": "https://spdx.org/licenses/CC-BY-4.0"}
    write_report(made.arguments)
    return made


def entities(path: str | Path) -> dict[str, dict[str, Any]]:
    graph = json.loads(Path(path).read_text(encoding="utf-8"))["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(references, value)) if value else set()
    return {value["@id"]} if isinstance(value, dict) else set()


def validate(folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run roc-validator, offline: the only document that it asks for is in its cache already."""
    fill = [str(TOOLS / "python"), str(DATA / "fill_cache.py"), str(cache), f"{CONTEXT}={DATA / 'context-1.1.jsonld'}"]
    subprocess.run(fill, check=True, env={"PATH": os.environ["PATH"]})
    how = ["--offline", "--cache-path", str(cache), "--no-paging", "--verbose"]
    command = [str(TOOLS / "rocrate-validator"), "-y", "--disable-color", "validate", *how]
    command += ["--profile-identifier", "workflow-run-crate", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})


def has_tools() -> bool:
    """Whether the tools' environment is there; where it must be (`PCIM_TOOLS_REQUIRED`), a test fails without it."""
    return (TOOLS / "rocrate-validator").exists() or bool(os.environ.get("PCIM_TOOLS_REQUIRED"))


needs_tools = pytest.mark.skipif(not has_tools(), reason="roc-validator is not installed (make .venv/.tools)")


@needs_tools
def test_roc_validator_finds_a_valid_workflow_run_crate(made: Made, tmp_path: Path) -> None:
    ran = validate(Path(made.arguments["crate"]).parent, tmp_path / "cache")
    assert ran.returncode == 0, ran.stdout
    assert "is a valid workflow-run-crate-0.5" in ran.stdout


@needs_tools
def test_roc_validator_refuses_a_crate_whose_run_is_lost(made: Made, tmp_path: Path) -> None:
    path = Path(made.arguments["crate"])
    content = json.loads(path.read_text(encoding="utf-8"))
    content["@graph"] = [entity for entity in content["@graph"] if entity["@type"] != "CreateAction"]
    (tmp_path / path.name).write_text(json.dumps(content), encoding="utf-8")
    assert validate(tmp_path, tmp_path / "cache").returncode != 0


def test_the_crate_says_what_went_in_what_came_out_by_what_and_by_whom(made: Made) -> None:
    found = entities(made.arguments["crate"])
    action, root = found["#run"], found["./"]
    assert action["instrument"] == root["mainEntity"] == {"@id": "workflow/Snakefile"}
    assert found["workflow/Snakefile"]["@type"] == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    assert {"#plates", "#classifiers", "#value-attribute.pcim.steps"} <= references(action["object"])
    outputs = {
        "report/index.html",
        "report/report.json",
        "classify/spots/p1/",
        "maps/spots/p1_pcim.zarr/",
        "evaluate/spots/interventions.parquet",
    }
    assert outputs <= references(action["result"])
    assert found["#value-report.draws"]["value"] == 200
    contract = load_contract(Path(made.arguments["models"][0]))
    assert found["#classifier-spots"]["sha256"] == contract.sha256
    assert found["#classifier-spots"]["license"] == "CC0 1.0"
    assert found["#plate-p1"]["identifier"].startswith("blake2b:")
    assert root["license"] == "https://spdx.org/licenses/CC-BY-4.0"
    ada = found["https://orcid.org/0000-0002-1825-0097"]
    assert action["agent"] == {"@id": ada["@id"]}
    assert found[ada["affiliation"]["@id"]]["name"] == ADA["affiliation"]
    assert action["endTime"].endswith("+00:00")
    (pcim,) = [one for one in found.values() if one.get("name") == "pcim" and one["@type"] == "SoftwareApplication"]
    assert pcim["softwareVersion"] == "0.0"


def test_every_reference_leads_to_an_entity_and_every_file_is_there(made: Made) -> None:
    path = Path(made.arguments["crate"])
    found = entities(path)
    for entity in found.values():
        for key, value in entity.items():
            if key not in {"conformsTo", "identifier", "url"}:
                assert references(value) <= found.keys(), (entity["@id"], key)
    parts = references(found["./"]["hasPart"])
    assert parts
    assert all((path.parent / part).exists() for part in parts)
    assert all((path.parent / part).is_dir() == part.endswith("/") for part in parts)


def test_no_path_of_the_machine_and_no_host_is_in_it(made: Made) -> None:
    text = Path(made.arguments["crate"]).read_text(encoding="utf-8")
    assert str(made.folder) not in text
    assert "/tmp" not in text
    assert os.uname().nodename not in text
    assert '"model.yaml"' in text, "of a file its name"


def test_the_copied_workflow_is_what_runs(made: Made) -> None:
    copy = Path(made.arguments["workflow"])
    files = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert "Snakefile" in files
    assert {f"workflow/rules/{path.name}" for path in (ROOT / "workflow/rules").glob("*.smk")} <= files
    assert all((copy / name).read_bytes() == (ROOT / name).read_bytes() for name in files)


def told_of(folder: Path, plates: int) -> CrateInput:
    model = write_model(folder / "model")
    names = [f"p{number:04d}" for number in range(plates)]
    values = {
        "campaign": "large",
        "plates": "plates.tsv",
        "classifiers": {"spots": {"model": str(model), "plates": names}},
    }
    config = Config.model_validate(values)
    for name in names:
        for method in config.attribute.methods:
            (folder / f"maps/spots/{name}_{method}.zarr").mkdir(parents=True)
        for place in ("ingest", "classify/spots", "aggregate/spots", "evaluate/spots"):
            (folder / place / name).mkdir(parents=True)
    fields = pd.DataFrame({"plate": names * 2, "path": ["A/1/0"] * plates + ["A/1/1"] * plates, "digest": "d"})
    sources = {name: Source(f"s3://screens/{name}.zarr") for name in names}
    return CrateInput(config, {"spots": load_contract(model)}, sources, fields, {}, {"pcim": "0"}, {"report": 1}, ended=0.0)


def test_a_hundred_plates_are_a_crate_of_a_few_thousand_entities_in_seconds(tmp_path: Path) -> None:
    told = told_of(tmp_path, 100)
    copy_workflow(tmp_path / "workflow")
    began = time.process_time()
    write_crate(tmp_path / "ro-crate-metadata.json", tmp_path / "workflow", told)
    assert time.process_time() - began < 10
    assert (tmp_path / "ro-crate-metadata.json").stat().st_size < 1_000_000
    found = entities(tmp_path / "ro-crate-metadata.json")
    assert sum(name.startswith("maps/") for name in found) == 100 * len(told.config.attribute.methods)
    assert len(found) < 3000
    assert found["#plate-p0042"]["url"] == "s3://screens/p0042.zarr"
    other = replace(told, fields=told.fields.iloc[::-1])
    write_crate(tmp_path / "ro-crate-metadata.json", tmp_path / "workflow", other)
    assert entities(tmp_path / "ro-crate-metadata.json")["#plate-p0042"] == found["#plate-p0042"], "fields in any order"


@pytest.mark.parametrize("orcid", ["0000-0002-1825-0097", "0000-0002-1694-233X", "0000-0001-5109-3700"])
def test_an_orcid_whose_check_character_is_right_is_taken(orcid: str) -> None:
    assert Person(name="A", orcid=orcid).orcid == orcid


@pytest.mark.parametrize(
    "orcid",
    ["0000-0002-1825-0098", "0000-0002-1825-009X", "https://orcid.org/0000-0002-1825-0097", "0000000218250097", ""],
)
def test_what_is_no_orcid_is_refused(orcid: str) -> None:
    with pytest.raises(ValidationError):
        Person(name="A", orcid=orcid)
