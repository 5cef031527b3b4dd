"""What the documentation says is true: every command is run or proved, every test, option and target that it names is there."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from documents import PAGES, PYTHON, ROOT, SHELL, Block, blocks_of, text_of_test
from snakemake.cli import get_argument_parser
from typer.main import get_command

from pcim.cli.main import app
from pcim.revisions import REVISIONS

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
PROGRAMS = ("make", "snakemake", "pcim", "pip", "python", "git", "napari", "conda", "docker", "apptainer", "cd")
DEMO = json.loads((ROOT / "docs/images/demo.json").read_text(encoding="utf-8"))


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u202f", " ").replace("\u00a0", " ")).strip()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.test], ids=str)
def test_a_proof_that_a_block_names_exists_and_holds_its_words(block: Block) -> None:
    text = text_of_test(block.test)
    if str(block.page.relative_to(ROOT)) in text:
        return  # it reads the page and runs what stands there
    missing = {word for word in block.words if word not in text}
    assert not missing, f"{block}: {block.test} does not hold {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_is_a_block_and_no_command_hides_in_one_without_a_language(page: Path) -> None:
    blocks = blocks_of(page)
    assert sum(line.lstrip().startswith("```") for line in TEXTS[page].splitlines()) == 2 * len(blocks)
    hidden = [
        str(block) for block in blocks if block.language not in SHELL | PYTHON and block.text.lstrip("$ ").split(" ", 1)[0] in PROGRAMS
    ]
    assert not hidden, "say `sh`, so that it is run"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in PYTHON], ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def options_of(program: str, words: list[str]) -> set[str] | None:
    """Return the options of a command of pcim or of snakemake; None where there is no such command."""
    if program == "snakemake":
        return {one for action in get_argument_parser()._actions for one in action.option_strings}
    command = get_command(app).commands.get(words[0])  # type: ignore[attr-defined]
    return None if command is None else {one for known in command.params for one in known.opts} | {"--help"}


def test_commands_in_a_sentence_name_targets_commands_and_options_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wrong = []
    for page, text in TEXTS.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        spans = re.findall(r"(?<!`)`((?:make|pcim|snakemake) [^`\n]+)`(?!`)", prose)
        for found in [*spans, *re.findall(r"^    ((?:make|pcim|snakemake) .+)$", prose, re.MULTILINE)]:
            program, *words = found.partition(" -- ")[0].split()
            if program == "make":
                asked, known = {word for word in words if re.fullmatch(r"[a-z-]+", word)}, targets
            elif words[0].startswith("-") or words[0].islower():
                asked = {word.partition("=")[0] for word in words if word.startswith("--")}
                known = options_of(program, words) if program == "snakemake" or words[0].isalpha() else asked
            else:
                continue  # a placeholder, `pcim COMMAND --help`
            wrong += [(page.name, found)] if known is None or not asked <= known else []
    assert not wrong


def test_tests_and_files_that_pages_name_are_there() -> None:
    wrong = []
    for page, text in TEXTS.items():
        for found in re.findall(r"`((?:tests|benchmarks|src|docs|config|profiles|example|envs)/[\w./:-]+)`", text):
            try:
                text_of_test(found) if found.endswith(".py") or "::" in found else None
            except LookupError as error:
                wrong.append((page.name, str(error)))
            if "::" not in found and not (ROOT / found).exists():
                wrong.append((page.name, found))
    assert not wrong


def test_every_relative_link_leads_to_a_file_of_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {ROOT / name for name in listed.splitlines()}
    there = files | {folder for file in files for folder in file.parents}
    links = [
        (page, link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s#]+)", re.sub(r"```.*?```|`[^`\n]+`", "", TEXTS[page], flags=re.DOTALL))
        if ":" not in link
    ]
    assert len(links) > 50
    assert [(page.name, link) for page, link in links if Path(os.path.normpath(page.parent / link)) not in there] == []


def is_known(name: str) -> bool:
    """Tell whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        return functools.reduce(lambda owner, part: getattr(owner, part, None), parts[length:], found) is not None
    return False


def test_every_module_and_function_that_a_page_or_a_docstring_names_exists() -> None:
    """Three pages name other things so: metadata (``pcim.layers``), settings (``pcim.steps``), and a module of Snakemake."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "src/pcim").rglob("*.py"))}
    pages = {page: text for page, text in TEXTS.items() if page.name not in {"formats.md", "method.md", "installing.md", "CHANGELOG.md"}}
    named = {(path.name, name) for path, text in (sources | pages).items() for name in re.findall(r"`{1,2}(pcim(?:\.[A-Za-z_]\w*)+)", text)}
    assert len(named) > 20
    assert [(file, name) for file, name in sorted(named) if not is_known(name)] == []


SCRIPTS = sorted(path for folder in ("benchmarks", "example", "docs", "workflow") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_script_imports_of_the_package_exists(path: Path) -> None:
    """No test runs the benchmarks in full: a name that moved would be noticed after hours."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    named = [f"{node.module}.{alias.name}" for node in nodes if (node.module or "").startswith("pcim") for alias in node.names]
    assert [name for name in named if not is_known(name)] == []


def test_links_sections_and_guide_of_the_report_are_in_one_order() -> None:
    templates = ROOT / "src/pcim/report/page/templates"
    index = (templates / "index.html.j2").read_text(encoding="utf-8")
    links = re.findall(r'<a href="#([\w-]+)[^>]*>', re.findall(r"<nav.*?</nav>", index, re.DOTALL)[0])
    sections = re.findall(r'<section id="(\w+)"|(\{% include "classifier)', index)
    assert ["summary", *links] == [name or "c-" for name, _ in sections]

    classifier = (templates / "classifier.html.j2").read_text(encoding="utf-8")
    parts = "".join(f"<h2>{name}</h2>" for name in re.findall(r"<h3>([^<{]+)</h3>", classifier))
    headings = re.findall(
        r"<h2[^>]*>([^<{]+)</h2>",
        index.replace('{% include "classifier.html.j2" %}', f"<h2>Each classifier</h2>{parts}"),
    )
    guide = TEXTS[ROOT / "docs/reading.md"].partition("## In the order of the page")[2].partition("\n## ")[0]
    assert re.findall(r"^###+ (.+)$", guide, re.MULTILINE) == headings


def said() -> str:
    """Return all that the example's report says, as the tutorial may quote it."""
    rows = [row for of in DEMO["classifiers"].values() for table in ("accuracy", "confounding", "halves") for row in of[table]]
    pairs = [(row.get("correct", row.get("k", row.get("right"))), row.get("n", row.get("wells"))) for row in rows]
    return plain(json.dumps(DEMO, ensure_ascii=False).replace('\\"', '"')) + " ".join(f"{k} of {n}" for k, n in pairs)


def test_what_the_tutorial_quotes_stands_in_the_examples_report() -> None:
    text, report = TEXTS[ROOT / "docs/tutorial.md"], said()
    quotes = [plain(" ".join(re.findall(r"^> ?(.*)$", part, re.MULTILINE))) for part in text.split("\n\n") if part.startswith(">")]
    assert len(quotes) >= 10
    assert [quote for quote in quotes if quote not in report] == []


@pytest.mark.parametrize("page", ["docs/tutorial.md", "docs/index.md"])
def test_every_count_and_share_stands_there_too(page: str) -> None:
    counts = re.findall(r"\d+ of \d+|\d+ on \d+|\d+ %", plain(TEXTS[ROOT / page]))
    counts = [re.sub(r"^(\d+) on ", r"\1 of ", count) for count in counts]
    assert [count for count in counts if count not in said()] == []


def test_the_examples_figures_are_those_of_this_method() -> None:
    """Where a stage's revision was raised: `make demo`, then `python docs/refresh.py`."""
    assert DEMO["revisions"] == REVISIONS
