"""PCIM: tells a screening facility what its image classifier looks at."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcim.api.attribute_plate import attribute_plate
    from pcim.api.evaluate import evaluate
    from pcim.api.plate import open_plate
    from pcim.attribution.pcim import PCIM
    from pcim.classifiers.classifier import load_classifier

__version__ = "0.1.0"
__all__ = ["PCIM", "attribute_plate", "evaluate", "load_classifier", "open_plate"]

_HOMES = {
    "PCIM": "pcim.attribution.pcim",
    "attribute_plate": "pcim.api.attribute_plate",
    "evaluate": "pcim.api.evaluate",
    "load_classifier": "pcim.classifiers.classifier",
    "open_plate": "pcim.api.plate",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: every job reads this package, and few need torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pcim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
