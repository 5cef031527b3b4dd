"""Every output of a real run says what made it, and is made again from that alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from pcim.plates.attribution_plate import AttributionPlate
from pcim.revisions import REVISIONS
from pcim.runtime.provenance import code_digest, read_record

pytestmark = pytest.mark.workflow


def test_every_output_says_what_made_it(undisturbed: Any) -> None:
    tables = [path for path in undisturbed.results.rglob("*.parquet") if not path.name.startswith(".")]
    stages = {path: read_record(path) for path in tables}
    assert {made["stage"] for made in stages.values()} == set(REVISIONS) - {"convert"}
    for path, made in stages.items():
        assert path.relative_to(undisturbed.results).parts[0] == made["stage"], path
        assert made["revision"] == REVISIONS[made["stage"]]
        assert made["code"] == code_digest()
        assert "torch" in made["software"]
        assert str(Path(sys.executable).parents[2]) not in json.dumps({**made, "job": "", "source": ""})
    fields = [path.parent for path in undisturbed.results.glob("maps/spots/*.zarr/*/*/*/zarr.json")]
    assert len(fields) == 3 * 8
    for field in fields:
        made = AttributionPlate(field.parents[2]).provenance("/".join(field.parts[-3:]))
        assert made["code"] == code_digest()
        assert made["numerics"]["threads"] == 1
    for path in undisturbed.results.rglob("*_maps.zarr.zip"):
        with ZipFile(path) as archive:
            assert json.loads(archive.read(".zattrs"))["pcim"]["stage"] == "aggregate"
    told = json.loads((undisturbed.results / "campaign.json").read_text())["provenance"]
    assert told["config"]["attribute"]["pcim"]["steps"] == 30
    assert {Path(name).name for name in told["files"]} == {
        "config.yaml", "plates.tsv", "plate1.csv", "model.yaml", "weights.safetensors",
    }  # fmt: skip
    assert all(len(digest) == 64 for digest in told["files"].values())


def test_a_well_is_made_again_from_what_is_recorded_alone(undisturbed: Any) -> None:
    config = undisturbed.folder / "config.yaml"
    before = config.read_text()
    config.write_text("campaign: another\n")
    command = [
        sys.executable,
        "-m",
        "pcim.cli.main",
        "reproduce",
        str(undisturbed.results),
        "--well",
        "B02",
        "--trust",
        "planted_campaign",
        "--json",
    ]
    ran = subprocess.run(command, env=undisturbed.environment, cwd="/", capture_output=True, check=False)
    config.write_text(before)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["state"] == "equal"
    assert len(told["compared"]) == 4 * (1 + 3)
    assert [change["what"] for change in told["changes"]] == ["config.yaml"]
