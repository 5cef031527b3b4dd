"""Text that `pcim init` and `pcim validate` print: what was found, what is wrong, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from pcim.cli.output import show_check

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from pcim.campaign.scaffold.campaign_files import CampaignDraft
    from pcim.campaign.scaffold.discover import FoundPlate
    from pcim.operations.validate import Validation

_LISTED = 20
_NAMED = 3
_NO_LABELS = "no label images: the report will not be able to say whether it looks at the biology; docs/plates.md says how to add them"


def show_validation(console: Console, told: Validation) -> None:
    """Print what a campaign without faults holds and will cost."""
    warned = sum(check.state == "warning" for check in told.found)
    notes = f"; {warned} warning{'s' * (warned > 1)} below" if warned else ""
    console.print(f"Campaign {told.campaign}: nothing is wrong{notes}", style="bold")
    for check in told.found:
        show_check(console, check)
    console.print(told.table, soft_wrap=True)


def show_found(console: Console, plates: Sequence[FoundPlate]) -> None:
    """Print what was found on plates, a line each, in 80 columns; then their channels and labels, each list once."""
    title = f"{len(plates)} plate{'s' * (len(plates) > 1)} found"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("plate", overflow="fold")
    for name in ("format", "wells", "fields", "px", "type", "um/px"):
        table.add_column(name, justify="right" if name in {"wells", "fields"} else "left", no_wrap=True)
    for plate in plates[:_LISTED]:
        held = plate.survey
        fields = sum(len(names) for _, names in held.wells.values())
        size = f"{held.pixel_size_um:.3g}" if held.pixel_size_um else ""
        looks = (f"{held.shape[0]} x {held.shape[1]}", held.dtype, size)
        table.add_row(*map(Text, (plate.name, plate.source.format, f"{len(held.wells):,}", f"{fields:,}", *looks)))
    console.print(table)
    _show_alike(console, "channels", {plate.name: plate.survey.channels for plate in plates})
    if any(plate.survey.labels for plate in plates):
        _show_alike(console, "label images", {plate.name: plate.survey.labels for plate in plates})
    else:
        console.print(_NO_LABELS, soft_wrap=True)


def _show_alike(console: Console, what: str, of_plates: Mapping[str, Sequence[str]]) -> None:
    """Print what plates hold: a line for all where they are alike, else one for those that are."""
    alike: dict[str, list[str]] = {}
    for plate, names in of_plates.items():
        alike.setdefault(", ".join(names) or "none", []).append(plate)
    for names, plates in list(alike.items())[:_LISTED]:
        more = f" and {len(plates) - _NAMED} more" if len(plates) > _NAMED else ""
        whose = f" of {', '.join(plates[:_NAMED])}{more}" if len(alike) > 1 else ""
        console.print(f"{what}{whose}: {names}", soft_wrap=True)


def show_draft(console: Console, draft: CampaignDraft, files: Iterable[Path]) -> None:
    """Print what was written, and what to do next, to be copied."""
    console.print("Written:", style="bold")
    for file in files:
        console.print(f"  {file}", soft_wrap=True)
    for theirs, ours in draft.given.renamed.items():
        console.print(f"  column {theirs!r} of the plate map was read as {ours!r}", soft_wrap=True)
    for told in draft.given.notes(draft.plates):
        console.print(f"  {told}", soft_wrap=True)
    console.print("Next:", style="bold")
    for told in draft.next_steps():
        console.print(f"  {told}", soft_wrap=True)
