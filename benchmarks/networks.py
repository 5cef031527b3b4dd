"""Three classifiers of different make for the scenes: strided convolutions, residual blocks, mixing of patches."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from safetensors.torch import load_file, save_file
from scenes import CHANNELS, make
from torch import Tensor, nn

CACHE = Path("results/benchmarks/networks")
TRAINING_SCENES, EPOCHS, BATCH = 2000, 8, 64
ENOUGH = 0.95  # accuracy on the tune split: below it a map says more about the training than about the method


class Residual(nn.Module):
    """Two convolutions around a shortcut; one ReLU module a use, because attribution hooks cannot share one."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's features."""
        summed: Tensor = self.relu(self.path(features) + self.shortcut(features))
        return summed


class Mixing(nn.Module):
    """A depthwise convolution, then channels mixed by an inverted bottleneck, around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(width, width, 7, 1, 3, groups=width),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, 2 * width, 1),
            nn.GELU(),
            nn.Conv2d(2 * width, width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's features."""
        mixed: Tensor = features + self.path(features)
        return mixed


class MeanAndMax(nn.Module):
    """Pool each feature map to its mean and its maximum."""

    def forward(self, features: Tensor) -> Tensor:
        """Return (b, 2c)."""
        return torch.cat([features.mean((-2, -1)), features.amax((-2, -1))], 1)


def cnn(channels: int) -> nn.Module:
    """Return five plain convolutions, the mean and the maximum pooled."""
    layers: list[nn.Module] = []
    for inside, outside, stride in ((channels, 16, 1), (16, 24, 2), (24, 32, 1), (32, 48, 2), (48, 48, 1)):
        layers += [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers, MeanAndMax(), nn.Linear(96, 2))


def resnet(channels: int) -> nn.Module:
    """Return a small residual network; features are averaged."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Residual(16, 24, 2),
        Residual(24, 32, 2),
        Residual(32, 48, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 2),
    )


def mixer(channels: int) -> nn.Module:
    """Return a small convolutional mixer: patches of 4 px, GELU, no batch statistics."""
    return nn.Sequential(nn.Conv2d(channels, 40, 6, 4, 1), nn.GELU(), Mixing(40), Mixing(40), Mixing(40), MeanAndMax(), nn.Linear(80, 2))


NETWORKS = {"cnn": cnn, "resnet": resnet, "mixer": mixer}


def trained(name: str, network: str) -> nn.Module:
    """Return a network trained on a set, frozen; trained once and kept under results/."""
    torch.set_num_threads(1)
    file = CACHE / f"{name}_{network}.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NETWORKS[network](CHANNELS[name])
        if not file.exists():
            accuracy = _train(model, name)
            if accuracy < ENOUGH:
                raise RuntimeError(f"{network} on {name}: accuracy {accuracy:.3f}; at least {ENOUGH} is asked for")
            CACHE.mkdir(parents=True, exist_ok=True)
            save_file(model.state_dict(), file)
    model.load_state_dict(load_file(file))
    return model.eval().requires_grad_(False)


def _train(model: nn.Module, name: str) -> float:
    """Train with one-cycle AdamW and flips; return the accuracy on the tune split."""
    scenes, held = make(name, "train", TRAINING_SCENES), make(name, "tune", 400)
    images, labels = torch.cat([scenes.images, scenes.twins]), torch.cat([scenes.labels, 1 - scenes.labels])
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images))[: len(images) // BATCH * BATCH].view(-1, BATCH):
            batch = images[chosen]
            for axis in (-2, -1):
                batch = batch.flip(axis) if torch.rand(()) < 0.5 else batch  # noqa: PLR2004 - a coin
            loss = F.cross_entropy(model(batch), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return float((model.eval()(held.images).argmax(1) == held.labels).float().mean())
