"""Images whose causal pixels are known: every scene is rendered twice, with and without what makes its class.

The mask is what differs between the two renderings, so the truth needs no opinion. Distractors of the same brightness and
size as the class's structure appear in both classes; every scene is keyed by (set, split, number) and by nothing else.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SETS = ("fluo", "multi", "bright_field", "absence")
CHANNELS = {"fluo": 1, "multi": 5, "bright_field": 1, "absence": 1}
SPLITS = ("train", "tune", "test")
SIDE = 64
CLASS_CHANNEL = 2  # of the set `multi`: the others say nothing about the class

Array = Any
_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32)


@dataclass(frozen=True)
class Scenes:
    """Scenes (n): what is seen, what it is, which pixels make it so, and the same scene of the other class.

    `images` and `twins` (n, c, 64, 64) are normalised with the training split's mean and standard deviation a channel (0 =
    the mean), `labels` (n,) are 0 or 1, `masks` (n, 64, 64) are True where the class lies; all False where it lies nowhere.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    twins: Tensor


def make(name: str, split: str, n: int, start: int = 0) -> Scenes:
    """Return scenes `start` to `start + n` of a split; labels alternate."""
    pairs = [_pair(name, split, number) for number in range(start, start + n)]
    labels = np.arange(start, start + n) % 2
    mean, std = _statistics(name)
    shown = np.stack([pair[label] for pair, label in zip(pairs, labels, strict=True)])
    others = np.stack([pair[1 - label] for pair, label in zip(pairs, labels, strict=True)])
    masks = np.stack([_mask(*pair, label) for pair, label in zip(pairs, labels, strict=True)])
    images, twins = (torch.from_numpy(((x - mean) / std).astype(np.float32)) for x in (shown, others))
    return Scenes(images, torch.from_numpy(labels), torch.from_numpy(masks), twins)


def _pair(name: str, split: str, number: int) -> tuple[Array, Array]:
    """Return one scene of class 0 and of class 1, (c, 64, 64) each, with the same noise."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), SPLITS.index(split), number])
    without, having = _RENDER[name](rng)
    noise = rng.normal(0, 0.02, without.shape).astype(np.float32)
    return without + noise, having + noise


def _mask(without: Array, having: Array, label: int) -> Array:
    """Return where the class lies: what was added; a scene of class 0 shows nothing that could be pointed at."""
    if label == 0:
        return np.zeros((SIDE, SIDE), bool)
    change = np.abs(having - without).max(0)
    return change > 0.25 * change.max()


_STATISTICS: dict[str, tuple[Array, Array]] = {}


def _statistics(name: str) -> tuple[Array, Array]:
    """Return the training split's mean and standard deviation, (c, 1, 1) each."""
    if name not in _STATISTICS:
        images = np.stack([_pair(name, "train", number)[number % 2] for number in range(200)])
        _STATISTICS[name] = (images.mean((0, 2, 3))[:, None, None], images.std((0, 2, 3))[:, None, None])
    return _STATISTICS[name]


def _disc(y: float, x: float, ry: float, rx: float, turn: float = 0.0, edge: float = 0.15) -> Array:  # noqa: PLR0913, PLR0917 - an ellipse's own numbers
    """Return a filled ellipse, 1 inside and 0 outside, with a soft edge."""
    dy, dx = _Y - y, _X - x
    u, v = dy * np.cos(turn) + dx * np.sin(turn), dx * np.cos(turn) - dy * np.sin(turn)
    return 1 / (1 + np.exp((np.sqrt((u / ry) ** 2 + (v / rx) ** 2) - 1) / edge))


def _spot(y: float, x: float, sigma: float) -> Array:
    return np.exp(-0.5 * ((_Y - y) ** 2 + (_X - x) ** 2) / sigma**2)


def _places(rng: Any, n: int, apart: float, margin: float = 6.0) -> list[tuple[float, float]]:
    """Return up to `n` places at least `apart` pixels from each other."""
    found: list[tuple[float, float]] = []
    for _ in range(40 * n):
        y, x = rng.uniform(margin, SIDE - margin, 2)
        if all((y - a) ** 2 + (x - b) ** 2 > apart**2 for a, b in found):
            found.append((float(y), float(x)))
        if len(found) == n:
            break
    return found


def _illumination(rng: Any) -> Array:
    turn, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.1)
    return slope * (np.cos(turn) * (_Y / SIDE - 0.5) + np.sin(turn) * (_X / SIDE - 0.5))


def _puncta(rng: Any, cells: list[tuple[float, float]], radius: float) -> Array:
    """Return bright puncta in one to three of the cells, two to four each."""
    image = np.zeros((SIDE, SIDE), np.float32)
    for y, x in cells[: rng.integers(1, 4)]:
        for _ in range(rng.integers(2, 5)):
            turn, far = rng.uniform(0, 2 * np.pi), radius * 0.7 * np.sqrt(rng.uniform())
            image += _spot(y + far * np.sin(turn), x + far * np.cos(turn), 1.2)
    return image


def _cells(rng: Any, places: list[tuple[float, float]], level: float, radius: float) -> Array:
    image = np.zeros((SIDE, SIDE), np.float32)
    for y, x in places:
        ry, rx = radius * rng.uniform(0.8, 1.25, 2)
        image = np.maximum(image, level * rng.uniform(0.7, 1.3) * _disc(y, x, ry, rx, rng.uniform(0, np.pi)))
    return image


def _distractors(rng: Any, n: int) -> Array:
    """Return bright rods: as bright as a punctum and as wide, but long."""
    image = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(n):
        y, x = rng.uniform(4, SIDE - 4, 2)
        image = np.maximum(image, _disc(y, x, rng.uniform(4, 8), 1.3, rng.uniform(0, np.pi), 0.3))
    return image


def _fluo(rng: Any) -> tuple[Array, Array]:
    places = _places(rng, int(rng.integers(4, 8)), 15)
    scene = 0.15 + _illumination(rng) + _cells(rng, places, 0.3, 7) + 0.45 * _distractors(rng, int(rng.integers(1, 5)))
    return scene[np.newaxis], (scene + 0.45 * np.minimum(_puncta(rng, places, 7), 1.2))[np.newaxis]


def _multi(rng: Any) -> tuple[Array, Array]:
    """Five channels as in Cell Painting: nuclei, cytoplasm, and three with puncta, of which one carries the class."""
    places = _places(rng, int(rng.integers(4, 7)), 16)
    body = _cells(rng, places, 0.3, 8)
    planes = [0.1 + _illumination(rng) + 0.5 * body for _ in range(5)]
    planes[0] = planes[0] + _cells(rng, places, 0.5, 3.5)
    for channel in (1, 3, 4):
        others = _places(rng, 4, 12)
        planes[channel] = planes[channel] + rng.integers(0, 2) * 0.45 * np.minimum(_puncta(rng, others, 7), 1.2)
    planes[CLASS_CHANNEL] = planes[CLASS_CHANNEL] + 0.45 * _distractors(rng, int(rng.integers(0, 4)))
    without = np.stack(planes)
    having = without.copy()
    having[CLASS_CHANNEL] += 0.45 * np.minimum(_puncta(rng, places, 8), 1.2)
    return without, having


def _bright_field(rng: Any) -> tuple[Array, Array]:
    """Grey with dark-rimmed, bright objects; the class is dark inclusions, debris outside and dark rims are not."""
    places = _places(rng, int(rng.integers(4, 8)), 16)
    scene = 0.5 + _illumination(rng)
    for y, x in places:
        ry, rx, turn = *(7 * rng.uniform(0.8, 1.25, 2)), rng.uniform(0, np.pi)
        outer, inner = _disc(y, x, ry, rx, turn), _disc(y, x, 0.75 * ry, 0.75 * rx, turn)
        scene = scene - 0.18 * rng.uniform(0.7, 1.2) * (outer - inner) + 0.08 * rng.uniform(-0.5, 1.5) * inner
    rods = _distractors(rng, int(rng.integers(1, 5)))
    scene = scene - 0.22 * rods
    inclusions = np.minimum(_puncta(rng, places, 4.5), 1.2)
    return scene[np.newaxis], (scene - 0.22 * inclusions)[np.newaxis]


def _absence(rng: Any) -> tuple[Array, Array]:
    """A monolayer; the class is that one or two of its cells are missing: the cause is bare ground at background level."""
    pitch = 12.0
    shift_y, shift_x = rng.uniform(0, pitch, 2)
    sites = [
        (shift_y + pitch * row + rng.uniform(-1.5, 1.5), shift_x + pitch * column + rng.uniform(-1.5, 1.5))
        for row in range(-1, 6)
        for column in range(-1, 6)
    ]
    margin = 8
    inner = [site for site in sites if all(margin < length < SIDE - margin for length in site)]
    gone = {inner[index] for index in rng.choice(len(inner), int(rng.integers(1, 3)), replace=False)}
    ground = 0.15 + _illumination(rng)
    whole, gapped = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)
    for site in sites:
        ry, rx = 5 * rng.uniform(0.85, 1.15, 2)
        cell = 0.4 * rng.uniform(0.7, 1.3) * _disc(*site, ry, rx, rng.uniform(0, np.pi))
        whole = np.maximum(whole, cell)
        gapped = gapped if site in gone else np.maximum(gapped, cell)
    debris = 0.45 * _distractors(rng, int(rng.integers(0, 3)))
    return (ground + whole + debris)[np.newaxis], (ground + gapped + debris)[np.newaxis]


_RENDER: dict[str, Callable[[Any], tuple[Array, Array]]] = {
    "fluo": _fluo,
    "multi": _multi,
    "bright_field": _bright_field,
    "absence": _absence,
}
