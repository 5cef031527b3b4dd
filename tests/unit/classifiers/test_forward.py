"""Any classifier is one function; what is no classifier is refused with what was found and what is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pcim.classifiers.forward import ScoresError, as_forward, checked_images, in_batches, key_of, resolve_targets

SHAPE = (5, 2, 16, 12)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))


def onnx_session(network: nn.Module, batch: int | None, folder: Path) -> Any:
    """Write the network's own layers as ONNX by hand: the exporter is no part of what is tested."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    conv, head = network[0], network[4]  # type: ignore[index]
    names = {"cw": conv.weight, "cb": conv.bias, "hw": head.weight, "hb": head.bias}
    nodes = [
        helper.make_node("Conv", ["images", "cw", "cb"], ["a"]), helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "hw", "hb"], ["logits"], transB=1),
    ]  # fmt: skip
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch or "batch", *SHAPE[1:]])
    wanted = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch or "batch", 3])
    weights = [numpy_helper.from_array(value.detach().numpy(), name) for name, value in names.items()]
    graph = helper.make_graph(nodes, "net", [given], [wanted], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return onnxruntime.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])


def exported(network: nn.Module, *, static: bool) -> Any:
    batch = None if static else {0: torch.export.Dim("batch", min=1, max=64)}
    return torch.export.export(network, (torch.zeros(2, *SHAPE[1:]),), dynamic_shapes=(batch,))


@pytest.mark.parametrize("kind", ["module", "torchscript", "exported", "exported static", "onnx", "onnx static", "callable"])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_every_kind_of_classifier_gives_the_networks_logits(kind: str, network: nn.Module, images: torch.Tensor, tmp_path: Path) -> None:
    planted_campaign: dict[str, Any] = {
        "module": lambda: network,
        "torchscript": lambda: torch.jit.trace(network, images),
        "exported": lambda: exported(network, static=False),
        "exported static": lambda: exported(network, static=True),
        "onnx": lambda: onnx_session(network, None, tmp_path),
        "onnx static": lambda: onnx_session(network, 2, tmp_path),
        "callable": lambda: lambda batch: network(torch.from_numpy(batch)).detach().numpy(),
    }
    forward = as_forward(planted_campaign[kind]())
    assert forward.kind == kind.split(maxsplit=1)[0]
    wanted = network(images).detach()
    with forward.frozen_state():
        torch.testing.assert_close(forward(images).detach(), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(forward.in_batches(images, 3), wanted, rtol=1e-4, atol=1e-5)
        if forward.differentiable:
            leaf = images.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(forward(leaf)[:, 1].sum(), [leaf])
            (other,) = torch.autograd.grad(network(leaf)[:, 1].sum(), [leaf])
            torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)
        else:
            assert not forward(images).requires_grad
    assert as_forward(forward) is forward


def test_a_module_that_holds_a_network_is_not_taken_for_what_it_holds(network: nn.Module, images: torch.Tensor) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, views: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.network(views).flip(1)
            return scores

    torch.testing.assert_close(as_forward(Wrapped())(images), network(images).flip(1))


def test_probabilities_are_turned_into_logits_and_what_is_none_is_refused(network: nn.Module, images: torch.Tensor) -> None:
    soft = nn.Sequential(network, nn.Softmax(1)).eval()
    forward = as_forward(soft, scores="probabilities")
    torch.testing.assert_close(forward.checked_logits(images).softmax(1), network(images).softmax(1))
    with pytest.raises(ScoresError, match="rows sum to"):
        as_forward(network, scores="probabilities").checked_logits(images)
    certain = as_forward(lambda batch: np.tile([1.0, 0.0], (len(batch), 1)), scores="probabilities")
    assert bool(certain(images).isfinite().all())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.mean((1, 2, 3)), r"returned \(5,\) for 5 images; allowed: \(5, k\) with k >= 2"),
        (lambda x: x.mean((1, 2, 3))[:, None], r"returned \(5, 1\) for 5 images"),
        (lambda x: np.zeros((4, 2)), r"returned \(4, 2\) for 5 images"),
        (lambda x: np.full((5, 2), np.nan), "NaN or infinite"),
        (lambda x: np.array([["a", "b"]] * 5), "array of <U1"),
    ],
)
def test_an_answer_that_is_no_scores_is_refused(answer: Any, message: str, images: torch.Tensor) -> None:
    with pytest.raises(ScoresError, match=message):
        as_forward(answer)(images)


class _Broken(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 2), torch.inf) * images.mean()


def test_values_of_a_module_are_looked_at_once_a_batch(images: torch.Tensor) -> None:
    with pytest.raises(ScoresError, match=r"scores of images \[0, 1, 2, 3, 4\] hold NaN"):
        as_forward(_Broken()).checked_logits(images)


@pytest.mark.parametrize("thing", [3, "model.pt", nn.Module, None])
def test_what_is_no_classifier_is_refused_with_what_is(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"accepted: a torch.nn.Module, a TorchScript module, .* ONNX|accepted: .*onnx"):
        as_forward(thing)
    with pytest.raises(ValueError, match="scores is 'percent'"):
        as_forward(nn.Identity(), scores="percent")  # type: ignore[arg-type]


def test_a_network_is_left_as_found_also_after_an_error() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    network[2].eval()
    network[0].weight.requires_grad_(False)
    before = [module.training for module in network.modules()], [p.requires_grad for p in network.parameters()]
    with pytest.raises(ZeroDivisionError), as_forward(network).frozen_state():
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        raise ZeroDivisionError
    assert (
        [module.training for module in network.modules()],
        [p.requires_grad for p in network.parameters()],
    ) == before


def test_targets_are_the_call_one_for_all_or_one_each() -> None:
    logits = torch.tensor([[0.0, 2, 1], [3, 0, 0]])
    assert resolve_targets(None, logits).tolist() == [1, 0]
    assert resolve_targets(2, logits).tolist() == [2, 2]
    assert resolve_targets([2, 0], logits).tolist() == [2, 0]
    assert resolve_targets(torch.tensor([0, 1]), logits).tolist() == [0, 1]
    for wrong in (3, -1, [0, 1, 2], 1.5, [[0, 1]], [True, False]):
        with pytest.raises(ValueError, match=r"target is .*; allowed"):
            resolve_targets(wrong, logits)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 1, 9, 9)), TypeError, "images are ndarray"),
        (torch.zeros(1, 1, 9, 9, dtype=torch.uint8), TypeError, "images are torch.uint8.*normalised"),
        (torch.zeros(1, 9, 9), ValueError, r"images are \(1, 9, 9\); allowed: \(b, c, h, w\)"),
        (torch.zeros(0, 1, 9, 9), ValueError, r"images are \(0, 1, 9, 9\)"),
        (torch.zeros(1, 1, 4, 9), ValueError, "at least 8"),
        (torch.tensor([0.0, torch.nan]).view(2, 1, 1, 1).expand(2, 1, 9, 9), ValueError, r"images \[1\] hold NaN"),
    ],
)
def test_images_that_are_none_are_refused(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        checked_images(images)


def test_the_key_of_an_image_is_its_pixels() -> None:
    image = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(3))
    assert key_of(image) == key_of(image.clone().contiguous(memory_format=torch.contiguous_format))
    assert key_of(image) != key_of(image + 1)
    assert 0 <= key_of(image) < 2**63


def test_only_a_batch_that_is_not_full_is_copied() -> None:
    """The wrapper runs in every step of the optimisation, where a copy of a full batch would cost and give nothing."""
    seen: list[torch.Tensor] = []

    def call(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch)
        return batch.mean((1, 2, 3))[:, None]

    images = torch.rand(7, 1, 8, 8)
    torch.testing.assert_close(in_batches(call, 4, 4)(images), call(images), rtol=0, atol=0)
    assert [len(batch) for batch in seen[:2]] == [4, 4]
    assert seen[0].data_ptr() == images.data_ptr()
    torch.testing.assert_close(seen[1], images[[4, 5, 6, 6]], rtol=0, atol=0)
