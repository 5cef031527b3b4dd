"""What `pcim view` finds and says: plates, maps and fields of a campaign, and clear words where something is not there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from viewer_results import make_results
from workflow_runs import hear_interrupts

from pcim.cli.commands.view import plates
from pcim.cli.main import app
from pcim.operations.viewer import plate_view
from pcim.operations.viewer.plate_view import find_view, shared_files
from pcim.operations.viewer.server import Server

VIEWER = Path(plate_view.__file__).with_name("static")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_results(tmp_path)


def test_the_page_is_told_where_images_and_maps_are(results: Path) -> None:
    told = find_view(results).to_dict("B/3/0")
    assert (told["campaign"], told["plate"], told["why"], told["begin"]) == ("seen", "p5", "", "B/3/0")
    assert told["wells"] == [
        {"name": "A01", "path": "A/1", "fields": [["0", "0"]]},
        {"name": "B03", "path": "B/3", "fields": [["0", "0"]]},
    ]
    (maps,) = told["maps"]
    assert (maps["model"], maps["method"], maps["fields"]) == ("spots", "pcim", ["A/1/0"])
    assert maps["grid"] | {"rows": 0, "columns": 0} == {
        "rows": 0, "columns": 0, "wells": 1, "height": 64, "width": 64, "channels": 1,
    }  # fmt: skip
    assert (told["source"]["version"], told["source"]["grid"]["wells"], told["source"]["grid"]["height"]) == (
        "0.5",
        2,
        256,
    )
    assert find_view(results, "p4").to_dict()["source"]["version"] == "0.4"


def test_what_is_not_there_is_named_with_what_is(results: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ({"plate": "../p5"}, r"plate '\.\./p5': none of this campaign's; there are p5, p4"),
        ({"models": ["cats"]}, "classifier 'cats': none of this campaign's; there are spots"),
        ({"methods": ["lime"]}, "method 'lime': none of this campaign's; there are pcim, edge"),
        ({"methods": ["edge"]}, "has no maps of these yet; pcim status "),
    ):
        with pytest.raises(ValueError, match=said):
            find_view(results, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"campaign\.json: there is no folder"):
        find_view(tmp_path / "nowhere")
    outline = results / "campaign.json"
    outline.write_text(outline.read_text().replace('"p4"', '"../../p4"'))
    with pytest.raises(ValueError, match="expected names of letters"):
        find_view(results, "p5")


def test_without_its_images_a_plate_shows_its_maps_and_says_why(results: Path, tmp_path: Path) -> None:
    plan = results / "plan/p5.json"
    local = plan.read_text()
    plan.write_text(local.replace('"p5.zarr"', '"s3://user:word@bucket/p5.zarr"'))
    found = find_view(results, "p5")
    assert found.source is None
    assert "on a server" in found.why
    assert "word" not in json.dumps(found.to_dict()) + found.why
    assert list(shared_files(found).folders) == ["maps/0"]
    plan.write_text(local)
    shutil.rmtree(tmp_path / "p5.zarr")
    assert "no such folder" in find_view(results, "p5").to_dict()["why"]


def test_an_export_is_shown_as_it_was_converted(results: Path, tmp_path: Path) -> None:
    plan = results / "plan/p5.json"
    told = json.loads(plan.read_text())
    told["source"] |= {"address": "elsewhere", "format": "imagexpress"}
    plan.write_text(json.dumps(told))
    (results / "ingest/p5").mkdir(parents=True)
    shutil.move(tmp_path / "p5.zarr", results / "ingest/p5/plate.zarr")
    assert find_view(results, "p5").source == results / "ingest/p5/plate.zarr"


def test_maps_are_shown_while_they_are_being_made(results: Path) -> None:
    (results / "maps/spots/p5_pcim.zarr/zarr.json").unlink()  # the plate's metadata comes last
    (maps,) = find_view(results, "p5").to_dict()["maps"]
    assert (maps["fields"], maps["grid"]) == (["A/1/0"], None)


def test_each_start_has_a_token_and_a_nonce_of_its_own_and_pages_ask_no_other_server(results: Path) -> None:
    view = find_view(results)
    one, other = shared_files(view), shared_files(view)
    assert len(one.token) >= 32
    assert one.token != other.token
    nonce = re.search(rb'"csp-nonce" content="([^"]+)"', one.pages[""])
    assert nonce is not None
    assert nonce[1].decode() in one.policy
    assert nonce[1].decode() not in other.policy
    assert "http" not in one.policy
    assert {"", "page.js", "page.css", "view.json", "vizarr/vizarr.js"} <= one.pages.keys()
    for name in ("", "page.js", "page.css"):
        assert b"//" not in re.sub(rb"^ *//.*|; // .*", b"", one.pages[name], flags=re.MULTILINE), "no address of a server"


def test_the_vendored_viewer_is_what_its_provenance_says() -> None:
    folder = VIEWER / "vizarr"
    told = dict(line.split("  ")[::-1] for line in re.findall(r"^[0-9a-f]{64}  \S+$", (folder / "PROVENANCE.md").read_text(), re.MULTILINE))
    files = [file for file in folder.iterdir() if file.name not in ("PROVENANCE.md", "build.config.js")]
    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files} == told
    assert sum(file.stat().st_size for file in files) < 6e6
    text = "".join((folder / name).read_text() for name in told if name.endswith(".js"))
    for name in set(re.findall(r"""from\s*["'`]\./([\w.-]+)["'`]""", text)):
        assert (folder / name).is_file(), name


def test_a_shell_completes_the_plates_of_the_named_campaign(results: Path) -> None:
    context: Any = type("Context", (), {"params": {"results": str(results)}})
    assert plates(context, "p") == ["p5", "p4"]
    context.params = {}
    assert plates(context, "") == []


def test_a_plate_that_cannot_be_shown_is_one_message(results: Path) -> None:
    result = CliRunner().invoke(app, ["view", str(results), "--plate", "p9"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "pcim: plate 'p9': none of this campaign's; there are p5, p4\n"


def test_the_command_serves_until_ctrl_c(results: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [
        sys.executable,
        "-m",
        "pcim.cli.main",
        "view",
        str(results),
        "--plate",
        "p5",
        "--no-browser",
        "--port",
        "0",
    ]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, preexec_fn=hear_interrupts, **pipes) as process:  # noqa: PLW1509 - as there
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "Plate p5 of campaign seen, 1 plate of maps.\n"
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32,}/", address)
        port = address.split(":")[2].partition("/")[0]
        with urllib.request.urlopen(f"{address}view.json") as answer:
            assert json.load(answer)["plate"] == "p5"
        taken = CliRunner().invoke(app, ["view", str(results), "--port", port])
        assert taken.exit_code == 2
        assert "in use" in taken.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("where", ["typer.echo", "webbrowser.open"])
def test_ctrl_c_is_an_end_and_no_failure_as_soon_as_it_serves(results: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    told: list[str] = []

    def interrupted(text: str) -> None:
        told.append(text)
        if len(told) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    result = CliRunner().invoke(app, ["view", str(results)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert told


@pytest.mark.parametrize(("display", "more", "count"), [(":0", [], 1), (":0", ["--no-browser"], 0), (None, [], 0)], ids=str)
def test_a_browser_is_opened_where_there_is_a_screen(
    results: Path, monkeypatch: pytest.MonkeyPatch, display: str | None, more: list[str], count: int
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def stop(server: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", stop)
    result = CliRunner().invoke(app, ["view", str(results), *more])
    assert result.exit_code == 0
    assert len(opened) == count
    assert all(address in result.stdout for address in opened)
