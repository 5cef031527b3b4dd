"""A classifier of one's own: every form gives the same logits and maps, or is refused before anything runs, and no file runs code."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_forms import (
    SHAPE,
    detector,
    digest_of,
    let_torchvision_in,
    onnx_model,
    save_onnx,
    save_program,
    save_script,
    weights,
    write_own,
)
from planted_campaign import SIZE, spot_field, write_campaign, write_model
from safetensors.torch import save_file
from torch import nn

from pcim import PCIM
from pcim.attribution.explain import classifier_for
from pcim.campaign.campaign import Campaign
from pcim.campaign.input_tables import CampaignError
from pcim.classifiers.classifier import Classifier, ModelError, load_classifier
from pcim.classifiers.contract import load_contract, read_contract
from pcim.classifiers.formats.weights import load_network
from pcim.classifiers.forward import as_forward

CPU = torch.device("cpu")
TOLERANCE = 1e-5
"""Of logits and of maps in units of their mean: other layouts and programs add in another order."""


def load(path: Path, *packages: str) -> Classifier:
    """Load a model, with the code of its own weights trusted."""
    return load_classifier(path, ["model_forms", *packages, yaml.safe_load(path.read_text())["sha256"]], CPU)


def write_form(folder: Path, kind: str, **changes: Any) -> Path:
    """Write the spot detector in one of the forms."""
    folder.mkdir(exist_ok=True, parents=True)
    form, _, how = kind.partition(" ")
    if form == "state_dict":
        held = {"pt": weights(), "key": {"epoch": 3, "state_dict": weights()}, "prefix": prefixed("module.")}
        changes = {"key": {"state_dict_key": "state_dict"}, "prefix": {"prefix": "module."}}.get(how, {}) | changes
        torch.save(held[how], folder / "net.pth")
        return write_own(folder, form, "net.pth", **changes)
    if form == "torch_export":
        save_program(detector(), folder / "net.pt2", int(how) if how else None)
        return write_own(folder, form, "net.pt2", **changes)
    if form == "torchscript":
        save_script(detector(), folder / "net.pt", traced=how == "traced")
        return write_own(folder, form, "net.pt", **changes)
    if changes.get("differentiable", True):
        let_torchvision_in()
    save_onnx(folder / "net.onnx", int(how) if how else None)
    return write_own(folder, form, "net.onnx", **changes)


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return OrderedDict((prefix + name, tensor) for name, tensor in weights().items())


def views(count: int = 3) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(5)
    return np.stack([spot_field(rng, SIZE, (12 + 5 * n, 30)) for n in range(count)]).astype(np.float32)


def explained(classifier: Classifier, **choices: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of the views and their maps, in units of the mean."""
    images = classifier.normalise(views())
    maps = PCIM(classifier, batch_size=2, **choices).attribute(images, target=1)
    return torch.from_numpy(classifier.logits_of(views(), 2)), maps / maps.mean((1, 2, 3), keepdim=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.Tensor, torch.Tensor]:
    folder = tmp_path_factory.mktemp("plain")
    save_file(weights(), folder / "net.safetensors")
    return explained(load(write_own(folder, "state_dict", "net.safetensors")))


KINDS = [
    "state_dict pt", "state_dict key", "state_dict prefix", "torch_export", "torch_export 1", "torch_export 3",
    "torchscript traced", "torchscript scripted", "onnx", "onnx 1", "onnx 3",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_gives_the_logits_and_the_map_of_the_plain_state_dict(kind: str, plain: Any, tmp_path: Path) -> None:
    classifier = load(write_form(tmp_path, kind))
    assert not any(module.training for module in classifier.network.modules())
    assert not any(parameter.requires_grad for parameter in classifier.network.parameters())
    for found, wanted in zip(explained(classifier), plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    alone = np.concatenate([classifier.logits_of(views()[n : n + 1], 2) for n in range(3)])
    np.testing.assert_array_equal(alone, classifier.logits_of(views(), 2))


@pytest.mark.parametrize("kind", ["onnx", "onnx 1", "torch_export", "torchscript traced"])
def test_scores_alone_give_the_map_that_the_state_dict_gives_without_gradients(kind: str, tmp_path: Path) -> None:
    scored = load(write_form(tmp_path / "own", kind, differentiable=False))
    wanted = load(write_form(tmp_path, "state_dict pt", differentiable=False))
    assert not as_forward(scored).differentiable
    assert PCIM(scored, budget=130).learn(scored.normalise(views(1))).mode == "forward only"
    for found, known in zip(explained(scored, budget=200), explained(wanted, budget=200), strict=True):
        torch.testing.assert_close(found, known, rtol=1e-3, atol=1e-3)
    first = scored.logits_of(views()[:1], 2)
    np.testing.assert_array_equal(first, scored.logits_of(views(), 2)[:1])


def test_probabilities_are_explained_as_their_logarithm(tmp_path: Path, plain: Any) -> None:
    save_program(nn.Sequential(detector(), nn.Softmax(1)), tmp_path / "net.pt2")
    path = write_own(tmp_path, "torch_export", "net.pt2", scores="probabilities")
    told = tmp_path / "test.safetensors"
    with pytest.raises(ModelError, match="logits that are off"):
        load(path)
    images = torch.from_numpy(views())
    save_file({"images": images, "logits": detector()((images - 200) / 100).log_softmax(1)}, told)
    logits, _ = explained(load(path))
    torch.testing.assert_close(logits, plain[0].log_softmax(1), rtol=1e-4, atol=1e-4)


def test_what_is_asked_of_old_contracts_is_what_it_was(tmp_path: Path) -> None:
    contract = load_contract(write_model(tmp_path))
    assert list(contract.depends_on()) == ["architecture", "arguments", "sha256", "classes", "input"]
    own = load_contract(write_form(tmp_path / "own", "torch_export", differentiable=False))
    assert own.depends_on().keys() - contract.depends_on().keys() == {"format", "differentiable"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "pickle"}, "format: expected one of state_dict, torch_export, torchscript, onnx, got"),
        ({"weights": "weights.npz"}, r"'weights.npz': expected .safetensors or .pt or .pth or .ckpt for format: state_dict"),
        ({"format": "onnx", "weights": "net.onnx"}, "architecture: given if, and only if, format is state_dict; it is onnx"),
        ({"architecture": None}, "architecture: given if, and only if, format is state_dict"),
        ({"format": "onnx", "weights": "net.onnx", "architecture": None, "arguments": {}}, "say true .converted .* or false"),
        ({"format": "torchscript", "weights": "net.pt", "architecture": None}, "arguments, prefix: for format: state_dict"),
        ({"state_dict_key": "model"}, "state_dict_key: for a state dict in a .pt, .pth or .ckpt file alone"),
        ({"architecture": "timm:resnet18", "arguments": {"pretrained": True}}, r"\['pretrained'\]: nothing is downloaded"),
        ({"architecture": "torchvision:resnet18", "arguments": {"weights": "DEFAULT"}}, "nothing is downloaded"),
        ({"scores": "percent"}, "scores: expected one of logits, probabilities"),
    ],
)  # fmt: skip
def test_a_contract_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_model(tmp_path)
    told = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({key: one for key, one in told.items() if one is not None}))
    contract, faults = read_contract(path)
    assert contract is None
    assert any(re.search(message, fault) for fault in faults), faults


@pytest.mark.parametrize(
    ("held", "changes", "message"),
    [
        ({"state_dict": weights()}, {}, r"found state_dict \(dict\); say where it lies: --state-dict-key state_dict, which"),
        ({"epoch": 3, "net": weights()}, {"state_dict_key": "model"}, r"no key 'model' .* holds epoch \(int\), net"),
        (weights(), {"state_dict_key": "4.bias"}, "expected a state dict, names and tensors, found a Tensor"),
        (torch.ones(3), {}, "found a Tensor"),
        ({}, {}, "found nothing"),
        (prefixed("module."), {}, "without 'module.' the names fit: say --prefix 'module.'"),
        (prefixed("net.core."), {}, "say --prefix 'net.core.'"),
        (weights() | {"loss.weight": torch.ones(2)}, {}, "Unexpected key"),
        (prefixed("module.") | {"loss.weight": torch.ones(2)}, {"prefix": "module."}, "without the prefix 'module.': loss"),
        (detector(), {}, "holds more than tensors"),
    ],
)  # fmt: skip
def test_a_file_of_torch_that_is_no_state_dict_says_what_it_is(held: Any, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "net.pt")
    with pytest.raises(ModelError, match=message):
        load(write_own(tmp_path, "state_dict", "net.pt", **changes))


class Evil:
    """Makes a file when it is deserialised as an object of Python."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def rewritten(file: Path, change: Any) -> None:
    """Write an archive again, each entry as `change(place, content)` gives it; None leaves it out."""
    with zipfile.ZipFile(file) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in held.items():
            new = change(name.partition("/")[2], content)
            if new is not None:
                archive.writestr(name, new)


def evil_bytes(file: Path) -> bytes:
    stream = io.BytesIO()
    torch.save((Evil(file),), stream)
    return stream.getvalue()


def test_nothing_in_a_file_of_weights_is_run(tmp_path: Path) -> None:
    import pickle

    mark = tmp_path / "was run"
    torch.save({"weight": Evil(mark)}, tmp_path / "net.pt")
    with pytest.raises(ModelError, match="holds more than tensors"):
        load(write_own(tmp_path, "state_dict", "net.pt"))
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(ModelError, match="no archive of torch"):
        load(write_own(tmp_path, "state_dict", "old.pt"))
    for place in ("data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt"):
        save_program(detector(), tmp_path / "net.pt2")
        with zipfile.ZipFile(tmp_path / "net.pt2") as archive:
            there = {name.partition("/")[2] for name in archive.namelist()}
        rewritten(tmp_path / "net.pt2", lambda p, content, place=place: evil_bytes(mark) if p == place else content)
        if place not in there:
            with zipfile.ZipFile(tmp_path / "net.pt2", "a") as archive:
                archive.writestr(f"net/{place}", evil_bytes(mark))
        with pytest.raises(ModelError, match=f"{place}: holds objects that are no plain tensors"):
            load(write_own(tmp_path, "torch_export", "net.pt2"))
    entry = {"config": {"evil": {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}}}
    save_program(detector(), tmp_path / "net.pt2")
    rewritten(tmp_path / "net.pt2", lambda p, content: json.dumps(entry) if "constants_config" in p else content)
    with pytest.raises(ModelError, match=r"constants_config.json: holds objects"):
        load(write_own(tmp_path, "torch_export", "net.pt2"))
    save_script(detector(), tmp_path / "net.pt", traced=True)
    rewritten(tmp_path / "net.pt", lambda p, content: pickle.dumps(Evil(mark), 2) if p == "data.pkl" else content)
    with pytest.raises(ModelError, match="not loadable as TorchScript"):
        load(write_own(tmp_path, "torchscript", "net.pt"))
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["torch_export", "torchscript traced"])
def test_programs_are_run_only_where_the_config_trusts_their_digest(kind: str, tmp_path: Path) -> None:
    path = write_form(tmp_path, kind)
    with pytest.raises(ModelError, match=r"runs code, and its SHA-256 \w+ is not in classify.trusted_programs"):
        load_classifier(path, ["model_forms", "0" * 64], CPU)
    form, digest = kind.split(maxsplit=1)[0], digest_of(tmp_path / load_contract(path).weights)
    values = write_campaign(tmp_path / "inputs") | {"classify": {"trusted_packages": ["pcim"]}}
    values["classifiers"]["spots"]["model"] = str(path)
    values["attribute"]["methods"] = ["pcim", "integrated_gradients", "randomised_model"]
    with pytest.raises(CampaignError) as refused:
        Campaign.load(values, look_at_plates=False)
    (fault,) = refused.value.faults
    assert f"trusted_programs: loading a file of format {form} runs its code; to trust that of classifiers.spots" in fault
    assert fault.endswith(f"add {digest}")
    values["classify"] = {"trusted_programs": [digest]}
    campaign = Campaign.load(values, look_at_plates=False)
    assert campaign.config.classify.trusted_code == ["pcim", digest]


def test_methods_that_a_classifier_cannot_answer_are_refused_before_anything_runs(tmp_path: Path) -> None:
    values = write_campaign(tmp_path / "inputs")
    methods = ["pcim", "pcim_literal", "saliency", "grad_cam", "randomised_model", "rise", "random"]
    values["attribute"]["methods"] = methods
    Campaign.load(values, look_at_plates=False)
    values["classifiers"]["spots"]["model"] = str(write_form(tmp_path / "onnx", "onnx", differentiable=False))
    with pytest.raises(CampaignError) as refused:
        Campaign.load(values, look_at_plates=False)
    (fault,) = refused.value.faults
    needs = "pcim_literal needs gradient, saliency needs gradient, grad_cam needs layers, randomised_model needs parameters"
    assert f"attribute.methods: {needs}, which classifiers.spots does not show" in fault
    left = "pcim, occlusion, kernel_shap, lime, rise, random, edge, contrast"
    assert fault.endswith(f"(format: onnx, differentiable: false); allowed: {left}")
    values["classifiers"]["spots"]["model"] = str(write_form(tmp_path / "converted", "onnx"))
    with pytest.raises(CampaignError, match=r"methods: grad_cam needs layers, which classifiers.spots does not show .*: true.; allowed"):
        Campaign.load(values, look_at_plates=False)
    values["classify"]["trusted_packages"] = ["pcim"]
    values["classifiers"]["spots"]["model"] = str(write_model(tmp_path / "untrusted"))
    with pytest.raises(CampaignError, match=r"trusted_packages: 'planted_campaign', whose code makes classifiers.spots, is not in"):
        Campaign.load(values, look_at_plates=False)


class Normalised(nn.Module):
    """Knows its batch mates as long as it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm2d(2), nn.Identity(), nn.Linear(2, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.drop(self.norm(images)).amax((2, 3)))
        return scores


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = detector()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.inside(images.detach())
        return scores


@pytest.mark.parametrize(
    ("network", "form", "message"),
    [
        (Normalised().train(), "torch_export", "change by .* with the other views of its batch: a network in training mode"),
        (Normalised().train(), "torchscript", "change by .* with the other views of its batch"),
        (Detached(), "torch_export", "no gradient reaches its input .*; say differentiable: false"),
        (Detached(), "torchscript", "no gradient reaches its input .*; say differentiable: false"),
        (nn.Flatten(), "torch_export", "logits of .2, 4608.; expected one for each of"),
        (nn.Identity(), "torch_export", r"the classifier returned \(4, 2, 48, 48\) for 4 images; allowed: \(4, k\)"),
    ],
)  # fmt: skip
def test_a_program_that_cannot_be_explained_is_refused_when_it_is_loaded(
    network: nn.Module, form: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / ("net.pt2" if form == "torch_export" else "net.pt")
    if form == "torch_export":
        save_program(network, file)
    else:
        save_script(network, file, traced=True)
    with pytest.raises(ModelError, match=message):
        load(write_own(tmp_path, form, file.name))


def test_a_program_for_other_images_is_refused_with_both_shapes(tmp_path: Path) -> None:
    import onnx

    path = write_form(tmp_path, "torch_export")
    told = yaml.safe_load(path.read_text())
    told["input"] |= {"size": [40, 48]}
    path.write_text(yaml.safe_dump(told))
    with pytest.raises(ModelError, match=r"takes images of \(2, 48, 48\); the contract says \(2, 40, 48\)"):
        load(path)
    onnx.save(onnx_model(size=(40, 48)), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"takes images of \[2, 40, 48\]; the contract says \[2, 48, 48\]"):
        load(write_own(tmp_path, "onnx", "net.onnx", differentiable=False))


def test_an_onnx_model_is_one_file_and_its_own_conversion_never_a_silent_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    import onnx

    model = onnx_model()
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="beside.bin", size_threshold=0)
    with pytest.raises(ModelError, match=r"tensors \['base', 'kernel', 'least', 'slope'\] lie in other files; save it as one file"):
        load(write_own(tmp_path, "onnx", "net.onnx", differentiable=False))
    (tmp_path / "net.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="no valid ONNX model"):
        load(write_own(tmp_path, "onnx", "net.onnx", differentiable=False))
    path = write_form(tmp_path, "onnx")
    real = importlib.import_module

    def refuse(name: str, package: str | None = None) -> Any:
        if name == "onnx2torch":
            raise RuntimeError("operator torchvision::nms does not exist")  # as torchvision does beside another torch
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(
        ModelError,
        match=r"needs onnx2torch \(pip install 'pcim\[onnx\]'\), which fails: RuntimeError: .*nms.* differentiable: false",
    ):
        load(path)
    assert load(write_form(tmp_path, "onnx", differentiable=False)).contract.format == "onnx"


def test_an_operator_that_cannot_be_converted_is_named_and_scored_nevertheless(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    model = onnx_model()
    model.graph.node[1].CopyFrom(helper.make_node("ThresholdedRelu", ["spots"], ["bright"], alpha=0.0))
    onnx.save(model, tmp_path / "net.onnx")
    let_torchvision_in()
    with pytest.raises(ModelError, match=r"cannot convert it: .*ThresholdedRelu.*differentiable: false asks it for scores"):
        load(write_own(tmp_path, "onnx", "net.onnx"))
    load(write_own(tmp_path, "onnx", "net.onnx", differentiable=False))


def test_an_archive_that_unpacks_to_much_more_than_it_is_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data/0", bytes(2**27))
    for form in ("state_dict", "torchscript"):
        with pytest.raises(ModelError, match="unpack to 134,217,728; torch packs no tensors"):
            load(write_own(tmp_path, form, "net.pt"))


@pytest.mark.parametrize("kind", ["torch_export", "torchscript traced", "torchscript scripted"])
def test_the_control_with_shuffled_parameters_is_another_network(kind: str, tmp_path: Path) -> None:
    classifier = load(write_form(tmp_path, kind))
    before = classifier.logits_of(views(), 3)
    shuffled = classifier_for("randomised_model", classifier)
    assert np.abs(shuffled.logits_of(views(), 3) - before).max() > 0.5
    np.testing.assert_array_equal(classifier.logits_of(views(), 3), before)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_network_of_constants_has_no_parameters_to_shuffle(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.freeze(torch.jit.script(detector())), tmp_path / "net.pt")
    classifier = load(write_own(tmp_path, "torchscript", "net.pt"))
    with pytest.raises(ModelError, match=r"randomised_model: net.pt has no parameters that could be shuffled"):
        classifier_for("randomised_model", classifier)


def test_a_program_moves_to_another_device_whole(tmp_path: Path) -> None:
    path = write_form(tmp_path, "torch_export")
    contract, file = load_contract(path), tmp_path / "net.pt2"
    network = load_network(contract, file, file.read_bytes(), [contract.sha256], torch.device("meta"))
    assert network(torch.zeros(3, *SHAPE, device="meta")).shape == (3, 2)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_networks_of_libraries_are_made_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    let_torchvision_in()
    from torchvision.models import shufflenet_v2_x0_5

    network = shufflenet_v2_x0_5(weights=None, num_classes=2).eval()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    told = yaml.safe_load(write_model(tmp_path).read_text())
    told["input"] |= {"channels": ["a", "b", "c"], "mean": [0.0] * 3, "std": [1.0] * 3}
    path = write_own(
        tmp_path, "state_dict", "net.safetensors", architecture="torchvision:shufflenet_v2_x0_5",
        arguments={"num_classes": 2}, input=told["input"],
    )  # fmt: skip
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    save_file({"images": images, "logits": network(images).detach()}, tmp_path / "test.safetensors")
    with pytest.raises(ModelError, match=r"package 'torchvision' is not in classify\.trusted_packages"):
        load(path)
    assert load(path, "torchvision").contract.offers >= {"layers"}

    timm = types.ModuleType("timm")
    monkeypatch.setitem(sys.modules, "timm", None)
    path = write_own(tmp_path, "state_dict", "net.safetensors", architecture="timm:resnet18", arguments={"in_chans": 2})
    with pytest.raises(ModelError, match=r"'timm:resnet18' with .* pip install 'pcim\[timm\]'"):
        load(path, "timm")
    asked: dict[str, Any] = {}
    timm.create_model = lambda name, **told: asked.update(told, name=name) or detector()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    with pytest.raises(ModelError, match="does not fit"):
        load(path, "timm")
    assert asked == {"name": "resnet18", "pretrained": False, "in_chans": 2}


@pytest.mark.parametrize("kind", ["state_dict pt", "torch_export"])
def test_an_archive_whose_names_are_no_text_is_refused(kind: str, tmp_path: Path) -> None:
    """zipfile raises UnicodeDecodeError for it, which is no BadZipFile."""
    path = write_form(tmp_path, kind)
    file = tmp_path / load_contract(path).weights
    content = bytearray(file.read_bytes())
    listed = content.rindex(b"PK\x01\x02")  # of the list of what it holds: a name begins 46 bytes on
    content[listed + 9] |= 8  # says that it is UTF-8
    content[listed + 46] = 0x80
    file.write_bytes(content)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"sha256": digest_of(file)}))
    with pytest.raises(ModelError, match="no archive of torch"):
        load(path)


def test_an_onnx_model_whose_input_has_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """ONNX's own checker passes it; ONNX Runtime loads it, and raises UnicodeDecodeError when it is asked for its inputs."""
    path = write_form(tmp_path, "onnx", differentiable=False)
    file = tmp_path / load_contract(path).weights
    content = file.read_bytes()
    name = onnx.load_model_from_string(content).graph.input[0].name.encode()
    file.write_bytes(content.replace(name, bytes([name[0] ^ 0x80]) + name[1:]))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"sha256": digest_of(file)}))
    with pytest.raises(ModelError, match=r"net\.onnx: "):
        load(path)


@pytest.mark.parametrize("kind", ["state_dict pt", "torch_export", "onnx"])
@given(data=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_broke_is_refused_or_still_the_same_network(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    path = write_form(tmp_path, kind, **({"differentiable": False} if kind == "onnx" else {}))
    file = tmp_path / load_contract(path).weights
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1), "length") :]
    else:
        content[data.draw(st.integers(0, len(content) - 1), "place")] ^= data.draw(st.integers(1, 255), "bits")
    file.write_bytes(content)
    told = yaml.safe_load(path.read_text()) | {"sha256": digest_of(file)}
    path.write_text(yaml.safe_dump(told))
    try:
        load(path)
    except ModelError:
        return
    assert explained(load(path))[0].shape == (3, 2)
