"""The page: what must be on it, what must not be in it, and that it is the same every time."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reported import HOSTILE, Made, make_campaign

from pcim.report import report_campaign
from pcim.summary import as_csv


class Tags(HTMLParser):
    """Collects every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = make_campaign(tmp_path_factory.mktemp("report"))
    report_campaign(**made.arguments)
    return made


@pytest.fixture(scope="module")
def html(made: Made) -> str:
    return Path(made.arguments["page"]).read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_outside(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    assert {tag for tag, _ in tags.found} >= {"img", "table", "figure"}
    assert not [tag for tag, _ in tags.found if tag in {"script", "link", "iframe", "object"}]
    sources = [str(of["src"]) for _, of in tags.found if "src" in of]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert all(str(of["href"]).startswith("#") for _, of in tags.found if "href" in of)
    assert "url(" not in html
    assert "@import" not in html


def test_text_from_tables_is_escaped(html: str) -> None:
    assert HOSTILE not in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_every_picture_has_words_for_those_who_cannot_see_it(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    assert all(of.get("alt") for tag, of in tags.found if tag == "img")


def test_every_link_on_the_page_leads_somewhere(html: str) -> None:
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r' id="([^"]+)"', html))


def test_the_same_inputs_give_the_same_bytes(made: Made, html: str) -> None:
    figures = {path.name: path.read_bytes() for path in Path(made.arguments["figures"]).iterdir()}
    report_campaign(**made.arguments)
    assert Path(made.arguments["page"]).read_text(encoding="utf-8") == html
    assert {path.name: path.read_bytes() for path in Path(made.arguments["figures"]).iterdir()} == figures


def test_the_page_says_how_sure_it_is(html: str) -> None:
    assert "Looks at the biology" in html
    assert "10 of 10 calls" in html
    assert "4 of 5" in html, "accuracy on the five held-out wells, one of them wrong"
    assert ">wrong<" in html, "the wrong call is among the examples"
    assert "fragile" in html, "the class whose background alone is called so"


def test_images_in_doubt_are_named_once_with_their_reason(made: Made, html: str) -> None:
    doubts = pd.read_csv(Path(made.arguments["tables"]) / "doubts.csv")
    assert list(zip(doubts["well"], doubts["stage"], doubts["status"], strict=True)) == [
        ("A06", "ingest", "saturated"),
        ("B06", "ingest", "saturated"),
    ]
    assert "31 % of the pixels" in html


def test_tables_and_figures_lie_beside_the_page(made: Made) -> None:
    tables = {path.name for path in Path(made.arguments["tables"]).iterdir()}
    assert tables >= {"accuracy.csv", "regions.csv", "interventions.csv", "methods.csv", "wells.csv"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in Path(made.arguments["figures"]).iterdir())
    methods = pd.read_csv(Path(made.arguments["tables"]) / "methods.csv")
    assert set(methods["classifier"]) == {"spots"}


def test_machines_read_what_people_read(made: Made) -> None:
    told = json.loads(Path(made.arguments["summary"]).read_text(encoding="utf-8"))
    assert told["form"] == 1
    spots = told["classifiers"]["spots"]
    html = Path(made.arguments["page"]).read_text(encoding="utf-8")
    assert spots["verdict"].capitalize() in html
    for caution in spots["cautions"]:
        assert caution in html
    assert list(spots["classes"]) == ["plain", "spot"]
    assert all(of["headline"] in html for of in spots["classes"].values())
    methods = pd.read_csv(Path(made.arguments["tables"]) / "methods.csv")
    assert len(spots["tables"]["methods"]) == len(methods)
    assert spots["tables"]["methods"][0]["mean"] == pytest.approx(methods["mean"][0], rel=1e-5)
    doubts = pd.read_csv(Path(made.arguments["tables"]) / "doubts.csv")
    assert [row["reason"] for row in told["doubts"]] == doubts["reason"].tolist()


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_in_a_name_stays_text_in_the_tables(text: str) -> None:
    table = pd.DataFrame({"treatment": [text, "DMSO", None], "difference": [-0.5, 0.25, np.nan]})
    read = list(csv.reader(io.StringIO(as_csv(table), newline="")))
    assert read[1] == [f"'{text}", "-0.5"]
    assert read[2:] == [["DMSO", "0.25"], ["", ""]]


def test_no_maps_no_exchanges_no_truth_is_said_not_hidden(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    for name in ("ledgers", "shares", "scores", "interventions"):
        for path in made.arguments[name]:
            pd.read_parquet(path).iloc[:0].to_parquet(path, index=False)
    spots = made.arguments["config"]["classifiers"]["spots"]
    spots["truth"] = spots["split"] = None
    report_campaign(**made.arguments | {"mean_maps": []})
    html = Path(made.arguments["page"]).read_text(encoding="utf-8")
    assert "Cannot tell" in html
    assert "Not known: the plate maps give no true class" in html
    assert "No view was explained" in html
    assert not re.search(r"\bnan\b(?! means)", re.sub(r"base64,[^\"]*", "", html), re.IGNORECASE)
