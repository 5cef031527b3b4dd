"""The attribution maps that `PCIM.attribute` and `attribute_plate` return, with what they explain and how they came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pcim.plates.colours import channel_colours, word_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MOST_SHOWN = 4
_OUTLINE = "#56B4E9"


class Maps(Tensor):
    """Attribution maps (n, 1, h, w), >= 0, higher = more important; 1 = the image's mean (raw weights by the literal preset).

    A tensor as any other (what is computed from it is a plain one), that knows what it explains and can be drawn.

    Attributes
    ----------
    images : Tensor (n, c, h, w)
        The images that the classifier was fed, normalised.
    channel_maps : Tensor (n, c or 1, h, w)
        The maps by channel of the image, which sum to the maps; one for all channels where the method has no others.
    ledger : pandas.DataFrame
        A row an explanation: image or view, explained class (`target`), its probability on the image and on what was kept, dropped
        and filled in, steps. Of a plate it is the workflow's ledger (docs/formats.md) and holds views that failed too, with the
        reason; the rows with status ``ok`` are those of the maps, in their order.
    channels : list of str
        Labels of the image's channels.
    colours : list of str
        The colours that the channels are drawn in, six hexadecimal digits: the plate's own, where its metadata names them.
    """

    images: Tensor
    channel_maps: Tensor
    ledger: pd.DataFrame
    channels: list[str]
    colours: list[str]

    # as torch's own Parameter: what is computed from it is plain
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> Maps:
        return Maps.of(self.images.clone(), self.channel_maps.clone(), self.ledger.copy(), self.channels, self.colours)

    @classmethod
    def of(
        cls,
        images: Tensor,
        channel_maps: Tensor,
        ledger: pd.DataFrame,
        channels: Sequence[str],
        colours: Sequence[str] = (),
    ) -> Maps:
        """Put together maps by channel (n, c or 1, h, w), their images (n, c, h, w) and a row each of the ledger."""
        maps = channel_maps.sum(1, keepdim=True).as_subclass(cls)
        maps.images, maps.channel_maps, maps.ledger, maps.channels = images, channel_maps, ledger, list(channels)
        maps.colours = list(colours or channel_colours((), len(maps.channels)))
        return maps

    @property
    def rows(self) -> pd.DataFrame:
        """The ledger's rows of the maps, in their order."""
        if "status" not in self.ledger:
            return self.ledger
        return self.ledger[self.ledger["status"] == "ok"].reset_index(drop=True)

    def to_xarray(self) -> xr.Dataset:
        """Return the maps by channel (map, channel, y, x) and the images (map, image_channel, y, x), with the ledger's columns beside."""
        import xarray as xr

        by_channel = self.channel_maps.shape[1] == len(self.channels)
        units = {"units": "mean attribution of the image"}
        beside = {name: ("map", column.to_numpy()) for name, column in self.rows.items() if not _holds_lists(column)}
        coords = {"channel": self.channels if by_channel else ["all channels"], "image_channel": self.channels}
        return xr.Dataset(
            {
                "attribution": (("map", "channel", "y", "x"), _array(self.channel_maps), units),
                "image": (
                    ("map", "image_channel", "y", "x"),
                    _array(self.images),
                    {"units": "as the classifier was fed"},
                ),
            },
            coords=coords | {str(name): told for name, told in beside.items()},
        )

    def plot(self, numbers: Sequence[int] | int | None = None, *, ax: Axes | None = None, top: float | None = None) -> NDArray[Any]:
        """Draw maps beside their images, all on one scale and one stretch, and return the matplotlib axes (row, 2): image and map.

        Of all shown images together, the 0.5th percentile of a channel is drawn black and the 99.5th in its full colour, as the report
        does, so that brightness can be compared between them; a view drawn alone is stretched by itself. Maps begin at 0.
        The colour bar is in units of the image's mean attribution, with a line at 1: what every pixel of a map that knows nothing has.
        What lies above `top` is drawn as `top`. On the image, a line surrounds the 5 % highest pixels of the map.

        Parameters
        ----------
        numbers
            Which maps, a row each; the first four where none is given.
        ax
            Axes to draw one map into, without its image; they are returned as (1, 1).
        top
            The value drawn brightest, above 0: the median of the shown maps' 99.5th percentiles where none is given, at least 1.

        Raises
        ------
        ValueError
            When there is no such map, `top` is not above 0, or `ax` is given for more than one map.
        """
        chosen = self._choose(numbers, alone=ax is not None)
        if top is not None and not top > 0:
            raise ValueError(f"top is {top}; allowed: above 0")
        from matplotlib import pyplot as plt

        from pcim.plates.rendering import stretch, top_of

        maps = {number: _in_means(_array(self[number, 0])) for number in chosen}
        top = top or top_of(list(maps.values()))
        if ax is not None:
            self._draw_map(ax, chosen[0], maps[chosen[0]], top)
            return np.array([[ax]], dtype=object)
        height, width = self.shape[-2:]
        size = (8.4, 0.4 + len(chosen) * (0.5 + 3.4 * min(height / width, 2.0)))
        _, axes = plt.subplots(len(chosen), 2, squeeze=False, figsize=size, layout="constrained")
        ends = stretch([_array(self.images[number]) for number in chosen])
        for (left, right), (number, attribution) in zip(axes, maps.items(), strict=True):
            self._draw_image(left, number, attribution, ends)
            self._draw_map(right, number, attribution, top)
        return np.asarray(axes)

    def _choose(self, numbers: Sequence[int] | int | None, *, alone: bool) -> list[int]:
        some = range(min(len(self), 1 if alone else MOST_SHOWN)) if numbers is None else numbers
        chosen = [some] if isinstance(some, int) else list(some)
        wrong = [number for number in chosen if not -len(self) <= number < len(self)]
        if wrong or not chosen:
            raise ValueError(f"maps {wrong or chosen}; there are {len(self)}")
        if alone and len(chosen) > 1:
            raise ValueError(f"ax is for one map; {len(chosen)} are to be drawn")
        return [number % len(self) for number in chosen]

    def _draw_image(self, ax: Axes, number: int, attribution: NDArray[Any], ends: Sequence[tuple[float, float]]) -> None:
        from pcim.plates.rendering import composite

        ax.imshow(composite(_array(self.images[number]), ends, self.colours), interpolation="nearest")
        ax.contour(top_mask(attribution, 5.0), [0.5], colors=_OUTLINE, linewidths=0.8)
        shown = ", ".join(f"{c} {word_for(colour)}" for c, colour in zip(self.channels, self.colours, strict=True))
        _label(ax, f"{self._name(number)}\n{shown}\noutlined: the map's highest 5 %")

    def _draw_map(self, ax: Axes, number: int, attribution: NDArray[Any], top: float) -> None:
        drawn = ax.imshow(attribution, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
        row = self.rows.iloc[number]
        _label(ax, f"{row['method']}: why {row['target']}?\nprobability {row['p_image']:.2f}")
        extend = "max" if attribution.max() > top else "neither"
        bar = ax.get_figure().colorbar(drawn, ax=ax, extend=extend, shrink=0.85)  # type: ignore[union-attr]
        bar.set_label("attribution\n1 (white line) = the image's mean", fontsize=7)
        bar.ax.axhline(1, color="white", linewidth=1)
        bar.ax.tick_params(labelsize=7)

    def _name(self, number: int) -> str:
        row = self.rows.iloc[number]
        return "/".join(str(row[name]) for name in ("plate", "well", "field", "view") if name in row) or f"image {number}"


def _label(ax: Axes, title: str) -> None:
    ax.set_title(title, fontsize=8, loc="left", parse_math=False)  # a class may be called $x$
    ax.set_xlabel("x (px)", fontsize=7)
    ax.set_ylabel("y (px)", fontsize=7)
    ax.tick_params(labelsize=7)


def _in_means(attribution: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map in units of its mean: the literal preset's are raw weights."""
    mean = attribution.mean()
    return attribution / mean if mean > 0 else attribution


def _array(tensor: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return found


def _holds_lists(column: pd.Series[Any]) -> bool:
    return bool(column.map(lambda value: isinstance(value, (list, np.ndarray))).any())


def top_mask(attribution: NDArray[np.float32], percent: float) -> NDArray[np.uint8]:
    """Mark the `percent` highest pixels of a map (y, x) with 1; pixels at 0 are never marked."""
    threshold = np.percentile(attribution, 100 - percent)
    return ((attribution >= threshold) & (attribution > 0)).astype(np.uint8)
