"""`pcim adopt`: from weights of any form, or a package of the BioImage Model Zoo, to a folder that jobs load; the guide is run."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from model_forms import detector, let_torchvision_in, save_onnx, save_program, write_package, zipped
from planted_campaign import SIZE
from typer.testing import CliRunner

from pcim.classifiers.classifier import load_classifier
from pcim.classifiers.contract import ModelError, load_contract
from pcim.classifiers.packaging.bioimage_zoo import normalisation
from pcim.cli.main import app

GUIDE = Path(__file__).parents[3] / "docs/own-model.md"
TOLD = ["--channels", "DNA,Reporter", "--classes", "plain,spot", "--mean", "200,200", "--std", "100,100"]


def adopt(*words: Any) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["adopt", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def views(tmp_path: Path) -> Path:
    file = tmp_path / "views.npy"
    np.save(file, np.random.default_rng(0).normal(200, 100, (3, 2, *SIZE)).clip(0).astype(np.uint16))
    return file


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the guide's blocks of code, each with its language."""
    parts = text.split("```")[1::2]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_command_of_the_guide_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_torchvision_in()
    monkeypatch.chdir(tmp_path)
    write_package(tmp_path / "package")
    zipped(tmp_path / "package", tmp_path / "package.zip")
    printed, told = "", {}
    try:
        for language, code in blocks(GUIDE.read_text()):
            if language == "python" and code.startswith("# my_nets.py"):
                Path("my_nets.py").write_text(code)
            elif language == "python":
                with monkeypatch.context() as python:  # which looks into its working folder; a command does not
                    python.syspath_prepend(str(tmp_path))
                    exec(compile(code, "guide", "exec"), {})
                sys.modules.pop("my_nets", None)
            elif language == "sh":
                for line in code.replace("\\\n", " ").splitlines():
                    if line.startswith("export PYTHONPATH=$PWD"):
                        monkeypatch.syspath_prepend(str(tmp_path))
                        continue
                    assert line.startswith("pcim adopt ")
                    exit_code, stdout, stderr = adopt(*shlex.split(line)[2:])
                    assert (exit_code, stderr) == (0, ""), line
                    printed += stdout
            else:
                assert language == "yaml"
                told |= yaml.safe_load(code)
    finally:
        sys.modules.pop("my_nets", None)
    made = sorted(path.parent.name for path in Path("models").glob("*/model.yaml"))
    assert made == ["converted", "exported", "mine", "overlapping", "scaled", "scored", "scripted", "zoo"]
    seen = load_contract(Path("models/overlapping/model.yaml")).input
    assert (seen.overlap, seen.pixel_size_um) == (16, 0.65)
    scaled = load_contract(Path("models/scaled/model.yaml")).input
    assert (scaled.dtype, scaled.percentiles and scaled.percentiles.over) == ("uint16", "field")
    assert "classify: {trusted_packages: [pcim, my_nets]}" in printed
    assert told["classify"] == {"trusted_packages": ["pcim", "my_nets"]}
    for name in ("exported", "scripted"):
        assert f"classify: {{trusted_programs: [{load_contract(Path('models') / name / 'model.yaml').sha256}]}}" in printed
    assert "attribute: {methods: [pcim, occlusion, kernel_shap, lime, rise, random, edge, contrast]}" in printed
    assert load_contract(Path("models/zoo/model.yaml")).input.channels == ["GFP", "DNA"]


def test_a_folder_is_whole_and_what_was_told_or_is_not_there(tmp_path: Path, views: Path) -> None:
    save_program(detector(), tmp_path / "net.pt2")
    last = tmp_path / "last.npy"
    np.save(last, np.moveaxis(np.load(views), 1, -1))
    into = tmp_path / "deep/mine"
    words = [tmp_path / "net.pt2", "--into", into, "--images", views, *TOLD]
    refused: list[tuple[list[Any], str]] = [
        (words, "--trust-code"),
        ([*words, "--trust-code", "--classes", "one,two,three"], r"gives 2 scores; classes names 3"),
        ([*words, "--trust-code", "--channels", "DNA"], "expected one value for each of the 1 channels"),
        ([*words, "--trust-code", "--view", "crop"], "input.view: expected one of field, tile, object"),
        ([*words, "--trust-code", "--format", "onnx"], r"'weights.pt2': expected .onnx"),
        ([*words, "--trust-code", "--format", "keras"], "--format 'keras': expected one of state_dict, torch_export"),
        ([*words[:3], *TOLD, "--trust-code"], "--images: missing"),
        ([tmp_path / "net.h5", *words[1:]], "expected a suffix of .ckpt, .onnx, .pt, .pt2"),
        ([tmp_path / "none.pt2", *words[1:], "--trust-code"], "No such file"),
        ([*words, "--trust-code", "--images", __file__], "no array of NumPy"),
        (
            [*words, "--trust-code", "--images", last],
            f"(n, 2, {SIZE[0]}, {SIZE[1]}), n at least 1; the channels come last",
        ),
        ([*words, "--trust-code", "--input", "[16]"], "--input [16]: expected keys and values, as in '{overlap: 16}'"),
        ([*words, "--trust-code", "--input", "{overlap: 40}"], "overlap: 40 px; expected at most 24"),
    ]
    for line, message in refused:
        exit_code, _, stderr = adopt(*line)
        assert (exit_code, message in stderr) == (2, True), (message, stderr)
        assert not list(tmp_path.glob("deep/*")), message
    assert adopt(*words, "--trust-code")[0] == 0
    assert {path.name for path in into.iterdir()} == {"model.yaml", "weights.pt2", "test.safetensors"}
    assert "exists already" in adopt(*words, "--trust-code")[2]
    contract = load_contract(into / "model.yaml")
    assert (contract.name, contract.input.size, contract.input.dtype) == ("mine", SIZE, "uint16")
    classifier = load_classifier(into, [contract.sha256], "cpu")
    raw = np.load(views).astype(np.float32)
    wanted = detector()((torch.from_numpy(raw) - 200) / 100).detach().numpy()
    np.testing.assert_allclose(classifier.logits_of(raw, 3), wanted, rtol=1e-5, atol=1e-5)


def test_a_module_that_is_not_trusted_or_not_found_says_what_to_do(tmp_path: Path, views: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(detector().state_dict(), tmp_path / "net.pt")
    words = [
        tmp_path / "net.pt",
        "--into",
        tmp_path / "mine",
        "--images",
        views,
        *TOLD,
        "--architecture",
        "green_net:make",
    ]
    exit_code, _, stderr = adopt(*words)
    assert (exit_code, "give --trust green_net, if you know who made it" in stderr) == (2, True), stderr
    assert "classify." not in stderr, "there is no config yet"
    exit_code, _, stderr = adopt(*words, "--trust", "green_net")
    assert exit_code == 2
    assert "No module named 'green_net'; install it in this environment, or name its folder in PYTHONPATH" in stderr
    (tmp_path / "green_net.py").write_text("from model_forms import detector\n\n\ndef make():\n    return detector()\n")
    monkeypatch.syspath_prepend(tmp_path)
    exit_code, stdout, stderr = adopt(*words, "--trust", "green_net")
    assert (exit_code, stderr) == (0, "")
    assert "48 x 48 px, view: tile" in stdout


@pytest.mark.parametrize(
    ("mean", "std", "told"),
    [
        ("200,2000", "100,100", "channel Reporter: the images have mean 20"),
        ("200,200", "100,10", "channel Reporter: the images have mean 20"),
        ("200,200", "1000,100", "channel DNA: the images have mean 20"),
        ("250,150", "50,200", ""),
    ],
)
def test_a_normalisation_that_does_not_fit_the_images_is_told_and_known_logits_settle_it(
    tmp_path: Path, views: Path, mean: str, std: str, told: str
) -> None:
    save_program(detector(), tmp_path / "net.pt2")
    of = ["--channels", "DNA,Reporter", "--classes", "plain,spot", "--mean", mean, "--std", std]
    words = [tmp_path / "net.pt2", "--images", views, "--trust-code", *of]
    exit_code, _, stderr = adopt(*words, "--into", tmp_path / "told")
    assert exit_code == 0
    assert stderr.count("pcim: warning: ") == bool(told)
    assert told in stderr
    raw = torch.from_numpy(np.load(views).astype(np.float32))
    shift, scale = (torch.tensor([*map(float, of.split(","))])[:, None, None] for of in (mean, std))
    known = detector()((raw - shift) / scale).detach().numpy()
    np.save(tmp_path / "logits.npy", known)
    assert adopt(*words, "--into", tmp_path / "same", "--logits", tmp_path / "logits.npy")[0] == 0
    np.save(tmp_path / "logits.npy", known + np.array([0, 0.01]))
    loose = [*words, "--logits", tmp_path / "logits.npy", "--tolerance", "0.02"]
    assert adopt(*loose, "--into", tmp_path / "loose")[0] == 0
    assert load_contract(tmp_path / "loose/model.yaml").test.tolerance == 1e-4, "jobs compare with what was stored"
    for file, message in (
        (tmp_path / "logits.npy", "off by 0.01 from those that are known; allowed is 0.0001: mean or std is rounded"),
        (views, "array of scores (n, k)"),
    ):
        exit_code, _, stderr = adopt(*words, "--into", tmp_path / "other", "--logits", file)
        assert (exit_code, message in stderr) == (2, True), stderr
    assert not (tmp_path / "other").exists()


def test_an_onnx_model_stores_what_onnx_runtime_gives(tmp_path: Path, views: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx2torch

    let_torchvision_in()
    save_onnx(tmp_path / "net.onnx")
    words = [tmp_path / "net.onnx", "--images", views, *TOLD]
    assert adopt(*words, "--into", tmp_path / "good")[0] == 0
    wrong = detector()
    wrong[4].bias.data += 0.01
    monkeypatch.setattr(onnx2torch, "convert", lambda _: wrong)
    exit_code, _, stderr = adopt(*words, "--into", tmp_path / "wrong")
    assert (exit_code, "the test input gives logits that are off by 0.01" in stderr) == (2, True)
    with pytest.raises(ModelError, match=r"off by 0\.01"):
        load_classifier(tmp_path / "good", [], "cpu")
    assert adopt(*words, "--into", tmp_path / "scored", "--forward-only")[0] == 0


def test_a_package_of_the_zoo_becomes_the_same_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_torchvision_in()
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("nothing is downloaded"))
    rdf = write_package(tmp_path / "zoo")
    raw = np.load(tmp_path / "zoo/in.npy")
    wanted = detector()((torch.from_numpy(raw) - 200) / 100).detach().numpy()
    for number, (source, more) in enumerate([
        (rdf, []), (zipped(tmp_path / "zoo", tmp_path / "zoo.zip"), []), (rdf, ["--format", "torchscript", "--trust-code"]),
        (rdf, ["--forward-only", "--classes", "no,yes"]),
    ]):  # fmt: skip
        into = tmp_path / f"model{number}"
        exit_code, _, stderr = adopt(source, "--into", into, *more)
        assert exit_code == 0, stderr
        contract = load_contract(into / "model.yaml")
        assert contract.classes == (["no", "yes"] if "--classes" in more else ["plain", "spot"])
        assert contract.input.channels == ["DNA", "Reporter"]
        np.testing.assert_allclose([contract.input.mean, contract.input.std], [[200, 200], [100, 100]])
        found = load_classifier(into, [contract.sha256], "cpu").logits_of(raw, 2)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def zoo_with(change: Any, folder: Path) -> Path:
    told = yaml.safe_load(write_package(folder).read_text())
    change(told)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(told))
    return folder / "rdf.yaml"


def _set(value: Any, *keys: Any) -> Any:
    def change(told: Any) -> None:
        for key in keys[:-1]:
            told = told[key]
        told[keys[-1]] = value

    return change


MASK = [{"type": "batch"}, {"type": "channel", "channel_names": ["a"]}, {"type": "space", "id": "y", "size": 48},
        {"type": "space", "id": "x", "size": 48}]  # fmt: skip
TYPED = {
    "source": "weights.pt",
    "pytorch_version": "2.13.0",
    "architecture": {"source": "readme.md", "callable": "net"},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(MASK, "outputs", 0, "axes"), "axes ['batch', 'channel', 'space', 'space']; a classifier's are batch and channel"),
        (_set([{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}}], "inputs", 0, "preprocessing"),
         "preprocessing zero_mean_unit_variance: PCIM normalises with constants"),
        (_set([{"id": "scale_range", "kwargs": {"axes": ["y", "x"]}}], "inputs", 0, "preprocessing"), "preprocessing scale_range"),
        (_set([{"id": "sigmoid"}], "outputs", 0, "postprocessing"), "postprocessing ['sigmoid']: supported is none, or softmax"),
        (_set([], "outputs", 0, "postprocessing"), "scores are off by"),
        (_set([], "inputs", 0, "preprocessing"), "scores are off by"),
        (_set({"torchscript": {"source": "https://example.org/weights.pt", "pytorch_version": "2.13.0", "sha256": "0" * 64}}, "weights"),
         "lies elsewhere; PCIM downloads nothing"),
        (_set({"torchscript": {"source": "weights.pt", "sha256": "0" * 64, "pytorch_version": "2.13.0"}}, "weights"), "its SHA-256 is not"),
        (_set({"keras_hdf5": {"source": "weights.pt", "tensorflow_version": "2.1"}}, "weights"), "weights ['keras_hdf5']; PCIM reads"),
        (_set({"pytorch_state_dict": TYPED}, "weights"), "its architecture is a file of the package, whose code is not run"),
        (_set({"type": "int32"}, "inputs", 0, "data"), "is of int32; PCIM feeds uint8, uint16, float32"),
        (_set("dataset", "type"), "no valid model description"),
    ],
)  # fmt: skip
def test_a_package_that_does_not_fit_is_refused_with_the_reason(change: Any, message: str, tmp_path: Path) -> None:
    let_torchvision_in()
    exit_code, _, stderr = adopt(zoo_with(change, tmp_path / "zoo"), "--into", tmp_path / "mine", "--trust-code")
    assert (exit_code, message in stderr) == (2, True), stderr
    assert not (tmp_path / "mine").exists()


class Step:
    """A step of preprocessing, as bioimageio.spec describes it."""

    def __init__(self, kind: str, **kwargs: Any) -> None:
        self.id, self.kwargs = kind, type("Kwargs", (), kwargs)()


positive = st.floats(0.01, 100)
values = st.floats(-1000, 1000)
steps = st.lists(
    st.one_of(
        st.builds(lambda g, o: Step("scale_linear", gain=g, offset=o), positive, values),
        st.builds(lambda m, s: Step("fixed_zero_mean_unit_variance", mean=m, std=s), values, positive),
    ),
    max_size=3,
)


@given(steps, st.integers(1, 3))
def test_mean_and_std_do_what_the_steps_do_in_a_row(given_steps: list[Step], channels: int) -> None:
    mean, std = normalisation(given_steps, channels, "uint16")
    x = y = np.linspace(-50, 50, 7)
    for step in given_steps:
        told = step.kwargs
        y = y * told.gain + told.offset if step.id == "scale_linear" else (y - told.mean) / told.std  # type: ignore[attr-defined]
    for one, other in zip(mean, std, strict=True):
        np.testing.assert_allclose((x - one) / other, y, rtol=1e-6, atol=1e-6 * max(1, np.abs(y).max()))
    assert len(mean) == channels
