"""An environment of its own that has all that this one has, but for this package: nothing is downloaded twice."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path


def lent_python(folder: Path) -> Path:
    """Make a virtual environment in `folder` that sees this one's packages without pcim, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    lent = folder / "lent"
    lent.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("pcim") and entry.suffix != ".pth":
            (lent / entry.name).symlink_to(entry)
    (next(folder.glob("lib/python*/site-packages")) / "lent.pth").write_text(str(lent))
    return folder / "bin/python"
