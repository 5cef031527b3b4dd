"""The page in a real browser: it fits a desk and a phone, every picture loads, and no text of a table becomes code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from reported import make_campaign

from pcim.report import report_campaign

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: run tests/browser/install.sh"),
]

PROBE = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const found = {
    scroll: document.documentElement.scrollWidth, inner: innerWidth,
    images: images.length, broken: images.filter(image => !image.naturalWidth).length,
    scripts: document.scripts.length, title: document.title,
  };
  parent.postMessage(JSON.stringify(found), "*");
});</script>"""
FRAME = """<!doctype html><body><pre id="found"></pre>
<iframe src="page.html" width="{width}" height="900" style="border:0"></iframe>
<script>addEventListener("message", event => {{ document.getElementById("found").textContent = event.data; }});</script>
</body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = make_campaign(tmp_path_factory.mktemp("browser"))
    report_campaign(**made.arguments)
    return Path(made.arguments["page"]).read_text(encoding="utf-8")


def look(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Open the page in a frame of `width` px (Chromium has no narrower window than 500) and return what the probe saw."""
    (folder / "page.html").write_text(page.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command = [str(CHROMIUM), *flags, "--virtual-time-budget=5000", "--dump-dom", (folder / "frame.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None
    assert found[1], "the probe has not reported"
    return dict(json.loads(unescape(found[1])))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_every_picture_loads(page: str, width: int, tmp_path: Path) -> None:
    seen = look(page, width, tmp_path)
    assert seen["inner"] == width
    assert seen["scroll"] <= seen["inner"], "the page scrolls sideways"
    assert seen["images"] > 10
    assert seen["broken"] == 0
    assert seen["scripts"] == 1, "the probe is the only script: no text of a table became one"
    assert "<script>" in seen["title"], "hostile text is shown as text"
