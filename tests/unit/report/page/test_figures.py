"""Figures: the same bytes for the same numbers, nothing global touched, nothing that asks a network."""

from __future__ import annotations

import re

import matplotlib as mpl
import numpy as np
import pytest

from pcim.report.page import figures


def stack() -> np.ndarray:
    return np.stack([np.full((4, 6), 1.0), np.full((4, 6), 5.0)])


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_numbers_give_the_same_bytes(kind: str) -> None:
    drawn = [figures.render(figures.mean_maps(stack(), ["a", "b"]), kind) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert b"Date" not in drawn[0]


def test_global_style_is_left_as_it_was() -> None:
    before = dict(mpl.rcParams)
    figures.render(figures.mean_maps(stack(), ["a", "b"]), "svg")
    assert dict(mpl.rcParams) == before


def test_mean_maps_share_one_scale_from_zero() -> None:
    figure = figures.mean_maps(stack(), ["a", "b"])
    limits = {axis.images[0].get_clim() for axis in figure.axes if axis.images}
    assert len(limits) == 1
    assert limits.pop()[0] == 0


def test_the_script_that_draws_the_charts_is_whole_and_the_same_every_time() -> None:
    script = figures.javascript()
    assert "vegaEmbed" in script
    assert "</script" not in script.lower(), "it must not end its own element"
    assert script == figures.javascript()
    assert not re.search(r"""\b(import|importScripts)\(["']https?:""", script)
