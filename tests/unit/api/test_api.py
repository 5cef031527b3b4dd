"""The Python API as its users meet it: the page about it, its types, and the notebooks."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import pytest
from documents import PYTHON, ROOT, blocks_of
from planted_campaign import write_model

import pcim

sys.path.insert(0, str(ROOT / "docs/notebooks"))
from run import NOTEBOOKS, executed

USE = """
from typing import Any, assert_type
import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from pcim import PCIM, attribute_plate, evaluate, load_classifier, open_plate
from pcim.attribution.maps import Maps

plate = open_plate("p.zarr", z="max")
assert_type(plate.field("A01", "0"), xr.DataArray)
assert_type(plate.wells, list[str])
assert_type(plate.pixel_size_um, float | None)
classifier = load_classifier("model", ["my_package"], "cuda")
maps = attribute_plate(plate, classifier, wells=["A01"], target="call")
assert_type(maps, Maps)
assert_type(maps.ledger, pd.DataFrame)
assert_type(maps.to_xarray(), xr.Dataset)
assert_type(maps.plot(0), NDArray[Any])
images: torch.Tensor = torch.zeros(1, 1, 8, 8)
assert_type(PCIM(torch.nn.Identity()).attribute(images, target=1), Maps)
assert_type(evaluate({"mine": images}, images, classifier, objects=np.zeros((1, 8, 8), bool)), pd.DataFrame)
open_plate(1)
PCIM(classifier).attribute(images, target="call")
"""


@pytest.fixture
def _no_window() -> Iterator[None]:
    from matplotlib import pyplot as plt

    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@pytest.mark.usefixtures("_no_window")
def test_the_page_about_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = ROOT / "docs/api.md"
    found: dict[str, Any] = {}
    for block in blocks_of(page):
        assert block.language in PYTHON
        if block.test:
            continue
        exec(compile(block.text, str(block), "exec"), found)
    assert found["maps"].shape == (2, 1, 130, 174)
    assert found["field"].chunks is not None
    assert {"pcim", "pcim_blurred", "objects_mask"} == set(found["scores"]["method"])
    named = set(pcim.__all__)
    assert named <= found.keys()
    text = page.read_text(encoding="utf-8")
    assert all(f"| `{name}(" in text for name in named)
    assert {"worms", "rim", "background"} <= set(found["exchanged"]["region"])
    told = re.findall(r"^\| `pcim\.([\w.]+)\.(\w+)\((.*?)\)`", text, re.MULTILINE)
    assert len(told) == 7
    for module, name, parameters in told:
        known = inspect.signature(getattr(importlib.import_module(f"pcim.{module}"), name)).parameters
        assert list(known)[: parameters.count(",") + 1] == parameters.split(", "), name


def test_a_classifier_of_a_package_that_is_trusted_is_loaded_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package.py").write_text("from planted_campaign import spot_detector\n")
    write_model(tmp_path / "my_model", architecture="my_package:spot_detector")
    (block,) = (one for one in blocks_of(ROOT / "docs/api.md") if one.test)
    found: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), found)
    assert found["classifier"].contract.classes == ["plain", "spot"]
    with pytest.raises(ValueError, match="my_package"):
        pcim.load_classifier("my_model")


def test_a_users_code_is_checked_by_its_types(tmp_path: Path) -> None:
    assert (Path(pcim.__file__).parent / "py.typed").is_file()
    (tmp_path / "use.py").write_text(USE)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
        str(tmp_path / "use.py"),
    ]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    errors = [line.partition(" error: ")[2] for line in said.splitlines() if " error: " in line]
    assert [error.partition(";")[0].partition("  [")[0] for error in errors] == [
        'Argument 1 to "open_plate" has incompatible type "int"',
        'Argument "target" to "attribute" of "PCIM" has incompatible type "str"',
    ], said


def test_every_public_name_says_what_it_takes_gives_and_raises() -> None:
    for name in pcim.__all__:
        told = getattr(pcim, name).__doc__
        assert "Raises\n" in told
        assert "Parameters\n" in told or name == "load_classifier"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_kept_after_a_whole_run_and_is_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.get("name") == "stderr" or output.output_type == "error" for output in outputs)
    assert "assert " in code[-1].source
    assert path.stat().st_size < 300_000


@pytest.mark.workflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's own parts
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_claim_holds(path: Path) -> None:
    again, kept = executed(path), nbformat.read(path, as_version=4)
    assert [cell.source for cell in again.cells] == [cell.source for cell in kept.cells]
    assert [len(cell.get("outputs", [])) for cell in again.cells] == [len(cell.get("outputs", [])) for cell in kept.cells]
