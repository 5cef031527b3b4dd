"""Arrays and weights of others are numbers of a bounded size, or refused in words; no header makes memory of nothing."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import safetensors.torch
import torch
from planted_campaign import write_model

from pcim.classifiers.classifier import load_classifier
from pcim.classifiers.contract import ModelError
from pcim.classifiers.packaging.bioimage_zoo import _read_file, read_package
from pcim.classifiers.packaging.import_model import read_array

AXES = "raw views (n, c, h, w)"


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_an_array_is_read_from_either_form(tmp_path: Path) -> None:
    views = np.arange(16, dtype=np.uint16).reshape(1, 1, 4, 4)
    (tmp_path / "a.npy").write_bytes(npy(views))
    safetensors.numpy.save_file({"images": views, "x": views[0]}, tmp_path / "a.safetensors")
    for name in ("a.npy", "a.safetensors"):
        np.testing.assert_array_equal(read_array(tmp_path / name, "images", AXES), views)


HEADER = npy(np.zeros((1, 1, 4, 4)))
SHAPE = b"(1, 1, 4, 4), }"
BROKEN = {
    "no shape": HEADER.replace(SHAPE, b"(9999,)*1, }   "[: len(SHAPE)]),
    "a terabyte": HEADER.replace(SHAPE + b"   ", b"(1000000,1000000)}"[: len(SHAPE) + 3].ljust(len(SHAPE) + 3)),
    "cut off": HEADER[:-1],
    "a pickle": npy(np.zeros((1, 1, 1, 1), np.float32)).replace(b"'<f4'", b"'|O' "),
    "texts": npy(np.full((1, 1, 1, 1), "x")),
    "a zip": b"PK\x03\x04" + bytes(60),
    "nothing": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_array_of_numbers_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    for file in (tmp_path / "a.npy", tmp_path / "a.safetensors"):
        file.write_bytes(BROKEN[name])
        tracemalloc.start()
        try:
            with pytest.raises(ModelError, match=r"no array of NumPy|not readable as safetensors|expected one array"):
                read_array(file, "images", AXES)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_weights_and_test_inputs_are_regular_files_of_a_classifiers_size(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    for name in ("weights.safetensors", "test.safetensors"):
        file = model.parent / name
        content = file.read_bytes()
        os.truncate(file, 2**33 + 1)
        with pytest.raises(ModelError, match=rf"{name}: 8,589,934,593 bytes; at most 8,589,934,592 are read"):
            load_classifier(model, ["planted_campaign"], "cpu")
        file.unlink()
        file.symlink_to("/dev/zero")
        with pytest.raises((ModelError, ValueError), match=f"{name}: (not a regular file|no such file)"):
            load_classifier(model, ["planted_campaign"], "cpu")
        file.unlink()
        file.write_bytes(content)
    load_classifier(model, ["planted_campaign"], "cpu")


@pytest.mark.parametrize(
    ("images", "words"),
    [(torch.zeros(0, 1, 2, 2), "one view at least"), (torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16), "torch.bfloat16"), (None,
    "not readable as safetensors")],
)  # fmt: skip
def test_a_test_input_that_is_none_is_refused(tmp_path: Path, images: torch.Tensor | None, words: str) -> None:
    model = write_model(tmp_path / "m")
    file = model.parent / "test.safetensors"
    stored = safetensors.torch.load(file.read_bytes())
    if images is None:
        file.write_bytes(b"\xff" * 99)
    else:
        safetensors.torch.save_file(stored | {"images": images}, file)
    with pytest.raises(ModelError, match=words):
        load_classifier(model, ["planted_campaign"], "cpu")


def test_a_package_unpacks_to_no_more_than_weights_may(tmp_path: Path) -> None:
    package = tmp_path / "p.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", "[" * 900_000)
        archive.writestr("weights.pt", bytes(200_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"weights\.pt is larger than [0-9,]+ bytes"):
            _read_file(package, PurePosixPath("weights.pt"), 2**33)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(ModelError, match="nested too deeply"):
        read_package(package, None, {})
    (tmp_path / "rdf.yaml").write_text(json.dumps({"x": "y" * 2_000_000}))
    with pytest.raises(ModelError, match=r"rdf\.yaml: 2,000,\d+ bytes; at most 1,000,000 are read"):
        read_package(tmp_path / "rdf.yaml", None, {})
