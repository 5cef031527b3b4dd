"""The networks that time is measured on, a batch to explain, and peak memory in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from networks import Residual, resnet
from torch import Tensor, nn

from pcim.architectures import small_cnn
from pcim.attribution.optimiser_step import Step
from pcim.classifiers.log_odds import log_odds
from pcim.composites.baselines import two_backgrounds
from pcim.config.methods import PcimSettings

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLASSES = 2


def resnet18_size(channels: int) -> nn.Module:
    """Return a residual network of ResNet-18's size: 8 blocks of two 3 x 3 convolutions, 64 to 512 features."""
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    stem = [nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [Residual(*width) for width in widths]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 around a shortcut, four times as many features outside as inside."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.path = nn.Sequential(
            nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, outside, 1, bias=False), nn.BatchNorm2d(outside),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's features."""
        summed: Tensor = self.relu(self.path(features) + self.shortcut(features))
        return summed


def resnet50_size(channels: int) -> nn.Module:
    """Return a residual network of ResNet-50's size: bottlenecks 3, 4, 6, 3 of 64 to 512 features inside."""
    stem = [nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks, inside = [], 64
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for number in range(count):
            blocks.append(Bottleneck(inside, width, 2 if number == 0 and width > 64 else 1))  # noqa: PLR2004
            inside = 4 * width
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, CLASSES))


BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "small CNN": lambda channels: small_cnn(channels, CLASSES),
    "small ResNet": resnet,
    "ResNet-18 size": resnet18_size,
    "ResNet-50 size": resnet50_size,
}


@dataclass(frozen=True)
class Work:
    """A network and a batch of random views, on the device; the network's weights are channels-last, as the stage loads them."""

    network: nn.Module
    images: Tensor
    targets: Tensor
    autocast: bool

    @classmethod
    def of(cls, name: str, batch: int, side: int, channels: int = 1) -> Work:
        """Return random views: time and memory do not depend on what is in them."""
        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = BUILDERS[name](channels).eval().requires_grad_(False).to(DEVICE, memory_format=torch.channels_last)
            images = torch.randn(batch, channels, side, side).to(DEVICE)
        return cls(network, images, torch.zeros(batch, dtype=torch.int64, device=DEVICE), DEVICE == "cuda")

    def classify(self, images: Tensor) -> Tensor:
        """Return the logits, in float32."""
        with torch.autocast(DEVICE, torch.bfloat16, enabled=self.autocast):
            logits: Tensor = self.network(images)
        return logits.float()

    def step(self) -> Step:
        """Return PCIM's step on these views; call it to take one."""
        batch, *shape = self.images.shape
        step = Step(
            self.classify,
            batch,
            (shape[0], shape[1], shape[2]),
            PcimSettings(steps=1_000_000 // batch),
            self.images.device,
        )
        step.load(torch.arange(batch, device=DEVICE), self.images, two_backgrounds(self.images, "auto", 0.125), self.targets)
        return step

    def bare(self) -> Callable[[], None]:
        """Return the network's part of a step: forward and input-backward of as many images, in the same memory format."""
        form = torch.empty(2 * len(self.images), *self.images.shape[1:], device=DEVICE, memory_format=torch.channels_last)
        both, targets = form.copy_(torch.cat([self.images, self.images])), torch.cat([self.targets, self.targets])

        def once() -> None:
            leaf = both.detach().requires_grad_()
            torch.autograd.grad(log_odds(self.classify(leaf), targets).sum(), [leaf])

        return once


def peak_bytes(kind: str, *place: int | str) -> int:
    """Return the most memory that a step, or the bare pass, needs beyond the network, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak_here, (kind, *place))


def _peak_here(kind: str, name: str, batch: int, side: int) -> int:
    work = Work.of(name, batch, side)
    small = Work.of(name, 1, side)
    small.step()(), small.bare()()  # what is loaded once
    before = _now()
    run = work.step() if kind == "step" else work.bare()
    _forget_peak()
    run(), run()
    return _peak() - before


def _now() -> int:
    if DEVICE == "cuda":
        return torch.cuda.memory_allocated()
    _give_back()
    return _of_process("VmRSS")


def _forget_peak() -> None:
    """Forget the peak of the preparation: the blurred background is made once a view, not a step."""
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    _give_back()
    Path("/proc/self/clear_refs").write_text("5")


def _give_back() -> None:
    """Give free memory back to the system, so that what is resident is what is used."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _peak() -> int:
    return torch.cuda.max_memory_allocated() if DEVICE == "cuda" else _of_process("VmHWM")


def _of_process(name: str) -> int:
    """Return a size from /proc/self/status, in bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
