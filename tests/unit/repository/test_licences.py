"""What PCIM runs on may be installed beside it, and the list of it is that of the lock."""

from __future__ import annotations

import ast
from importlib.metadata import PackageNotFoundError

import licences
import pytest
from licences import PERMISSIVE, REASONED, ROOT, licence_of, parts, pins

RUN = pins(ROOT / "requirements/run.txt")


def test_the_list_is_what_the_lock_and_the_packages_say() -> None:
    assert licences.FILE.read_text(encoding="utf-8") == licences.text()


@pytest.mark.parametrize("name", RUN)
def test_every_package_has_a_licence_that_goes_with_ours(name: str) -> None:
    assert name in REASONED or (licence_of(name) and parts(licence_of(name)) <= PERMISSIVE), licence_of(name)


def test_what_is_gpl_is_a_tool_of_development_that_the_package_never_imports() -> None:
    copyleft = set()
    for name in pins(ROOT / "requirements/dev.txt").keys() - RUN.keys():
        try:
            copyleft |= {name} if "GPL" in licence_of(name) or "GNU" in licence_of(name) else set()
        except PackageNotFoundError:
            continue
    assert copyleft == {"PyQt6", "PyQt6-Qt6", "quantus"}  # a new one wants a reason in the list
    imported = {
        name.partition(".")[0].lower()
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not imported & {name.lower() for name in copyleft}
