"""The tree keeps its shape: light modules stay light, scripts stay adapters, modules stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pcim.revisions import REVISIONS

ROOT = Path(__file__).parents[2]
LIGHT = (
    "plate",
    "config",
    "faults",
    "contract",
    "inputs",
    "campaign",
    "chunks",
    "ngff",
    "jobs",
    "progress",
    "revisions",
    "source",
    "plan",
    "survey",
    "exports",
    "settings",
    "budget",
    "budget_settings",
    "expected",
    "pace",
    "outline",
    "provenance",
)
HEAVY = {"torch", "zarr", "dask", "captum", "pandas", "scipy", "matplotlib"}


def test_the_snakefile_which_every_job_reads_again_imports_nothing_heavy() -> None:
    code = f"import sys, {', '.join(f'pcim.{name}' for name in LIGHT)}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & {name.partition(".")[0] for name in output.split()}


def test_the_package_has_five_names_and_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, pcim; print(*pcim.__all__); assert set(pcim.__all__) <= set(dir(pcim)); print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names, modules = output.splitlines()
    assert names.split() == ["PCIM", "attribute_plate", "evaluate", "load_classifier", "open_plate"]
    assert not (HEAVY | {"numpy", "pydantic", "yaml"}) & {name.partition(".")[0] for name in modules.split()}


def test_no_module_takes_the_place_of_a_public_name() -> None:
    code = (
        "import pcim, pkgutil; print(*[m.name for m in pkgutil.iter_modules(pcim.__path__) if m.name in pcim.__all__])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.split() == []


@pytest.mark.parametrize("script", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem)
def test_a_script_is_an_adapter_with_one_call_and_no_branch(script: Path) -> None:
    tree = ast.parse(script.read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.With)]
    assert len(block.body) == 1
    body = [
        line for line in script.read_text().splitlines() if line and not line.startswith(("from", "import", "if", '"'))
    ]
    assert len(body) <= 20
    assert not any(isinstance(node, ast.For | ast.While | ast.Try) for node in ast.walk(tree))


def test_every_stage_has_its_rule_file_its_script_its_module_and_its_revision() -> None:
    for stage in ("ingest", "classify", "attribute", "aggregate", "evaluate", "report"):
        assert (ROOT / f"workflow/rules/{stage}.smk").is_file()
        assert (ROOT / f"workflow/scripts/{stage}.py").is_file()
        # `pcim.evaluate` is the public function: a module of that name would take its place once it is imported
        places = (f"{stage}.py", f"{stage}/stage.py", f"{stage}_stage.py")
        assert any((ROOT / "src/pcim" / place).is_file() for place in places)
        assert REVISIONS[stage] >= 1


def test_modules_are_small_and_none_is_called_utils() -> None:
    modules = list((ROOT / "src").rglob("*.py"))
    too_long = {path.name: n for path in modules if (n := len(path.read_text().splitlines())) > 300}
    assert not too_long
    assert not {"utils.py", "common.py", "helpers.py", "misc.py"} & {path.name for path in modules}
