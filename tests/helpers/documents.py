"""The documentation as tests see it: its pages, their fenced blocks, and what stands above each of them."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "profiles/slurm/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SHELL, PYTHON = {"sh", "bash", "shell", "console"}, {"python", "py", "pycon"}
BLOCK = re.compile(r"(?:<!-- test: (?P<test>\S+) -->\n+)?(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)\n *```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `test` is what the comment above it names as its proof, ``path::name``."""

    page: Path
    line: int
    language: str
    text: str
    test: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The shell's lines, of a ``console`` block those after the prompt, without comments."""
        lines = self.text.splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if shlex.split(line, comments=True)]

    @property
    def words(self) -> set[str]:
        """What a test of these commands must hold: programs, their subcommands and the names of their long options."""
        found: set[str] = set()
        for line in self.commands if self.language in SHELL else []:
            for part in re.split(r"&&|\|\||;|\|", line):
                words = shlex.split(part, comments=True)
                found |= {words[0].rpartition("/")[2]} if words else set()
                found |= {words[1]} if len(words) > 1 and re.fullmatch(r"[a-z][a-z-]*", words[1]) else set()
                found |= {word.partition("=")[0].lstrip("-") for word in words if word.startswith("--")}
        return found - {"cd", "."}


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start("language")].count("\n") + 1, found["language"].lower(), found["text"], found["test"] or "")
        for found in BLOCK.finditer(text)
    ]  # fmt: skip


def text_of_test(name: str) -> str:
    """Return the text of a test, ``path::name``, with that of the modules of tests that its file imports.

    Raises `LookupError` where there is no such test.
    """
    path, _, function = name.partition("::")
    file = ROOT / path
    if not file.is_file():
        raise LookupError(f"{name}: no file {path}")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if function and function not in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}:
        raise LookupError(f"{name}: no test {function} in {path}")
    named = [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    beside = [ROOT / folder / f"{module.replace('.', '/')}.py" for folder in ("tests", "tests/helpers") for module in named]
    return "\n".join(one.read_text(encoding="utf-8") for one in [file, *beside] if one.is_file())
