"""What the site shows beside docs/*.md: files of the repository where they lie, and notebooks; with links that hold in both places.

A Markdown file reads on a code host as well as in the site: links are relative to the file, and lists may follow a line directly.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "configuration.md": "config/README.md",
    "cluster.md": "profiles/slurm/README.md",
    "example.md": "example/PROVENANCE.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Page of the site -> file of the repository, shown as it is."""
FENCE = re.compile(r"^ *(```|~~~)")
ITEM = re.compile(r"^ *([-*]|\d+\.) ")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
CODE = re.compile(r"(`+)(?:.(?!\1))*.?\1")
AWAY = re.compile(r'href="(https?://[^"]+)"')
away: set[str] = set()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, and one for each notebook."""
    for page, source in ELSEWHERE.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for notebook in sorted(Path(config.docs_dir).glob("notebooks/*.ipynb")):
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=markdown_of(notebook)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Give a page's lists the blank line that Python-Markdown wants, and its links their place in the site."""
    page_uri = page.file.src_uri
    if page.parent is None:
        page.meta.setdefault("hide", ["navigation"])  # a list of one page
    source = ELSEWHERE.get(page_uri, f"docs/{page_uri}")
    lines, is_code, before = [], False, ""
    for line in markdown.splitlines():
        if FENCE.match(line):
            is_code = not is_code
        elif not is_code and ITEM.match(line) and before.strip() and not ITEM.match(before) and before[0] != " ":
            lines.append("")
        lines.append(line if is_code else relinked(line, source, page_uri))
        before = line
    return "\n".join(lines) + "\n"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Give the theme's search dialog the name that a screen reader tells, and note the links that lead away."""
    away.update(AWAY.findall(output))
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')


def on_post_build(config: MkDocsConfig) -> None:
    """List the links that lead away, beside the pages: nobody fetches them here."""
    (Path(config.site_dir) / "external-links.txt").write_text("".join(f"{link}\n" for link in sorted(away)))


def relinked(line: str, source: str, page: str) -> str:
    """Point a line's relative links, right in the repository file `source`, to where they are from the site's `page`."""
    codes = [found.span() for found in CODE.finditer(line)]

    def place(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        path, mark, anchor = target.partition("#")
        if ":" in target or not path or any(start < found.start() < end for start, end in codes):
            return found[0]
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        inside = {file: one for one, file in ELSEWHERE.items()}.get(named)
        if inside is None and named.startswith("docs/"):
            inside = named.removeprefix("docs/").replace(".ipynb", ".md")
        if inside is None:
            if not (ROOT / named).exists():
                return found[0]  # strict says that it leads nowhere
            return text if f"`{named}`" == text else f"{text} (`{named}`)"
        return f"{image}[{text}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{mark}{anchor})"

    return LINK.sub(place, line)


def markdown_of(notebook: Path) -> str:
    """Return an executed notebook as Markdown: its text, its code, and what the code printed or drew."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n\n".join(part for cell in cells for part in _parts(cell)) + "\n"


def _parts(cell: Any) -> list[str]:
    if cell.cell_type != "code":
        return [cell.source]
    return [f"```python\n{cell.source}\n```", *(shown for output in cell.outputs if (shown := _shown(output)))]


def _shown(output: Any) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f"![what the code above drew](data:image/png;base64,{data['image/png'].strip()})".replace("\n", "")
    if "text/html" in data:
        return f'<div class="output" tabindex="0">\n{data["text/html"]}\n</div>'
    text = data.get("text/plain", "").rstrip()
    return f"```text\n{text}\n```" if text else ""
