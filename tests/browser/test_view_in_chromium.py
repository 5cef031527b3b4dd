"""`pcim view` in a real browser: image and map are drawn from the server's own files, and nobody else is asked.

The screenshots are kept in the folder that ``PCIM_SCREENSHOTS`` names, for people to look at.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image
from viewer_results import make_results

from pcim.operations.viewer.plate_view import find_view, shared_files
from pcim.operations.viewer.server import Server
from pcim.plates.colours import channel_colours

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: run tests/browser/install.sh"),
]
FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("viewed")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        yield make_results(folder)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page of a server, and what it complained of or asked for."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def shown(self) -> None:
        """Wait until the panes have their viewers and no file is on its way, then a moment for them to be drawn."""
        self.page.wait_for_function("document.body.dataset.shown", timeout=60_000)
        self.page.wait_for_load_state("networkidle", timeout=60_000)
        self.page.wait_for_timeout(500)

    def choose(self, select: str, value: str) -> None:
        self.page.evaluate("delete document.body.dataset.shown")
        self.page.select_option(f"#{select}", value)
        self.shown()

    def panes(self, name: str = "") -> list[NDArray[np.uint8]]:
        """Return what is drawn in each pane (y, x, 3), without its title and menu, which lie at the top."""
        place = os.environ.get("PCIM_SCREENSHOTS")
        if place and name:
            Path(place).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(place) / f"{name}.png")
        shots = [pane.screenshot() for pane in self.page.locator("section > div").all()]
        drawn = [np.array(Image.open(io.BytesIO(shot)).convert("RGB")) for shot in shots]
        for picture in drawn:
            picture[:30] = 0
        return drawn


@pytest.fixture
def look(chromium: Any, results: Path) -> Iterator[Callable[..., Seen]]:
    """Return a function that serves a plate and opens its page; what the page complains of fails the test."""
    opened: list[tuple[Seen, Server]] = []

    def open_page(plate: str, begin: str = "") -> Seen:
        server = Server(shared_files(find_view(results, plate), begin))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = Seen(chromium.new_context(viewport={"width": 1200, "height": 700}).new_page(), server.address)
        opened.append((seen, server))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("console", lambda m: seen.complaints.append(m.text) if m.type == "error" else None)
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.goto(server.address)
        seen.shown()
        return seen

    yield open_page
    for seen, server in opened:
        seen.page.context.close()
        server.shutdown()
        server.server_close()
        assert seen.complaints == []
        assert [url for url in seen.asked if not url.startswith((seen.address, "data:", "blob:"))] == []


def orange(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a picture is clearly orange, the colour of the maps."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return (red > 60) & (red - blue > 40) & (red - green > 12)


def grey(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a picture is grey, as the images are."""
    values = picture.astype(int)
    return (values.min(axis=2) > 40) & (np.ptp(values, axis=2) < 12)


def is_upper_right(where: NDArray[np.bool_], of: NDArray[np.bool_]) -> bool:
    """Tell whether what is marked lies in the upper right quarter of a square, as the disc of the maps does."""
    (top, left), (bottom, right) = np.argwhere(of).min(0), np.argwhere(of).max(0)
    y, x = np.argwhere(where).mean(0)
    return bool(top < y < (top + bottom) / 2 and (left + right) / 2 < x < right)


@pytest.mark.parametrize("plate", ["p5", "p4"])
def test_image_and_map_are_drawn_beside_each_other_and_over_each_other(look: Callable[..., Seen], plate: str) -> None:
    seen = look(plate)
    assert seen.page.locator("#well").input_value() == "A/1", "the first well that has a map"
    image, maps = seen.panes(f"view-beside-{plate}")
    assert grey(image).mean() > 0.3, "the image fills its pane"
    assert not orange(image).any()
    assert orange(maps).mean() > 0.005
    assert is_upper_right(orange(maps), grey(image)), "both panes show the same place"
    seen.choose("place", "over")
    (both,) = seen.panes(f"view-over-{plate}")
    assert is_upper_right(orange(both), grey(both) | orange(both))
    assert seen.page.locator("#told").inner_text() == ""


def test_channels_have_the_colours_of_the_report(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = make_results(tmp_path, channels=("DNA", "Reporter"))
    for file in tmp_path.glob("p5.zarr/*/*/0/zarr.json"):
        content = json.loads(file.read_bytes())
        del content["attributes"]["ome"]["omero"]
        file.write_text(json.dumps(content))
    for number in (0, 1):
        for place in tmp_path.glob("p5.zarr/*/*/0/0"):
            array = zarr.open_array(place, mode="r+")
            pixels = np.zeros(array.shape, np.uint16)
            pixels[number] = np.random.default_rng(0).integers(20000, 40000, array.shape[1:])
            array[:] = pixels
        server = Server(shared_files(find_view(results, "p5")))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = Seen(chromium.new_context(viewport={"width": 1200, "height": 700}).new_page(), server.address)
        seen.page.goto(server.address)
        seen.shown()
        image = seen.panes(f"view-channel-{number}")[0].astype(int)
        shown = image[image.max(2) > 120].mean(0)
        expected = [int(channel_colours([], 2)[number][at : at + 2], 16) for at in (0, 2, 4)]
        assert shown / shown.max() == pytest.approx(np.divide(expected, max(expected)), abs=0.12)
        seen.page.context.close()
        server.shutdown()
        server.server_close()


def test_both_panes_move_together(look: Callable[..., Seen]) -> None:
    seen = look("p5")

    def places() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        image, maps = seen.panes()
        return np.argwhere(grey(image)).min(0).astype(float), np.argwhere(orange(maps)).mean(0)

    image, disc = places()
    box = seen.page.locator("section").first.bounding_box()
    seen.page.mouse.move(box["x"] + 300, box["y"] + 300)
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + 360, box["y"] + 380, steps=4)
    seen.page.mouse.up()
    seen.page.wait_for_timeout(800)
    moved_image, moved_disc = places()
    assert moved_image[0] - image[0] > 40
    assert moved_disc - disc == pytest.approx(moved_image - image, abs=4)


def test_the_whole_plate_is_shown_with_its_maps_at_their_wells(look: Callable[..., Seen]) -> None:
    seen = look("p5")
    seen.choose("well", "")
    image, maps = seen.panes("view-plate")
    wells = grey(image)
    middle = np.array(np.argwhere(wells).min(0) + np.argwhere(wells).max(0)) / 2
    assert wells[: int(middle[0]), : int(middle[1])].any(), "A/1"
    assert not wells[int(middle[0]) + 5 :, : int(middle[1]) - 5].any(), "there is no B/1"
    y, x = np.argwhere(orange(maps)).mean(0)
    assert (y < middle[0], x < middle[1]) == (True, True), "the map of A/1"


def test_a_click_on_a_well_opens_it(look: Callable[..., Seen]) -> None:
    seen = look("p5")
    seen.choose("well", "")
    (y, x) = np.argwhere(grey(seen.panes()[0])).max(0) - 5
    box = seen.page.locator("section").first.bounding_box()
    seen.page.mouse.click(box["x"] + int(x), box["y"] + int(y))
    seen.page.wait_for_function("document.getElementById('well').value === 'B/3'")
    seen.shown()
    assert seen.page.locator("section").count() == 1
    assert seen.page.locator("#told").inner_text() == "pcim by spots has no map of this field."


def test_it_begins_with_the_field_that_was_named(look: Callable[..., Seen]) -> None:
    assert look("p4", "B/3/0").page.locator("#well").input_value() == "B/3"


def test_names_from_files_are_text(results: Path, look: Callable[..., Seen]) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    plan = results / "plan/p4.json"
    whole = plan.read_text()
    plan.write_text(whole.replace('"A01"', f'"{hostile}"'))
    try:
        seen = look("p4")
        assert seen.page.locator("#well option").nth(1).inner_text() == hostile
        assert seen.page.locator("img").count() == 0
    finally:
        plan.write_text(whole)


def test_a_well_opens_on_a_field_that_has_a_map_and_the_list_says_which_have(chromium: Any, results: Path) -> None:
    shown = shared_files(find_view(results, "p5"))
    told = json.loads(shown.pages["view.json"])
    told["wells"][0]["fields"] = [["s1", "s1"], ["0", "0"], ["s3", "s3"]]
    shown.pages["view.json"] = json.dumps(told).encode()
    with Server(shown) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = chromium.new_context().new_page()
        page.goto(server.address)
        page.wait_for_function("document.body.dataset.shown", timeout=60_000)
        assert page.locator("#field").input_value() == "0"
        assert page.locator("#field option").all_inner_texts() == ["s1 (no map)", "0", "s3 (no map)"]
        assert "no map" not in page.locator("#told").inner_text()
        page.context.close()
        server.shutdown()
