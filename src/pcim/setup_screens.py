"""Screens of what comes before a run: what is wrong or right, what was found, what was written and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcim.screens import show_check

if TYPE_CHECKING:
    from rich.console import Console

    from pcim.validate import Validation


def show_validation(console: Console, told: Validation) -> None:
    """Print what a campaign without faults holds and will cost."""
    console.print(f"Campaign {told.campaign}: nothing is wrong", style="bold")
    for check in told.found:
        show_check(console, check)
    console.print(told.table, soft_wrap=True)
