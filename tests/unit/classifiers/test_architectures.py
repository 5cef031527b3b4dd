"""The example's network: shapes, determinism in eval mode, and what attribution needs of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pcim.architectures import AverageAndMax, small_cnn


def test_pooling_gives_the_means_and_then_the_maxima() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 8.0]]]])
    assert AverageAndMax()(features).tolist() == [[3.0, 2.0, 6.0, 8.0]]


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (130, 174)])
def test_any_size_from_32_px_gives_one_logit_a_class(size: tuple[int, int]) -> None:
    network = small_cnn(channels=3, classes=5).eval()
    assert network(torch.zeros(2, 3, *size)).shape == (2, 5)


def test_the_last_convolution_keeps_a_map_that_grad_cam_can_show() -> None:
    network = small_cnn(channels=1, classes=2).eval()
    assert network.get_submodule("features")(torch.zeros(1, 1, 130, 174)).shape[-2:] == (17, 22)
    assert isinstance(network.get_submodule("features.conv4"), nn.Conv2d)


def test_every_activation_is_a_module_of_its_own() -> None:
    modules = list(small_cnn(channels=1, classes=2).modules())
    activations = [module for module in modules if isinstance(module, nn.ReLU)]
    assert len({id(module) for module in activations}) == len(activations) == 4


def test_a_view_is_classified_the_same_beside_any_batch_mates() -> None:
    torch.manual_seed(0)
    network = small_cnn(channels=1, classes=2).eval()
    views = torch.rand(4, 1, 40, 50)
    assert torch.allclose(network(views)[2:3], network(views[2:3]), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"classes": 0}, {"width": 0}])
def test_an_impossible_network_is_refused_by_name_and_value(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is 0; allowed: 1 or more"):
        small_cnn(**{"channels": 1, "classes": 2, **wrong})
