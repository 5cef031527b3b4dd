"""Maps over their images in real viewers: a napari window on a virtual display, neuroglancer in headless Chromium.

The screenshots are kept in the folder that ``PCIM_SCREENSHOTS`` names, for people to look at.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from planted_campaign import write_plate

from pcim.plates import ngff
from pcim.plates.attribution_plate import AttributionPlate, FieldMaps

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
XVFB = shutil.which("xvfb-run")
SIDE, SPOT = 256, (64, 192)
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of grey images and, beside it, its maps: all attribution lies in a disc around (y, x) = SPOT of well A/1."""
    folder = tmp_path_factory.mktemp("viewed")
    rng = np.random.default_rng(0)
    fields = {(r, c, "0"): rng.integers(90, 110, (1, SIDE, SIDE)).astype(np.uint16) for r, c in (("A", "1"), ("B", "3"))}
    source = write_plate(folder / "p.zarr", fields, channels=("DNA",))
    maps = AttributionPlate(folder / "p_pcim.zarr")
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = ((y - SPOT[0]) ** 2 + (x - SPOT[1]) ** 2 < 30**2).astype(np.float32)
    for row, column, _ in fields:
        whole, space = disc[np.newaxis], ngff.read_image(source / row / column / "0").space
        label, beside = ("top", disc.astype(np.uint8)), {"weights": whole}
        told = FieldMaps(10 * whole, {"call": ["pcim DNA"]}, label, space, levels=3, beside=beside)
        maps.write_field(f"{row}/{column}/0", told)
    maps.finish(ngff.read_plate(source), {"A/1": ["0"], "B/3": ["0"]}, "p_pcim")
    return folder


def keep(screenshot: Path) -> None:
    """Keep a screenshot where a person asked for it."""
    place = os.environ.get("PCIM_SCREENSHOTS")
    if place:
        Path(place).mkdir(parents=True, exist_ok=True)
        shutil.copy(screenshot, place)


def orange(picture: np.ndarray) -> np.ndarray:
    """Return where a picture (y, x, 3) is clearly orange, the colour of the maps."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return (red > 150) & (red - blue > 90) & (red - green > 30)


NAPARI = """
import sys
import napari
image, maps, canvas, window = sys.argv[1:]
viewer = napari.Viewer(show=True, ndisplay=2)
viewer.open(image, plugin="napari-ome-zarr", contrast_limits=(0, 300))
viewer.open(maps, plugin="napari-ome-zarr", blending="additive")
viewer.reset_view()
for _ in range(50):
    napari.qt.get_qapp().processEvents()
print([(layer.name, layer.visible, type(layer).__name__, tuple(layer.scale)) for layer in viewer.layers])
viewer.screenshot(canvas, canvas_only=True, flash=False)
viewer.screenshot(window, canvas_only=False, flash=False)
viewer.close()
"""


@pytest.mark.skipif(XVFB is None, reason="no xvfb-run on this machine: run tests/browser/install.sh")
def test_napari_shows_the_maps_over_their_image_in_a_window(plates: Path, tmp_path: Path) -> None:
    pytest.importorskip("PyQt6", reason="PyQt6 is not installed")
    canvas, window = tmp_path / "napari_canvas.png", tmp_path / "napari.png"
    command = [
        str(XVFB), "-a", "-s", "-screen 0 1280x900x24", sys.executable, "-W", "ignore", "-c", NAPARI,
        str(plates / "p.zarr/A/1/0"), str(plates / "p_pcim.zarr/A/1/0"), str(canvas), str(window),
    ]  # fmt: skip
    environment = os.environ | {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    keep(canvas), keep(window)
    found = orange(np.asarray(Image.open(canvas).convert("RGB")))
    assert found.any(), done.stdout
    height, width = found.shape
    centre = np.argwhere(found).mean(0)
    # The image fills the canvas's height, centred: the disc is in its upper right quarter.
    assert centre[0] < height / 2
    assert centre[1] > width / 2


class _Served(http.server.SimpleHTTPRequestHandler):
    """Files with byte ranges, which shards need, for a viewer that comes from another port of this machine."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Expose-Headers", "*")
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def do_GET(self) -> None:
        file, asked = Path(self.translate_path(self.path)), self.headers.get("Range", "")
        if not file.is_file() or not asked.startswith("bytes="):
            super().do_GET()
            return
        content = file.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last), len(content) - 1) if first and last else len(content) - 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(content[start : end + 1])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def address(plates: Path) -> Iterator[str]:
    handler = functools.partial(_Served, directory=str(plates))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


NEUROGLANCER = """
import sys
import neuroglancer
from neuroglancer import ImageLayer, SegmentationLayer
address, chromium, profile, out = sys.argv[1:]
import subprocess
neuroglancer.set_server_bind_address("127.0.0.1")
viewer = neuroglancer.Viewer()
with viewer.txn() as state:
    state.layers["image"] = ImageLayer(source=f"zarr3://{address}/p.zarr/A/1/0",
    shader="void main() { emitGrayscale(float(toRaw(getDataValue())) / 300.0); }")
    state.layers["map"] = ImageLayer(
        source=f"zarr3://{address}/p_pcim.zarr/A/1/0", blend="additive", opacity=1.0,
        shader="void main() { float v = clamp(toRaw(getDataValue()) / 10.0, 0.0, 1.0); emitRGBA(vec4(v, v * 0.5, 0.0, v)); }",
    )
    state.layout = "xy"
    state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y"], units="um", scales=[0.5, 0.5])
    state.position = [128, 128]
    state.show_axis_lines = state.show_default_annotations = state.show_slices = False
    state.cross_section_scale = 0.35
flags = ["--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
         "--window-size=900,900", f"--user-data-dir={profile}"]
browser = subprocess.Popen([chromium, *flags, viewer.get_viewer_url()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    import threading
    done = threading.Event()
    box = {}
    def got(reply):
        box["reply"] = reply
        done.set()
    viewer.async_screenshot(got)
    assert done.wait(100), "no screenshot came: the viewer did not load all of its data"
    open(out, "wb").write(box["reply"].screenshot.image)
finally:
    browser.kill()
    browser.wait()
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: run tests/browser/install.sh")
def test_neuroglancer_shows_the_maps_over_their_image_in_a_browser(plates: Path, address: str, tmp_path: Path) -> None:
    pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
    out = tmp_path / "neuroglancer.png"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        NEUROGLANCER,
        address,
        str(CHROMIUM),
        str(tmp_path / "chr"),
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    keep(out)
    picture = np.asarray(Image.open(out).convert("RGB"))
    found = orange(picture)
    assert found.any()
    # The image lies in the middle of the view: the disc is above its middle and to the right.
    middle = np.array(found.shape) / 2
    centre = np.argwhere(found).mean(0)
    assert centre[0] < middle[0]
    assert centre[1] > middle[1]
