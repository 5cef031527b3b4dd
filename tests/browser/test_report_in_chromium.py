"""The page in a real browser: it opens fast and asks nothing, every control does what it says, and no text of a table becomes code.

The screenshots are kept in the folder that ``PCIM_SCREENSHOTS`` names, for people to look at.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from finished_campaign import HOSTILE, make_campaign, write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign's page, with a failed view, drugs in two doses and every hostile name."""
    made = make_campaign(tmp_path_factory.mktemp("browser"))
    ledger = made.arguments["ledgers"][0]
    table = pd.read_parquet(ledger)
    table.loc[0, ["status", "reason"]] = ["failed", f"out of memory {HOSTILE}"]
    table.to_parquet(ledger, index=False)
    write_report(made.arguments)
    return Path(made.arguments["page"])


@dataclass
class Seen:
    """An open page, and what it complained of or asked for."""

    page: Any
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def look(chromium: Any) -> Iterator[Any]:
    """Return a function that opens a file at a width, on light or dark paper; a complaint of the page fails the test."""
    opened: list[Seen] = []

    def open_page(file: Path, width: int = 1280, paper: str = "light", height: int = 800) -> Seen:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=paper)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        seen = Seen(context.new_page())
        seen.page.set_default_timeout(20_000)
        seen.page.on(
            "console",
            lambda message: seen.complaints.append(message.text) if message.type in {"error", "warning"} else None,
        )
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("dialog", lambda dialog: (seen.complaints.append(dialog.message), dialog.dismiss()))
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        start = time.perf_counter()
        seen.page.goto(file.as_uri(), wait_until="load")
        seen.seconds = time.perf_counter() - start
        opened.append(seen)
        return seen

    yield open_page
    for seen in opened:
        seen.page.context.close()
        assert seen.complaints == []


def draw_all(page: Any) -> None:
    """Draw every chart, as the browser does before it prints, and wait for them."""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("!document.querySelector('[data-plot]:not([data-state])')")


def keep(page: Any, name: str) -> None:
    """Keep a screenshot of the whole page where a person asked for it."""
    place = os.environ.get("PCIM_SCREENSHOTS")
    if place:
        Path(place).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(place) / f"{name}.png", full_page=True)


@pytest.mark.parametrize(("width", "paper"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_the_page_opens_fast_asks_nothing_and_fits(report: Path, look: Any, width: int, paper: str) -> None:
    seen = look(report, width, paper)
    draw_all(seen.page)
    keep(seen.page, f"report-{width}-{paper}")
    assert seen.seconds < 3
    assert [url for url in seen.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    images = seen.page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(images) > 10
    assert min(images) > 0
    assert HOSTILE in seen.page.title(), "hostile text is shown as text"
    ink, ground = (seen.page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    bright = [sum(int(part) for part in colour[4:-1].split(",")) for colour in (ink, ground)]
    assert (bright[0] < bright[1]) is (paper == "light")


@pytest.mark.parametrize("width", [1280, 390])
def test_no_table_is_cut_off(report: Path, look: Any, width: int) -> None:
    page = look(report, width).page
    draw_all(page)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.wait_for_selector(".list table")
    tables = page.evaluate("""[...document.querySelectorAll('table')].map(table => {
        const around = table.closest('.scroll') ?? table.parentElement, { left, right } = table.getBoundingClientRect();
        const named = around.getAttribute('aria-label') ?? table.caption?.textContent ?? '';
        return { named, hidden: Math.max(table.scrollWidth, right - left) - around.clientWidth,
        scrolls: getComputedStyle(around).overflowX === 'auto' };
    })""")
    assert len(tables) > 10
    assert [one["named"] for one in tables if one["hidden"] > 0 and not one["scrolls"]] == []
    if width == 1280:
        assert [one["named"] for one in tables if one["hidden"] > 0] == []


def test_the_first_screen_says_it_all(report: Path, look: Any) -> None:
    page = look(report).page
    for what in (".card h3", ".card .accuracy", ".card .thumbs img", "#summary table tbody tr"):
        box = page.locator(what).first.bounding_box()
        assert box["y"] + box["height"] < 800, what
    assert page.locator(".card .thumbs img").count() == 4, "image, map, and the overlay with its outlines"


@pytest.mark.parametrize("paper", ["light", "dark"])
def test_an_accessibility_audit_finds_nothing_serious(report: Path, look: Any, paper: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = look(report, paper=paper).page
    draw_all(page)
    page.locator(".listing summary").first.click()
    found = Axe().run(page).response["violations"]
    serious = {one["id"]: [node["html"][:160] for node in one["nodes"][:3]] for one in found if one["impact"] in {"serious", "critical"}}
    assert serious == {}


def test_a_table_is_sorted_by_a_click_and_by_the_keyboard(report: Path, look: Any) -> None:
    page = look(report).page
    table = page.locator("table.sortable").filter(has_text="What failed").or_(page.locator("#failures table"))
    button = table.locator("th button", has_text="Well")

    def wells() -> list[str]:
        return list(table.locator("tbody tr td:nth-child(2)").all_inner_texts())

    button.click()
    assert wells() == sorted(wells())
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    button.focus()
    page.keyboard.press("Enter")
    assert wells() == sorted(wells(), reverse=True)
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_numbers_are_sorted_as_numbers_and_what_has_none_comes_last(report: Path, look: Any) -> None:
    page = look(report).page
    table = page.get_by_role("region", name="Exchanges of spots").locator("table")
    table.locator("th button", has_text="Follow the exchange").click()
    assert table.locator("tbody tr td:nth-child(3) data").all_inner_texts() == ["0 of 10", "10 of 10"]
    table.locator("th button", has_text="Follow the control").click()
    assert table.locator("tbody tr td:nth-child(1)").all_inner_texts() == ["spots", "background"], "no control comes last"


def test_the_slider_fades_the_map_and_the_box_hides_the_outlines(report: Path, look: Any) -> None:
    page = look(report).page
    gallery = page.locator(".gallery").first
    layers = gallery.locator(".stack").first.locator("img")

    def layer(n: int) -> str:
        return str(layers.nth(n).evaluate("one => getComputedStyle(one).opacity"))

    assert (layer(0), layer(1), layer(2)) == ("1", "1", "1")
    gallery.locator("input[type=range]").fill("25")
    assert (layer(0), layer(1)) == ("1", "0.25"), "the image stays, the map fades"
    gallery.locator("input[type=checkbox]").uncheck()
    assert layer(2) == "0"


def test_a_click_on_a_well_lists_its_views_with_their_paths_and_command(report: Path, look: Any) -> None:
    page = look(report).page
    draw_all(page)
    plate = page.locator(".plate").first
    places = plate.locator("[data-plot$=\\.p] .mark-rect.role-mark path")
    assert places.count() == 10, "a well without a call is drawn as nothing"
    places.nth(4).click()
    rows = plate.locator(".list tbody tr:not(.more)")
    assert rows.count() == 1
    assert rows.locator("td").nth(0).inner_text() == "A05"
    rows.locator("button").click()
    assert rows.locator("button").get_attribute("aria-expanded") == "true"
    more = plate.locator(".list tr.more")
    links = [link.evaluate("one => one.href") for link in more.locator("a").all()]
    assert all(Path(link.removeprefix("file://")).is_dir() for link in links)
    assert [link.endswith("A/5/0") for link in links] == [True, True]
    command = more.locator("pre").inner_text()
    assert command.startswith("pcim view /")
    assert command.endswith(" --plate p1 --model spots --method pcim --field A/5/0")
    more.locator("button", has_text="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_a_list_is_filtered_sorted_and_turned(report: Path, look: Any) -> None:
    page = look(report).page
    page.locator(".listing summary").first.click()
    part = page.locator(".list").first
    count = part.locator("[role=status]")
    assert count.inner_text() == "1 to 9 of 9"
    part.locator("input[type=search]").fill("a0 spot")
    assert part.locator("tbody tr:not(.more)").count() == 2
    part.locator("input[type=search]").fill("nothing like it")
    assert count.inner_text() == "none"
    part.locator("input[type=search]").fill("")
    part.locator("input[type=checkbox]").check()
    assert all(part.locator("tbody tr:not(.more) td:last-child").all_inner_texts())
    part.locator("input[type=checkbox]").uncheck()
    part.locator("th button", has_text="lift").click()
    lifts = [float(text) for text in part.locator("tbody tr:not(.more) td:nth-child(10)").all_inner_texts()]
    assert lifts == sorted(lifts)
    assert part.locator("button", has_text="Next").is_disabled()
    assert HOSTILE in part.locator("tbody").inner_text()


def test_curves_are_chosen_by_substitute_and_picked_in_the_legend(report: Path, look: Any) -> None:
    page = look(report).page
    draw_all(page)
    place = page.locator("[data-asked$=\\.curves]")

    def drawn() -> str:
        return str(page.locator("[data-plot$=\\.curves] svg").evaluate("one => one.innerHTML"))

    before = drawn()
    page.locator("[data-plot$=\\.curves] .role-legend-label text", has_text="Edges").click()
    page.wait_for_timeout(200)
    assert drawn() != before, "the picked method stands out"
    select = place.locator("select")
    assert select.evaluate("one => [...one.options].map(o => o.text)") == ["blur", "mean (PCIM's own: in-sample)"]
    select.select_option(index=1)
    assert select.input_value() == "mean"


def test_a_long_list_is_turned_page_by_page(report: Path, look: Any, tmp_path: Path) -> None:
    html = report.read_text(encoding="utf-8")
    found = re.search(r'class="listing".*?<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    listing = json.loads(found[1])
    for name in ("rows", "paths", "map_paths"):
        listing[name] *= 12  # 108 views, of which a page shows fifty
    long = json.dumps(listing).replace("<", "\\u003c")
    (tmp_path / "index.html").write_text(html[: found.start(1)] + long + html[found.end(1) :], encoding="utf-8")
    page = look(tmp_path / "index.html").page
    page.locator(".listing summary").first.click()
    part = page.locator(".list").first
    count, back, onward = (
        part.locator("[role=status]"),
        part.get_by_role("button", name="Back"),
        part.get_by_role("button", name="Next"),
    )
    assert count.inner_text() == "1 to 50 of 108"
    assert back.is_disabled()
    onward.click()
    onward.click()
    assert count.inner_text() == "101 to 108 of 108"
    assert part.locator("tbody tr:not(.more)").count() == 8
    assert onward.is_disabled()
    back.click()
    assert count.inner_text() == "51 to 100 of 108"


def test_a_dose_response_shows_the_measure_that_is_chosen(report: Path, look: Any) -> None:
    page = look(report).page
    draw_all(page)
    lines = page.locator("[data-plot$=\\.doses] .mark-line.role-mark path").first
    before = lines.get_attribute("d")
    select = page.locator("[data-asked$=\\.doses] select")
    assert select.evaluate("one => one.options.length") == 3
    select.select_option(index=1)
    page.wait_for_function("([path, old]) => document.querySelector(path).getAttribute('d') !== old",
                           arg=["[data-plot$='.doses'] .mark-line.role-mark path", before])  # fmt: skip


def test_paper_is_chosen_by_hand(report: Path, look: Any) -> None:
    page = look(report).page
    draw_all(page)

    def labels() -> str:
        return str(page.locator("[data-plot$=\\.regions] .role-axis-label text").first.get_attribute("fill"))

    light = labels()
    page.locator("#paper").select_option("dark")
    page.wait_for_function("getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)'")
    page.wait_for_timeout(500)
    assert labels() != light, "charts are drawn again on dark paper"


def test_the_command_for_failed_views_is_copied(report: Path, look: Any) -> None:
    page = look(report).page
    page.locator("#failures .copy button").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("snakemake --configfile made.yaml --forcerun /")
    assert page.locator("#failures .copy button").inner_text() == "Copied"


def test_without_scripts_tables_pictures_and_words_are_there(report: Path, chromium: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("noscript").first.is_visible()
    assert page.locator("#failures tbody tr").count() == 3
    overlay = page.locator(".gallery .stack img").first
    assert overlay.bounding_box()["height"] > 50
    context.close()


def test_a_page_of_its_own_for_each_plate_leads_back(report: Path, look: Any, tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    made.arguments["config"]["report"]["plates_on_page"] = 0
    write_report(made.arguments)
    page = look(Path(made.arguments["page"])).page
    page.locator("#plates tbody a").first.click()
    page.wait_for_load_state()
    assert page.locator("h1").inner_text() == "Plate p1"
    draw_all(page)
    page.locator(".kicker a").click()
    page.wait_for_load_state()
    assert page.url == Path(made.arguments["page"]).as_uri()
