"""Colours of channels. The plate's metadata names them, else one list does; report, figures, converted plates and viewer ask here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GREY = "FFFFFF"
"""The colour of a channel that is shown alone: from black to white."""

MAP = "FF8000"
"""The colour of a map that lies over an image, and of every channel of a plate of maps: they add up to the map."""

_OF_TWO = ("33FF59", "F233F2")
_OF_MORE = ("1AD9FF", "F233F2", "FFD91A", "33FF59", "FF8000", "3373FF")
"""Six hexadecimal digits each; the first three are told apart by colour-blind readers. From the seventh channel on they repeat."""

_WORDS = {"grey": GREY, "red": "FF0000", "green": "00FF00", "blue": "0000FF", "cyan": "00FFFF", "magenta": "FF00FF",
          "yellow": "FFFF00", "orange": "FF8000"}  # fmt: skip


def channel_colours(named: Sequence[str], count: int) -> tuple[str, ...]:
    """Return a colour, six hexadecimal digits, for each of `count` channels of a plate: the `named` ones (omero metadata), else our own.

    Named ones are taken where there is one a channel, none of them black, and no two alike: channels of one colour cannot be told apart.
    """
    if count == 1:
        return (GREY,)
    told = tuple(name.removeprefix("#").upper() for name in named)
    if len(told) == count == len(set(told)) and all(re.fullmatch("[0-9A-F]{6}", t) and int(t, 16) for t in told):
        return told
    own = _OF_TWO if count == len(_OF_TWO) else _OF_MORE
    return tuple(own[number % len(own)] for number in range(count))


def rgb(colour: str) -> tuple[float, float, float]:
    """Return red, green and blue of six hexadecimal digits, each in [0, 1]."""
    red, green, blue = (value / 255 for value in bytes.fromhex(colour))
    return red, green, blue


def word_for(colour: str) -> str:
    """Return the word that is nearest to a colour, ``green``."""
    shade = rgb(colour)
    return min(_WORDS, key=lambda word: sum((a - b) ** 2 for a, b in zip(shade, rgb(_WORDS[word]), strict=True)))
