"""What only a CUDA device can show; skipped, with a line that says so, where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from chunk_jobs import SCORED, SETTINGS, Chunk
from model_forms import detector as smooth_detector
from planted_campaign import knowing_detector
from torch import nn

from pcim import PCIM, attribute_plate, evaluate, load_classifier, open_plate
from pcim.attribution.batch_size import MOST, views_that_fit
from pcim.attribution.optimiser_step import Step
from pcim.attribution.peers import METHODS, Peer
from pcim.config.methods import PcimSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA device (run tests/gpu on a GPU node)"),
]


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    return knowing_detector().cuda()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    images = torch.randn(6, 2, 48, 48, generator=torch.Generator().manual_seed(1)) / 5
    images[:, 1, 20:27, 10:17] += 4
    return images.cuda()


def test_the_gpu_in_float32_gives_the_cpus_maps(images: torch.Tensor) -> None:
    """On a network without a maximum: where two places are level, the last bit decides which of them a maximum is."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        there = PCIM(smooth_detector().cuda(), precision="float32").learn(images)
    maps = PCIM(smooth_detector(), precision="float32").attribute(images.cpu())
    assert there.maps.device.type == "cuda"
    assert ((there.maps.cpu() - maps).abs().amax((1, 2, 3)) <= 1e-3 * maps.amax((1, 2, 3))).all()


def test_under_bfloat16_the_spot_is_found_and_weights_stay_float32(detector: nn.Module, images: torch.Tensor) -> None:
    learned = PCIM(detector).learn(images)
    assert learned.weights.dtype == learned.maps.dtype == torch.float32
    assert (learned.maps[:, 0, 17:30, 7:20].sum((1, 2)) > 0.5 * learned.maps.sum((1, 2, 3))).all()


def test_a_step_never_waits_for_the_device(detector: nn.Module, images: torch.Tensor) -> None:
    step = Step(detector, 6, (2, 48, 48), PcimSettings(), images.device)
    backgrounds = torch.zeros_like(images), torch.zeros_like(images)
    step.load(torch.arange(6, device="cuda"), images, backgrounds, torch.ones(6, dtype=torch.int64, device="cuda"))
    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert step.steps.tolist() == [4] * 6  # they were taken, and none raised for waiting


def test_the_batch_is_chosen_from_free_memory_and_fits(detector: nn.Module, images: torch.Tensor) -> None:
    many = images[torch.arange(64) % 6]
    chosen = views_that_fit(detector, many, PcimSettings())
    assert 1 <= chosen <= min(MOST, 64)
    assert PCIM(detector).attribute(many).shape == (64, 1, 48, 48)


def test_too_much_for_the_memory_is_halved(detector: nn.Module, images: torch.Tensor) -> None:
    _free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 3e8 / total))
    try:
        large = torch.nn.functional.interpolate(images, (512, 512)).repeat(8, 1, 1, 1)
        assert PCIM(detector, batch_size=256).attribute(large).isfinite().all()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"deep_lift", "guided_backprop"}))
def test_a_peer_draws_the_same_numbers_in_any_company(method: str, detector: nn.Module, images: torch.Tensor) -> None:
    state = torch.cuda.get_rng_state()
    peer = Peer(method, detector, batch_size=3)
    together = peer.attribute(images, 1)
    turned = peer.attribute(images.flip(0), 1).flip(0)
    assert ((turned - together).abs().amax((1, 2, 3)) <= 1e-4 * together.amax((1, 2, 3))).all()
    assert together.device.type == "cuda"
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_a_plate_is_explained_and_its_maps_scored_on_the_gpu(tmp_path: Path) -> None:
    chunk = Chunk.make(tmp_path)
    plate = open_plate(chunk.inputs / "p.zarr")
    classifier = load_classifier(chunk.inputs / "model", ["planted_campaign"])
    maps = attribute_plate(plate, classifier, wells=["A01"], settings=SETTINGS)
    assert classifier.device.type == "cuda"
    assert set(maps.ledger["device"]) == {"cuda"}
    assert (maps.device.type, maps.images.device.type) == ("cpu", "cpu")
    by_plate = evaluate(maps, plate, classifier, objects="spots", settings=SCORED)
    by_images = evaluate(maps, maps.images, classifier, settings=SCORED)
    assert set(by_images["metric"]) < set(by_plate["metric"])
