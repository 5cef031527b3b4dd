"""The licences of all that PCIM runs on, read from what is installed: writes LICENSES-THIRD-PARTY.md.

python tests/helpers/licences.py [--check]
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "LICENSES-THIRD-PARTY.md"

SPDX = {
    "MIT License": "MIT", "BSD License": "BSD-3-Clause", "BSD": "BSD-3-Clause", "Apache Software License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0", "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "ISC License (ISCL)": "ISC", "Public Domain": "LicenseRef-Public-Domain",
    "GNU General Public License (GPL)": "GPL",
}  # fmt: skip
"""What packages of older habits call a licence -> its SPDX identifier."""

PERMISSIVE = {
    "MIT", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "PSF-2.0", "ISC", "Zlib",
    "CC0-1.0", "BSL-1.0", "MPL-2.0", "LicenseRef-Public-Domain", "Unlicense",
}  # fmt: skip
"""Licences of packages that software under BSD-3-Clause may be installed with and import. MPL-2.0 binds changes of its own files alone."""

REASONED = {"docutils": "public domain, BSD-2-Clause and PSF-2.0; what of it is GPL, an Emacs mode, is not in the package"}


def pins(file: Path) -> dict[str, str]:
    """Return the packages of a lock, name -> version."""
    return dict(re.findall(r"^([\w.\-]+)==(\S+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE))


def licence_of(name: str) -> str:
    """Return the SPDX expression of a package's licence, as its metadata says, else the first line of its LICENSE."""
    told = distribution(name).metadata
    if expression := told.get("License-Expression"):
        return str(expression)
    classes = [text.rpartition("::")[2].strip() for text in told.get_all("Classifier") or [] if text.startswith("License ::")]
    named = classes or [(told.get("License") or "").strip().partition("\n")[0]]
    if not any(named):
        files = [file for file in distribution(name).files or [] if file.name.startswith("LICENSE")]
        named = [file.locate().read_text(encoding="utf-8").partition("\n")[0].strip() for file in files[:1]]
    return " AND ".join(sorted({SPDX.get(text, text) for text in named}))


def parts(expression: str) -> set[str]:
    """Return the licences that an expression names."""
    return {part.strip(" ()") for part in re.split(r"\bAND\b|\bOR\b", expression)} - {""}


def text() -> str:
    """Return the file."""
    lines = [
        "# Licences of what PCIM runs on", "",
        "PCIM itself is BSD-3-Clause and distributes none of these: pip or conda install them from their makers. Made from",
        "`requirements/run.txt` and the packages' own metadata by `python tests/helpers/licences.py`; a test compares, and refuses a",
        "licence that is neither permissive (MPL-2.0 counted: it binds changes of its own files) nor reasoned for here.", "",
        "Tests and benchmarks need more (`requirements/dev.txt`), of which PyQt6 (under napari, to open plates as people do) and Quantus",
        "(to compare metrics with) are GPL or LGPL: tools of development, imported by no module of the package, part of nothing that is",
        "distributed.", "",
        "| package | version | licence |", "|---|---|---|",
    ]  # fmt: skip
    for name, version in sorted(pins(ROOT / "requirements/run.txt").items(), key=lambda pin: pin[0].lower()):
        lines.append(f"| {name} | {version} | {REASONED.get(name) or licence_of(name)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(f"{FILE} is not what `python tests/helpers/licences.py` writes" if FILE.read_text(encoding="utf-8") != text() else 0)
    FILE.write_text(text(), encoding="utf-8")
