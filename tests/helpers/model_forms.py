"""A network that sees spots, in every form that a model.yaml can name; nothing of PCIM writes them."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from planted_campaign import SIZE, write_model
from safetensors.torch import load_file, save_file
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (2, *SIZE)


def brightness(beta: float = 0.0) -> nn.Module:
    """Return the factory's network: how much of the second channel is bright, without a maximum, whose ties have no one gradient.

    `beta`: of a softplus in place of the rectification, whose slope is 0 where nothing is bright; 0 = none.
    """
    bright = nn.Softplus(beta) if beta else nn.ReLU()
    return nn.Sequential(nn.Conv2d(2, 1, 5, padding=2), bright, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))


def weights() -> dict[str, torch.Tensor]:
    """Return its weights: a 5 x 5 average of the second channel, from 1 on (in standard deviations)."""
    kernel = torch.zeros(1, 2, 5, 5)
    kernel[0, 1] = 1 / 25
    head = torch.tensor([[-60.0], [60.0]])
    return {"0.weight": kernel, "0.bias": -torch.ones(1), "4.weight": head, "4.bias": torch.tensor([2.0, -2.0])}


def detector(beta: float = 0.0) -> nn.Module:
    network = brightness(beta)
    network.load_state_dict(weights())
    return network.eval()


def save_program(network: nn.Module, file: Path, batch: int | None = None) -> None:
    """Save a torch.export program for any number of images, or for exactly `batch`."""
    sizes = None if batch else ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.export.save(torch.export.export(network, (torch.zeros(batch or 2, *SHAPE),), dynamic_shapes=sizes), file)


def save_script(network: nn.Module, file: Path, *, traced: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(network, torch.zeros(2, *SHAPE)) if traced else torch.jit.script(network)
        torch.jit.save(script, file)


def onnx_model(batch: int | None = None, size: tuple[int, int] = SIZE) -> Any:
    """Return it as ONNX, node by node: the exporter is no part of what is tested."""
    from onnx import TensorProto, helper, numpy_helper

    names = {"kernel": "0.weight", "least": "0.bias", "slope": "4.weight", "base": "4.bias"}
    stored = [numpy_helper.from_array(weights()[key].numpy(), name) for name, key in names.items()]
    nodes = [
        helper.make_node("Conv", ["images", "kernel", "least"], ["spots"], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["spots"], ["bright"]),
        helper.make_node("GlobalAveragePool", ["bright"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "slope", "base"], ["logits"], transB=1),
    ]
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch or "batch", 2, *size])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch or "batch", 2])
    graph = helper.make_graph(nodes, "spots", [given], [answer], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def save_onnx(file: Path, batch: int | None = None) -> None:
    import onnx

    onnx.save(onnx_model(batch), file)


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_own(folder: Path, form: str, file: str, **changes: Any) -> Path:
    """Write the model.yaml of the weights in `file`, which lies in `folder` already, and a test input; return it."""
    path = write_model(folder)
    told = yaml.safe_load(path.read_text()) | {"format": form, "weights": file, "sha256": digest_of(folder / file)}
    told |= {"architecture": "model_forms:brightness", "arguments": {}}
    if form != "state_dict":
        del told["architecture"], told["arguments"]
    if form == "onnx":
        told["differentiable"] = True
    path.write_text(yaml.safe_dump({key: one for key, one in (told | changes).items() if one is not None}))
    images = load_file(folder / "test.safetensors")["images"]
    network = detector((changes.get("arguments") or {}).get("beta", 0.0))
    save_file({"images": images, "logits": network((images - 200) / 100).detach()}, folder / "test.safetensors")
    return path


def let_torchvision_in() -> None:
    """Make torchvision importable where its compiled operators do not fit the installed torch: it only asks that they exist."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        kinds = ["nms", "qnms", *(b + k + e for k in ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
                                  for b, e in (("", ""), ("_", "_backward")))]  # fmt: skip
        library = torch.library.Library("torchvision", "FRAGMENT")
        for kind in kinds:
            library.define(f"{kind}(Tensor one) -> Tensor")
        _LIBRARIES.append(library)


def write_package(folder: Path, **changes: Any) -> Path:
    """Write a package of the BioImage Model Zoo, an rdf.yaml with ONNX and TorchScript weights; `changes` are of its keys."""
    folder.mkdir(parents=True, exist_ok=True)
    save_onnx(folder / "weights.onnx")
    save_script(detector(), folder / "weights.pt", traced=True)
    images = np.random.default_rng(0).normal(200, 100, (2, *SHAPE)).astype(np.float32)
    np.save(folder / "in.npy", images)
    with torch.no_grad():
        np.save(folder / "out.npy", detector()(torch.from_numpy((images - 200) / 100)).softmax(1).numpy())
    (folder / "readme.md").write_text("# Spots\n")

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": digest_of(folder / name)}

    space = [{"type": "space", "id": "y", "size": SIZE[0]}, {"type": "space", "id": "x", "size": SIZE[1]}]
    channels = {"type": "channel", "channel_names": ["DNA", "Reporter"]}
    told: dict[str, Any] = {
        "type": "model", "format_version": "0.5.3", "name": "Spot classifier", "description": "Tells spots.",
        "authors": [{"name": "A. Maker"}], "cite": [{"text": "none", "doi": "10.1234/abcd"}], "license": "MIT",
        "documentation": "readme.md", "timestamp": "2026-01-01T00:00:00Z",
        "inputs": [{
            "id": "raw", "axes": [{"type": "batch"}, channels, *space], "data": {"type": "float32"},
            "test_tensor": file("in.npy"), "preprocessing": [
                {"id": "scale_linear", "kwargs": {"axis": "channel", "gain": [0.1, 0.1], "offset": [1.0, 1.0]}},
                {"id": "fixed_zero_mean_unit_variance", "kwargs": {"axis": "channel", "mean": [21.0, 21.0], "std": [10.0, 10.0]}},
            ],
        }],
        "outputs": [{
            "id": "classes", "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["plain", "spot"]}],
            "test_tensor": file("out.npy"), "postprocessing": [{"id": "softmax", "kwargs": {"axis": "channel"}}],
        }],
        "weights": {
            "onnx": file("weights.onnx") | {"opset_version": 15},
            "torchscript": file("weights.pt") | {"pytorch_version": "2.13.0"},
        },
    }  # fmt: skip
    (folder / "rdf.yaml").write_text(yaml.safe_dump(told | changes))
    return folder / "rdf.yaml"


def zipped(folder: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    return file


_LIBRARIES: list[Any] = []  # an operator lives as long as its library
