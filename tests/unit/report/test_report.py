"""The page: what must be on it, what must not be in it, and that it is the same every time."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from finished_campaign import HOSTILE, Made, make_campaign, write_mean_maps, write_report

from pcim.campaign.layout import CLASSIFIER_CHARTS, PLATE_CHARTS, REPORT_TABLES
from pcim.core.identity import KEY_COLUMNS
from pcim.report.json_csv import as_csv


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
    write_report(made.arguments)
    return made


@pytest.fixture(scope="module")
def html(made: Made) -> str:
    return Path(made.arguments["page"]).read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_outside(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    assert {tag for tag, _ in tags.found} >= {"img", "table", "figure"}
    assert not [tag for tag, _ in tags.found if tag in {"link", "iframe", "object", "base", "form"}]
    assert not [of for tag, of in tags.found if tag == "script" and "src" in of]
    sources = [str(of["src"]) for _, of in tags.found if "src" in of]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    links = [str(of["href"]) for _, of in tags.found if "href" in of]
    assert links
    assert {link for link in links if not link.startswith("#")} == {"../ro-crate-metadata.json"}, "which lies beside the report"
    (policy,) = [str(of["content"]) for tag, of in tags.found if of.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;"), "the browser itself refuses to ask a network"
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_text_from_tables_is_escaped(html: str) -> None:
    assert HOSTILE not in html
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    tags = Tags()
    tags.feed(html)
    kinds = [of.get("type") for tag, of in tags.found if tag == "script"]
    assert kinds.count("module") == 2, "Vega and the page's own; all others hold data"
    assert set(kinds) == {"module", "application/json"}


def test_every_chart_on_the_page_has_its_numbers_words_and_a_file_beside_it(made: Made, html: str) -> None:
    tags = Tags()
    tags.feed(html)
    charts = {str(of["data-plot"]): of for _, of in tags.found if "data-plot" in of}
    specs = [of["data-spec"] for _, of in tags.found if "data-spec" in of]
    assert sorted(charts) == sorted(str(name) for name in specs)
    assert len(charts) == len(specs) >= 8
    assert all(of["aria-label"] and of["role"] == "img" for of in charts.values())
    figures = {path.name for path in Path(made.arguments["figures"]).iterdir()}
    assert figures >= {f"{name}.{kind}" for name in charts for kind in ("svg", "png")}


def test_every_picture_has_words_for_those_who_cannot_see_it(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    assert all(of.get("alt") for tag, of in tags.found if tag == "img")


def test_channels_are_shown_in_their_colours(html: str) -> None:
    assert re.findall(r'<i style="background:(#\w+)"></i>([^<]+)<', html)[:2] == [
        ("#33FF59", "DNA"),
        ("#F233F2", "Reporter"),
    ]


def test_every_link_on_the_page_leads_somewhere(html: str) -> None:
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r' id="([^"]+)"', html))


def test_the_same_inputs_give_the_same_bytes(made: Made, html: str) -> None:
    figures = {path.name: path.read_bytes() for path in Path(made.arguments["figures"]).iterdir()}
    write_report(made.arguments)
    assert Path(made.arguments["page"]).read_text(encoding="utf-8") == html
    assert {path.name: path.read_bytes() for path in Path(made.arguments["figures"]).iterdir()} == figures


def test_the_page_says_how_sure_it_is(html: str) -> None:
    assert "Looks at the biology" in html
    assert "10 of 10 calls" in html
    assert "4 of 5" in html, "accuracy on the five held-out wells, one of them wrong"
    assert ">wrong<" in html, "the wrong call is among the examples"
    assert "fragile" in html, "the class whose background alone is called so"


def test_images_in_doubt_are_named_once_with_their_reason(made: Made, html: str) -> None:
    doubts = pd.read_csv(Path(made.arguments["tables"]) / "failures.csv")
    assert list(zip(doubts["well"], doubts["stage"], doubts["status"], strict=True)) == [
        ("A06", "ingest", "saturated"),
        ("B06", "ingest", "saturated"),
    ]
    assert "31 % of the pixels" in html


def test_tables_and_figures_lie_beside_the_page(made: Made) -> None:
    tables = {path.name for path in Path(made.arguments["tables"]).iterdir()}
    assert tables == {f"{name}.{kind}" for name in REPORT_TABLES for kind in ("csv", "parquet")}
    charts = [*CLASSIFIER_CHARTS, *(f"p1.{name}" for name in PLATE_CHARTS)]
    planned = {f"spots.{name}.{kind}" for name in charts for kind in ("svg", "png")} | {"spots.p1.mean_maps.png"}
    assert {path.name for path in Path(made.arguments["figures"]).iterdir()} <= planned, "the costs count no others"
    for path in Path(made.arguments["figures"]).iterdir():
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<svg"), path
    methods = pd.read_csv(Path(made.arguments["tables"]) / "methods.csv")
    assert set(methods["classifier"]) == {"spots"}


def test_machines_read_what_people_read(made: Made) -> None:
    told = json.loads(Path(made.arguments["summary"]).read_text(encoding="utf-8"))
    assert told["form"] == 2
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
    assert spots["methods"] in unescape(html)
    assert set(spots["tables"]) == {path.stem for path in Path(made.arguments["tables"]).glob("*.csv")} - {
        "failures",
        "views",
    }
    doubts = pd.read_csv(Path(made.arguments["tables"]) / "failures.csv")
    assert [row["reason"] for row in told["failures"]] == doubts["reason"].tolist()


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
            pd.DataFrame(columns=pd.read_parquet(path).columns).to_parquet(path, index=False)  # no rows, no types
    spots = made.arguments["config"]["classifiers"]["spots"]
    spots["truth"] = spots["split"] = None
    write_report(made.arguments | {"mean_maps": [], "object_maps": []})
    html = Path(made.arguments["page"]).read_text(encoding="utf-8")
    assert "Cannot tell" in html
    assert "Not known: the plate maps give no true class" in html
    assert "No view was explained" in html
    shown = re.sub(r"<script.*?</script>|base64,[^\"]*", "", html, flags=re.DOTALL)
    assert not re.search(r"\bnan\b(?! means)", shown, re.IGNORECASE)


def test_without_named_regions_a_page_says_so_and_tells_of_the_channels(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    [shares], [exchanges] = made.arguments["shares"], made.arguments["interventions"]
    whole = pd.read_parquet(shares).drop_duplicates([*KEY_COLUMNS, "method"]).assign(region="whole_view", area=1.0, lift=1.0)
    parts = [whole.assign(share=1.0)] + [whole.assign(channel=name, share=share) for name, share in (("DNA", 0.2), ("GFP", 0.8))]
    pd.concat(parts).to_parquet(shares, index=False)
    done = pd.read_parquet(exchanges)
    done = done[done["kind"] == "exchange"].assign(family="channel")
    named = {"spots": "channel GFP", "background": "channel DNA"}
    done.assign(region=done["region"].map(named)).to_parquet(exchanges, index=False)
    spots = made.arguments["config"]["classifiers"]["spots"]
    spots["objects"], spots["regions"] = None, {}
    write_report(made.arguments | {"object_maps": []})
    html = unescape(Path(made.arguments["page"]).read_text(encoding="utf-8"))
    followed = "Of the channels its calls follow GFP (10 of 10), not DNA (0 of 10). The map lies 20\u202f% in DNA and 80\u202f% in GFP."
    assert html.count(followed) == 2, "on the card, and under the verdict"
    assert "No regions are named, so where in a view the maps lie is not measured." in html
    assert "Objects for a plate of TIFFs" in html
    assert ">background<" not in html
    assert "follow the background" not in html
    told = json.loads(Path(made.arguments["summary"]).read_text(encoding="utf-8"))["classifiers"]["spots"]
    assert told["channels"] == followed
    assert told["tables"]["regions"] == []
    assert sum(row["explained"] for row in told["tables"]["treatments"]) == 10


def listing_of(html: str) -> dict[str, Any]:
    found = re.search(r'class="listing".*?<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_every_explained_view_is_listed_with_its_doubts_and_paths_those_most_in_doubt_first(made: Made, html: str) -> None:
    listing = listing_of(html)
    rows = [dict(zip(listing["names"], row, strict=True)) for row in listing["rows"]]
    assert sorted(row["well"] for row in rows) == sorted(f"{r}{c:02d}" for r in "AB" for c in range(1, 6))
    assert rows[0]["why"]
    assert any("true class" in row["why"] for row in rows)
    assert any("not converged" in row["why"] for row in rows), "column 5 came to the step limit"
    assert {row["treatment"] for row in rows} >= {HOSTILE}, "as text: the script sets it as text"
    assert len(listing["paths"]) == len(listing["map_paths"]) == len(rows)
    folder = Path(made.arguments["page"]).parent
    for place, paths in ((listing["source"], listing["paths"]), (listing["maps"], listing["map_paths"])):
        assert (folder / unquote(place["href"]) / paths[0] / "zarr.json").is_file(), "the link leads there"
        assert (Path(place["address"]) / paths[0] / "zarr.json").is_file()


def test_what_failed_comes_with_the_command_that_tries_it_again(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    ledger = made.arguments["ledgers"][0]
    table = pd.read_parquet(ledger)
    table.loc[0, ["status", "reason"]] = ["failed", f"out of memory {HOSTILE}"]
    table.to_parquet(ledger, index=False)
    write_report(made.arguments)
    html = Path(made.arguments["page"]).read_text(encoding="utf-8")
    assert f"snakemake --configfile made.yaml --forcerun {ledger}</pre>" in html
    failures = pd.read_csv(Path(made.arguments["tables"]) / "failures.csv")
    assert list(failures["status"]) == ["saturated", "saturated", "failed"]


def test_fields_that_could_not_be_read_come_with_what_takes_them_up_and_no_advice_that_cannot_help(
    tmp_path: Path,
) -> None:
    made = make_campaign(tmp_path)
    table = pd.read_parquet(made.arguments["fields"][0])
    pages = {}
    for verdict in ("missing", "saturated"):
        table.loc[table["qc"] != "ok", "qc"] = verdict
        table.to_parquet(made.arguments["fields"][0], index=False)
        write_report(made.arguments)
        html = Path(made.arguments["page"]).read_text(encoding="utf-8")
        pages[verdict] = html.partition('<section id="failures">')[2].partition("</section>")[0]
    plate = table.loc[table["qc"] != "ok", "plate"].iloc[0]
    command = f"pcim rescan --configfile made.yaml {plate}\nsnakemake --configfile made.yaml</pre>"
    assert command in pages["missing"]
    assert "ingest.accept" not in pages["missing"]
    assert "such verdicts (saturated) pass with <code>ingest.accept</code>" in pages["saturated"]
    assert "pcim rescan" not in pages["saturated"]


def test_a_field_that_was_accepted_in_spite_of_its_verdict_has_not_failed(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    made.arguments["config"]["ingest"]["accept"] = ["saturated"]
    write_report(made.arguments)
    tables = Path(made.arguments["tables"])
    failures = pd.read_parquet(tables / "failures.parquet")
    assert set(failures["stage"]) == {"classify spots"}, "skipped views are told as the stage told them, fields are not"
    wells = pd.read_parquet(tables / "wells.parquet").set_index("well")
    assert wells.loc["A01", "status"] == "ok"


def test_a_campaign_of_many_plates_gets_a_page_a_plate(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    made.arguments["config"]["report"]["plates_on_page"] = 0
    write_report(made.arguments)
    index = Path(made.arguments["page"]).read_text(encoding="utf-8")
    assert 'href="plates/p1.html#p-spots.p1"' in index
    assert 'class="listing"' not in index
    plate = Path(made.arguments["plates"]) / "p1.html"
    html = plate.read_text(encoding="utf-8")
    assert 'id="p-spots.p1"' in html
    assert HOSTILE not in html
    listing = listing_of(html)
    assert (plate.parent / unquote(listing["maps"]["href"]) / listing["map_paths"][0] / "zarr.json").is_file()


def test_a_list_too_long_for_a_page_is_cut_where_doubts_end(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    made.arguments["config"]["report"]["listed_views"] = 3
    write_report(made.arguments)
    listing = listing_of(Path(made.arguments["page"]).read_text(encoding="utf-8"))
    assert len(listing["rows"]) == 3
    views = pd.read_parquet(Path(made.arguments["tables"]) / "views.parquet")
    assert len(views) == 10, "the table beside the page has all"


def test_a_plate_without_a_call_and_one_with_light_columns_are_shown(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    for name in ("fields", "calls"):
        (path,) = made.arguments[name]
        table = pd.read_parquet(path)
        dark = table.assign(plate="p2", qc="saturated", reason="bright", status="skipped", call="")
        dark = dark.assign(probabilities=[[]] * len(dark)) if name == "calls" else dark
        both = pd.concat([table, dark[table.columns]], ignore_index=True)
        light = {one: [[100.0 * number, 1.0] for number in range(len(both))] for one in ("illumination", "tilt_right", "tilt_down")}
        (both.assign(**light) if name == "fields" else both).to_parquet(path, index=False)
    made.arguments["config"]["classifiers"]["spots"]["plates"] = ["p1", "p2"]
    made.arguments["stores"]["p2"] = made.arguments["stores"]["p1"]
    write_report(made.arguments)
    html = Path(made.arguments["page"]).read_text(encoding="utf-8")
    assert 'id="p-spots.p2"' in html
    wells = pd.read_parquet(Path(made.arguments["tables"]) / "wells.parquet")
    assert (wells.loc[wells["plate"] == "p2", "status"] == "saturated").all()
    assert "illumination" in set(pd.read_parquet(Path(made.arguments["tables"]) / "levels.parquet")["factor"])


def test_a_treatment_that_looks_like_a_formula_is_drawn_as_it_is_written(tmp_path: Path) -> None:
    made = make_campaign(tmp_path)
    write_mean_maps(Path(made.arguments["mean_maps"][0]), np.random.default_rng(0), group="$drug_$")
    write_report(made.arguments)
    assert "$drug_$" in Path(made.arguments["page"]).read_text(encoding="utf-8")
