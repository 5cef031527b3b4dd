"""What the site does to pages: lists as a code host shows them, links that hold in both places, notebooks as text."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs/hooks/pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "source", "page", "shown"),
    [
        ("[keys](../config/README.md#select)", "docs/plates.md", "plates.md", "[keys](configuration.md#select)"),
        ("[do](docs/operations.md)", "CHANGELOG.md", "changelog.md", "[do](operations.md)"),
        (
            "[its text](../../src/pcim/cli/main.py)",
            "profiles/slurm/README.md",
            "cluster.md",
            "its text (`src/pcim/cli/main.py`)",
        ),
        ("[`LICENSE`](LICENSE)", "CONTRIBUTING.md", "contributing.md", "`LICENSE`"),
        ("[one](notebooks/a.ipynb)", "docs/api.md", "api.md", "[one](notebooks/a.md)"),
        ("[up](../plates.md)", "docs/notebooks/a.md", "notebooks/a.md", "[up](../plates.md)"),
        ("![x](images/report.webp)", "docs/index.md", "index.md", "![x](images/report.webp)"),
        ("`[not](a/link)` [away](https://example.org/a) [here](#keys)", "docs/a.md", "a.md", None),
        ("[nowhere](no/such/file.md)", "CHANGELOG.md", "changelog.md", None),
    ],
)
def test_a_link_leads_in_the_site_where_it_leads_in_the_repository(
    pages: ModuleType, line: str, source: str, page: str, shown: str | None
) -> None:
    assert pages.relinked(line, source, page) == (shown or line)


def test_a_list_gets_the_blank_line_that_it_needs_and_code_is_left_alone(pages: ModuleType) -> None:
    text = "words\n- one\n- two\n  goes on\n- three\n\n```sh\necho\n- no list [a](b)\n```\n"
    page = SimpleNamespace(file=SimpleNamespace(src_uri="plates.md"), parent=object(), meta={})
    shown = pages.on_page_markdown(text, page, None, None)
    assert shown == text.replace("words\n-", "words\n\n-")
    assert page.meta == {}


def test_a_notebook_is_its_text_its_code_and_what_it_said(pages: ModuleType, tmp_path: Path) -> None:
    node = nbformat.v4
    outputs = [
        node.new_output("stream", text="said\n"),
        node.new_output("display_data", data={"image/png": "AAAA\n", "text/plain": "<Figure>"}),
        node.new_output("execute_result", data={"text/html": "<b>5</b>", "text/plain": "5"}),
        node.new_output("execute_result", data={"text/plain": "7"}),
    ]
    cells = [node.new_markdown_cell("# Title"), node.new_code_cell("work()", outputs=outputs)]
    nbformat.write(node.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert pages.markdown_of(tmp_path / "a.ipynb").split("\n\n") == [
        "# Title",
        "```python\nwork()\n```",
        "```text\nsaid\n```",
        "![what the code above drew](data:image/png;base64,AAAA)",
        '<div class="output" tabindex="0">\n<b>5</b>\n</div>',
        "```text\n7\n```\n",
    ]


def test_every_page_that_lies_elsewhere_is_in_the_navigation(pages: ModuleType) -> None:
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page, source in pages.ELSEWHERE.items() if (ROOT / source).is_file() and page not in listed] == []
