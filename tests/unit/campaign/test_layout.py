"""Paths and jobs have one source: the rules, the list of jobs, the costs and the report agree with it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcim.campaign import layout

ROOT = Path(__file__).parents[3]


def blocks_of(file: Path) -> dict[str, dict[str, list[str]]]:
    """Return rule -> directive -> the paths below the results that it names, as in a file of rules."""
    rules: dict[str, dict[str, list[str]]] = {}
    for name, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", file.read_text(encoding="utf-8") + "\n", re.MULTILINE):
        for directive, text in re.findall(r"^    (\w+):\n((?:        .*\n|\n)+)", body, re.MULTILINE):
            paths = re.findall(r'"results/\{+campaign\}+/([^"]+)"', text)
            rules.setdefault(name, {})[directive] = [path.replace("{{", "{").replace("}}", "}") for path in paths]
    return rules


RULE_FILES = {path.stem: blocks_of(path) for path in sorted((ROOT / "workflow/rules").glob("*.smk"))}


def test_the_rules_write_what_the_layout_says_and_nothing_else() -> None:
    found = {rule: (stage, of) for stage, rules in RULE_FILES.items() for rule, of in rules.items()}
    assert found.keys() == layout.RULES.keys()
    for name, (stage, of) in found.items():
        rule = layout.RULES[name]
        assert (stage, of["output"]) == (rule.stage, list(rule.outputs.values())), name
        assert of["log"] == [layout.log_of(Path(), rule.place).as_posix()]
        assert of["benchmark"] == [layout.benchmark_of(Path(), rule.place).as_posix()]


def test_the_rules_read_what_other_rules_write() -> None:
    written = {path for rule in layout.RULES.values() for path in rule.outputs.values()}
    written |= {layout.MAPS, layout.converted_plate(Path(), "{plate}").as_posix()}
    for rules in RULE_FILES.values():
        for name, of in rules.items():
            for path in [*of.get("input", []), *of.get("params", [])]:
                of_either = path if path in written else path.replace("{other}", "{model}")  # two are compared
                assert of_either in written, (name, path)


def texts_of(tree: ast.Module) -> Iterator[str]:
    """Yield every text of a module but its docstrings; what an f-string fills in is in braces, and a path ends with a slash."""
    for node in ast.walk(tree):
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.JoinedStr):
                yield ast.unparse(inner)[2:-1]
            elif isinstance(inner, ast.Constant) and isinstance(inner.value, str) and not isinstance(node, ast.Expr):
                yield (f"{inner.value}/" if isinstance(node, ast.Call) and ast.unparse(node.func) == "Path" else inner.value)


def test_no_module_but_the_layout_spells_a_path_below_the_results() -> None:
    folders = "|".join([*layout.RULES, "maps", "logs", "benchmarks", "plan"])
    spelt = re.compile(rf"(?:results/\S+/)?(?:{folders})/\S*|results/(?:\S+/\S+)?")
    for path in sorted((ROOT / "src/pcim").rglob("*.py")):
        found = [text for text in texts_of(ast.parse(path.read_text(encoding="utf-8"))) if spelt.fullmatch(text)]
        assert not found or path.name in {"layout.py", "plate_view.py"}, (path, found)  # the latter's are addresses


def test_a_folder_ends_where_the_first_name_is_not_given() -> None:
    assert layout.RULES["attribute"].folder(model="m", method="pcim") == "attribute/m/pcim/"
    assert layout.RULES["classify"].folder(model="m", plate="p") == "classify/m/p/"
    assert layout.RULES["ingest"].folder() == "ingest/"
    assert layout.RULES["report"].folder() == "report/"


@pytest.mark.parametrize(("rule", "count"), [("attribute", 1), ("evaluate", 2), ("aggregate", 5 + 3), ("report", 7)])
def test_outputs_by_method_count_once_per_method(rule: str, count: int) -> None:
    assert layout.RULES[rule].count_outputs(["pcim", "edge", "random"]) == count


def test_tables_are_found_with_the_names_in_their_paths(tmp_path: Path) -> None:
    for name in (
        "attribute/m/pcim/p/A01-A02.parquet",
        "attribute/m/pcim/p/.A01-A02.parquet.lock",
        "attribute/m/stray.parquet",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = {"model": "m", "method": "pcim", "plate": "p", "chunk": "A01-A02"}
    assert list(layout.find_tables(tmp_path, "attribute")) == [(layout.table_of(tmp_path, "attribute", **names), names)]
    assert list(layout.find_benchmarks(tmp_path, "attribute")) == []


def test_jobs_are_counted_with_what_a_plate_and_a_classifier_need() -> None:
    assert (layout.jobs_per("plate"), layout.jobs_per("plate", {"convert"})) == (1, 2)
    assert (layout.jobs_per("model and plate"), layout.jobs_per("model and plate", {"objects", "intensities"})) == (
        1,
        3,
    )
    assert (layout.jobs_per("chunk"), layout.jobs_per("method and chunk"), layout.jobs_per("pair")) == (2, 1, 1)
