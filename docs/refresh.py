"""Make docs/images anew from the example's finished campaign: pictures of its report, and the sentences that the tutorial quotes.

``make demo && python docs/refresh.py``. Needs Chromium (tests/browser/install.sh).
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent / "images"
SAID = ("verdict", "headline", "channels", "cautions", "map", "agreement", "methods", "exchanges", "classes")
SHOTS = {
    "report": "#summary .cards",
    "worms": "#c-bbbc010_columns .gallery",
    "exchanges": "#c-bbbc010_columns figure:has([data-plot$='.exchanges'])",
}
"""Picture -> the part of the page that it shows."""


def excerpt(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what the report says of each classifier, with its accuracy and the places that tell the class."""
    said = {}
    for name, of in summary["classifiers"].items():
        halves = [row for row in of["tables"]["levels"] if row["factor"] == "half of the plate"]
        tables = {"accuracy": of["tables"]["accuracy"], "confounding": of["tables"]["confounding"], "halves": halves}
        said[name] = {key: of[key] for key in SAID} | tables
    return {"campaign": summary["campaign"], "revisions": summary["revisions"], "classifiers": said}


def picture(page: Any, selector: str) -> bytes:
    """Return a part of the page as WebP, with a small margin."""
    part = page.locator(selector).first
    part.scroll_into_view_if_needed()
    box = part.bounding_box()
    clip = {"x": box["x"] - 8, "y": box["y"] - 8, "width": box["width"] + 16, "height": box["height"] + 16}
    target = io.BytesIO()
    Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB").save(target, "WEBP", quality=82, method=6)
    return target.getvalue()


def main(folder: Path) -> None:
    """Write docs/images from the report in `folder`."""
    summary = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    IMAGES.mkdir(exist_ok=True)
    text = json.dumps(excerpt(summary), indent=1, ensure_ascii=False, sort_keys=True)
    (IMAGES / "demo.json").write_text(text + "\n", encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light", viewport={"width": 1280, "height": 1000})
        page.goto((folder / "index.html").resolve().as_uri())
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.wait_for_function("!document.querySelector('[data-plot]:not([data-state])')")
        for name, selector in SHOTS.items():
            (IMAGES / f"{name}.webp").write_bytes(picture(page, selector))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results/demo/report"))
