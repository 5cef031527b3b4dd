"""Maps: a tensor in the ecosystem's convention that can be drawn, and says on what scale."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
import torch
from planted_campaign import SIZE, knowing_detector, spot_images, write_model

from pcim import PCIM, load_classifier
from pcim.attribution.maps import Maps


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    from matplotlib import pyplot as plt

    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return spot_images(np.random.default_rng(8), ((12, 30), (33, 14)))


@pytest.fixture(scope="module")
def maps(images: torch.Tensor) -> Maps:
    network = knowing_detector()
    return PCIM(network, steps=5).attribute(images, target=[1, 0])


def test_maps_are_a_tensor_and_know_what_they_explain(maps: Maps, images: torch.Tensor) -> None:
    assert isinstance(maps, torch.Tensor)
    assert maps.shape == (2, 1, *SIZE)
    assert type(maps * 2) is type(maps[0]) is torch.Tensor
    assert torch.equal(maps.images, images)
    assert list(maps.ledger["target"]) == ["class 1", "class 0"]
    assert torch.allclose(maps.mean((1, 2, 3)), torch.ones(2))
    copied = copy.deepcopy(maps)
    assert torch.equal(copied, maps)
    assert copied.ledger.equals(maps.ledger)


def test_maps_become_labelled_arrays(maps: Maps) -> None:
    dataset = maps.to_xarray()
    assert dict(dataset.sizes) == {"map": 2, "channel": 2, "y": 48, "x": 48, "image_channel": 2}
    np.testing.assert_allclose(dataset["attribution"].sum("channel"), maps[:, 0].numpy(), rtol=1e-6)
    assert list(dataset["target"].values) == ["class 1", "class 0"]


def test_a_figure_shows_image_and_map_on_one_scale_that_it_states(maps: Maps) -> None:
    axes = maps.plot(top=7.0)
    assert axes.shape == (2, 2)
    for number, (left, right) in enumerate(axes):
        (drawn,) = right.get_images()
        np.testing.assert_allclose(drawn.get_array(), maps[number, 0], rtol=1e-5)
        assert (drawn.get_clim(), drawn.get_cmap().name) == ((0, 7.0), "magma")
        assert drawn.colorbar.ax.get_ylabel() == "attribution\n1 (white line) = the image's mean"
        assert drawn.colorbar.extend == ("max" if float(maps[number].max()) > 7 else "neither")
        assert left.get_images()[0].get_array().shape == (*SIZE, 3)
        assert left.get_title(loc="left").startswith(f"image {number}\nchannel 0 green, channel 1 magenta")
        assert right.get_xlabel() == "x (px)"
    assert axes[0, 1].get_title(loc="left").startswith("pcim: why class 1?\nprobability 1.00")


def test_images_are_drawn_on_one_stretch_so_that_their_brightness_can_be_compared(maps: Maps, images: torch.Tensor) -> None:
    two = Maps.of(torch.stack([images[0], 0.25 * images[0]]), maps.channel_maps, maps.ledger, maps.channels)
    bright, dim = (left.get_images()[0].get_array() for left in two.plot()[:, 0])
    ends = np.quantile(two.images.numpy(), [0.005, 0.995], axis=(0, 2, 3)).T
    for drawn, pixels in ((bright, two.images[0]), (dim, two.images[1])):
        scaled = [np.clip((plane - low) / (high - low), 0, 1) for plane, (low, high) in zip(pixels.numpy(), ends, strict=True)]
        np.testing.assert_allclose(drawn[..., 0], np.clip(scaled[0] * 0x33 / 255 + scaled[1] * 0xF2 / 255, 0, 1), atol=1e-5)
    assert float(dim.max()) < float(bright.max())


def test_one_map_goes_into_axes_of_the_users_own(maps: Maps) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.subplots()
    assert maps.plot(-1, ax=ax)[0, 0] is ax
    np.testing.assert_allclose(ax.get_images()[0].get_array(), maps[1, 0], rtol=1e-5)


def test_raw_weights_are_drawn_in_units_of_their_mean(images: torch.Tensor) -> None:
    network = knowing_detector()
    literal = PCIM(network, preset="literal").attribute(images[:1])
    (drawn,) = literal.plot()[0, 1].get_images()
    assert float(drawn.get_array().mean()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(
    ("choices", "words"),
    [({"numbers": 2}, "there are 2"), ({"top": 0.0}, "allowed: above 0"), ({"numbers": []}, "there are 2")],
)
def test_what_cannot_be_drawn_is_refused(maps: Maps, choices: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        maps.plot(**choices)  # type: ignore[arg-type]


def test_a_contract_names_classes_and_channels(tmp_path: object, images: torch.Tensor) -> None:
    classifier = load_classifier(write_model(tmp_path), ["planted_campaign"], "cpu")  # type: ignore[arg-type]
    maps = PCIM(classifier, steps=2).attribute(images)
    assert (list(maps.ledger["target"]), maps.channels) == (["spot", "spot"], ["DNA", "Reporter"])
