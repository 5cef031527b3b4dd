"""A count of the views that have all their maps, whatever the number of targets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pcim.runtime.progress import Meter, progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcim.stages.attribute.tasks import ExplainTask
    from pcim.views.view import View


@dataclass
class Tally:
    """Views of a job: `total`, `kept` (finished or skipped before it began), `done` and `failed` so far, and maps to come a view."""

    total: int
    kept: int
    done: int
    failed: int
    _to_come: Counter[View]
    _spoilt: set[View] = field(default_factory=set)
    _told: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, views: Sequence[View], waiting: Mapping[str, Iterable[ExplainTask]]) -> Tally:
        """Count the views of which no map is `waiting` (field -> tasks)."""
        to_come = Counter(task.view for members in waiting.values() for task in members)
        unfit = sum(view.status == "failed" for view in views)
        kept = len(views) - len(to_come) - unfit
        return cls(len(views), kept, kept, unfit, to_come)

    def note(self, view: View, *, failed: bool) -> None:
        """Note that a map of a view is made, or why it is not."""
        self._to_come[view] -= 1
        if failed:
            self._spoilt.add(view)
        if self._to_come[view] == 0:
            self.done, self.failed = self.done + (view not in self._spoilt), self.failed + (view in self._spoilt)

    def meter(self, what: str, device: tuple[str, str]) -> Meter:
        """Begin to tell the progress, from here on."""
        self._told = self.done, self.failed
        return progress(self.total, what, kept=self.done, failed=self.failed, device=device)

    def new(self) -> tuple[int, int]:
        """Return how many more views are done, and failed, than were told before."""
        done, failed = self.done - self._told[0], self.failed - self._told[1]
        self._told = self.done, self.failed
        return done, failed
