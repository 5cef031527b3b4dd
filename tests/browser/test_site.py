"""The documentation site in a real browser: every page opens, asks nothing from elsewhere, fits, can be searched, and reads on any paper.

The screenshots are kept in the folder that ``PCIM_SCREENSHOTS`` names, for people to look at.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, where a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@dataclass
class Seen:
    """A window, and what went wrong in it."""

    page: Any
    wrong: list[str] = field(default_factory=list)


@pytest.fixture
def look(chromium: Any, address: str) -> Iterator[Any]:
    """Return a function that opens a window; a complaint, a request that fails or one off the loopback fails the test."""
    opened: list[Seen] = []

    def open_window(width: int = 1280, paper: str = "light", start: str = "") -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=paper)
        seen = Seen(context.new_page())
        seen.page.set_default_timeout(20_000)
        seen.page.on("console", lambda said: seen.wrong.append(said.text) if said.type in {"error", "warning"} else None)
        seen.page.on("pageerror", lambda error: seen.wrong.append(str(error)))
        seen.page.on("requestfailed", lambda request: seen.wrong.append(f"failed: {request.url} {request.failure}"))
        seen.page.on("response", lambda got: seen.wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        seen.page.on(
            "request",
            lambda asked: None if asked.url.startswith((start or address, "data:", "blob:")) else seen.wrong.append(asked.url),
        )
        opened.append(seen)
        seen.page.goto((start or address) + "index.html", wait_until="load")
        return seen.page

    yield open_window
    for seen in opened:
        seen.page.context.close()
        assert seen.wrong == []


def test_links_that_lead_away_are_listed(built: Path) -> None:
    listed = (built / "external-links.txt").read_text(encoding="utf-8").split()
    assert "https://captum.ai" in listed
    assert all(re.fullmatch(r"https://\S+", link) for link in listed)


def pages_in(nav: list[Any]) -> list[str]:
    """Return the pages that mkdocs.yml lists, in order."""
    found = []
    for entry in nav:
        (value,) = entry.values()
        found += pages_in(value) if isinstance(value, list) else [value.replace(".md", ".html")]
    return found


PAGES = pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])


def walk(page: Any) -> Iterator[str]:
    """Go from page to page as a reader does, by the link at the foot of each."""
    while True:
        yield page.url.rpartition("#")[0] or page.url
        onward = page.locator("a.md-footer__link--next")
        if not onward.count():
            return
        with page.expect_navigation(wait_until="load"):
            onward.click()


def keep(page: Any, name: str) -> None:
    """Keep a screenshot where a person asked for it."""
    place = os.environ.get("PCIM_SCREENSHOTS")
    if place:
        Path(place).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(place) / f"site-{name}.png", full_page=True)


def faults_of(page: Any, width: int) -> list[Any]:
    """Return what a reader would stumble over: a page that scrolls sideways, Markdown left as it was, barriers that axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    broken = re.compile(r"^(- |\d+\. |\|)|```|^#+ |\]\(", re.MULTILINE)
    left = [text for text in page.locator(".md-content p").all_inner_texts() if broken.search(text)]
    barriers = [
        (one["id"], [node["html"][:160] for node in one["nodes"][:3]])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
    is_wide = page.evaluate("document.documentElement.scrollWidth") > width
    return [*left, *barriers, *(["it scrolls sideways"] if is_wide else [])]


@pytest.mark.parametrize(("width", "paper"), [(1280, "light"), (390, "dark")])
def test_every_page_opens_without_a_complaint_or_a_request_elsewhere(look: Any, address: str, width: int, paper: str) -> None:
    page, seen, faults = look(width, paper), [], {}
    for url in walk(page):
        name = url.removeprefix(address)
        seen.append(name)
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), name
        assert page.locator("h1").count() == 1, name
        if found := faults_of(page, width):
            faults[name] = found
        keep(page, f"{name.replace('/', '-')}-{width}")
    assert faults == {}
    assert seen == PAGES


@pytest.mark.parametrize("opened", ["served", "as files"])
def test_search_finds_insertion(look: Any, built: Path, opened: str) -> None:
    page = look(start="" if opened == "served" else built.as_uri() + "/")
    page.locator(".md-search__input").click()
    page.locator(".md-search__input").press_sequentially("insertion")
    first = page.locator(".md-search-result__item a").first
    first.wait_for()
    assert "method" in " ".join(link.get_attribute("href") or "" for link in page.locator(".md-search-result__item a").all())
    with page.expect_navigation(wait_until="load"):
        first.click()
    assert "insertion" in page.locator(".md-content").inner_text().lower()


def test_paper_is_chosen_by_hand_and_stays(look: Any) -> None:
    page = look()

    def is_dark() -> bool:
        colours = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colours)[:3])) < 3 * 128

    assert not is_dark()
    page.locator("label[title=Dark]").click()
    assert is_dark()
    with page.expect_navigation(wait_until="load"):
        page.locator("a.md-footer__link--next").click()
    assert is_dark()
    page.locator("label[title=Light]").click()
    assert not is_dark()
