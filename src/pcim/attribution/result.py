"""The record of what PCIM has learnt of some images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


@dataclass(frozen=True)
class PcimResult:
    """What PCIM has learnt of b images (b, c, h, w).

    maps : (b, 1, h, w), >= 0
        The attribution maps, higher = more important; 1 = the image's mean attribution.
    channel_maps : (b, c, h, w), >= 0
        The same by channel; they sum over channels to `maps`. One for all channels, (b, 1, h, w), by the literal preset.
    channel_importance : (b, c), in [0, 1]
        Each channel's share of the map: the mixing of whole channels.
    weights : (b, 1, h, w)
        The raw weights of the blend: 1 = the pixel is kept, 0 = it became the background. In [0, 1]; [0, inf) by the literal
        preset.
    losses : (b, steps), in nats
        The loss before each step; NaN after the last step taken, and everywhere where no gradient was used.
    steps, stop : (b,) and a word an image
        Steps taken, and why no more: ``settled``, ``step limit`` or ``budget``.
    targets : (b,)
        The explained classes.
    p_image, p_keep, p_drop, p_background, p_drop_background : (b,), in [0, 1]
        The target's probability on the image, on what the weights keep, on the rest, and on the two backgrounds alone. Where
        the last two are high, the target is an absence or the evidence is still in the background.
    mode : ``gradient`` or ``forward only``
        How the weights were learnt.
    batch_size : int
        How many images were learnt at once: what was asked for, or less where the device's memory was too small for it.
    """

    maps: Tensor
    channel_maps: Tensor
    channel_importance: Tensor
    weights: Tensor
    losses: Tensor
    steps: Tensor
    stop: list[str]
    targets: Tensor
    p_image: Tensor
    p_keep: Tensor
    p_drop: Tensor
    p_background: Tensor
    p_drop_background: Tensor
    mode: Literal["gradient", "forward only"]
    batch_size: int

    def table(self) -> pd.DataFrame:
        """Return what is one number an image as a table, a row an image."""
        import pandas as pd

        numbers = ("targets", "steps", "p_image", "p_keep", "p_drop", "p_background", "p_drop_background")
        columns = {name: getattr(self, name).tolist() for name in numbers}
        return pd.DataFrame({"class_index": columns.pop("targets"), "stop": self.stop, **columns})


@dataclass(frozen=True)
class Answer:
    """Maps a channel, raw weights, losses, steps and the reason to stop, of n images."""

    channel_maps: Tensor
    weights: Tensor
    losses: Tensor
    steps: Tensor
    stop: list[str]
