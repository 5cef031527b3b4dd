"""PCIM: tells a screening facility what its image classifier looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcim.attribute.learned import Learned as Learned
    from pcim.attribute.pcim import PCIM as PCIM

__version__ = "0.1.0"
__all__ = ["PCIM", "Learned"]


def __getattr__(name: str) -> Any:
    """Import the method when it is asked for: every job reads this package, and few need torch."""
    if name in __all__:
        from pcim.attribute import pcim

        return getattr(pcim, name)
    raise AttributeError(f"module 'pcim' has no attribute {name!r}")
