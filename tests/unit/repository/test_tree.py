"""The tree keeps its shape: light modules stay light, scripts stay adapters, modules stay small."""

from __future__ import annotations

import ast
import collections
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pcim
from pcim.campaign import layout
from pcim.revisions import REVISIONS

ROOT = Path(__file__).parents[3]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
"""What may import what; `make check` holds the package to it."""
(LIGHT,) = [one["source_modules"] for one in CONTRACTS if one["name"] == "What the Snakefile imports stays light"]
MOST_MODULES = 12  # in one folder: more are not found by their names
MOST_LINES = 50  # of a body: what one screen shows
HEAVY = {"torch", "zarr", "dask", "captum", "pandas", "scipy", "matplotlib"}


def test_the_snakefile_which_every_job_reads_again_imports_nothing_heavy() -> None:
    light = [(name, f"{name}.") for name in LIGHT]
    every = [one.name for one in pkgutil.walk_packages(pcim.__path__, "pcim.")]
    modules = [name for name in every if any(name == whole or name.startswith(below) for whole, below in light)]
    assert len(modules) > len(LIGHT)
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & {name.partition(".")[0] for name in output.split()}


def test_the_package_has_five_names_and_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, pcim; print(*pcim.__all__); assert set(pcim.__all__) <= set(dir(pcim)); print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names, modules = output.splitlines()
    assert names.split() == ["PCIM", "attribute_plate", "evaluate", "load_classifier", "open_plate"]
    assert not (HEAVY | {"numpy", "pydantic", "yaml"}) & {name.partition(".")[0] for name in modules.split()}


def test_no_module_takes_the_place_of_a_public_name() -> None:
    code = "import pcim, pkgutil; print(*[m.name for m in pkgutil.iter_modules(pcim.__path__) if m.name in pcim.__all__])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.split() == []


@pytest.mark.parametrize("script", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem)
def test_a_script_is_an_adapter_with_one_call_and_no_branch(script: Path) -> None:
    tree = ast.parse(script.read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.With)]
    assert len(block.body) == 1
    body = [line for line in script.read_text().splitlines() if line and not line.startswith(("from", "import", "if", '"'))]
    assert len(body) <= 20
    assert not any(isinstance(node, ast.For | ast.While | ast.Try) for node in ast.walk(tree))


def test_every_stage_has_its_rule_file_its_script_its_module_and_its_revision() -> None:
    for stage in ("ingest", "classify", "attribute", "aggregate", "evaluate", "report"):
        assert REVISIONS[stage] >= 1
    for name, rule in layout.RULES.items():
        assert (ROOT / f"workflow/rules/{rule.stage}.smk").is_file()
        assert (ROOT / f"workflow/scripts/{name}.py").is_file()
        assert any((ROOT / "src/pcim/stages" / place).exists() for place in (f"{name}.py", f"{name}/job.py"))


PARTICIPLES = {
    "asked", "given", "known", "made", "held", "kept", "found", "told", "said", "seen", "shown", "chosen", "taken", "left", "done",
    "written", "drawn", "learnt", "spent", "put", "lost", "gone", "bound", "broken", "built", "lent",
}  # fmt: skip


def test_no_function_and_no_class_is_named_by_a_past_participle_alone() -> None:
    """`found` says neither what was found nor what to do: names are nouns for data and verbs for functions."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "name")]
        defined = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
        words = [re.sub(r"(?<!^)(?=[A-Z])", "_", node.name.strip("_")).lower() for node in defined]
        for word in [*words, path.stem.strip("_")]:
            assert "_" in word or not (word in PARTICIPLES or re.fullmatch(r"\w+[^e]ed", word)), (path.name, word)


def body_lines(function: ast.FunctionDef) -> int:
    """Return the lines of a function's body, without its docstring."""
    first, *rest = function.body
    is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (function.end_lineno or 0) - (rest[0] if is_doc and rest else first).lineno + 1


def test_folders_and_functions_are_small_and_nothing_is_called_utils() -> None:
    modules = sorted((ROOT / "src").rglob("*.py"))
    folders = collections.Counter(path.parent for path in modules if path.name != "__init__.py")
    assert {folder.name: count for folder, count in folders.items() if count > MOST_MODULES} == {}
    too_long = {
        f"{path.name}: {node.name}": lines
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (lines := body_lines(node)) > MOST_LINES
    }
    assert too_long == {}
    assert not {"utils.py", "common.py", "helpers.py", "misc.py"} & {path.name for path in modules}
