"""How faithful every map is to the classifier, and how much of it lies in the objects."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcim.config.methods import method_read
from pcim.core.identity import KEY_COLUMNS, ViewKey
from pcim.core.tiling import Box
from pcim.core.vocabulary import HOW
from pcim.plates.attribution_plate import AttributionPlate
from pcim.plates.field_image import FieldImage
from pcim.runtime.job_log import log
from pcim.runtime.progress import progress
from pcim.runtime.resume import ResultCache, Rows, fingerprint
from pcim.runtime.tables import rows_of
from pcim.stages.chunk_job import of_chunk
from pcim.views.intensity import FieldRecords
from pcim.views.reader import read_regions
from pcim.views.resize import fit, fit_mask
from pcim.views.views_with_maps import explained_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.classifiers.classifier import Classifier
    from pcim.config.classifier import Region
    from pcim.config.methods import Background
    from pcim.config.stages import EvaluateSettings
    from pcim.metrics.score_view import Case
    from pcim.stages.chunk_job import ChunkJob

COLUMNS = (*KEY_COLUMNS, "method", "metric", "substitute", "seen", "value", "chance", *HOW, "fingerprint")
CURVES = ("shares", "deletion", "insertion")
CURVE_COLUMNS = (*KEY_COLUMNS, "method", "substitute", *CURVES, "fingerprint")
OF_INTERVENTIONS = {"intervention_views", "partners", "frame", "map_top"}
"""Settings of the stage on which no score depends."""


def evaluate_chunk(  # noqa: PLR0913 - a job's inputs
    job: ChunkJob,
    *,
    fields: str,
    ledgers: Sequence[str],
    maps: Mapping[str, str],
    table: str,
    curves: str,
    regions: Mapping[str, Region],
    objects: str | None,
    background: Background,
    settings: EvaluateSettings,
) -> None:
    """Score every map of a chunk into `table`, and write the curves behind the scores; `maps` are the methods' plates of maps.

    Views that an earlier run scored from the same maps are not scored again.
    """
    seen = pd.read_parquet(fields)
    scoring = Scoring(
        job=job,
        known=FieldRecords.from_tables(seen, job.intensities),
        stores={method: AttributionPlate(Path(place)) for method, place in maps.items()},
        regions=regions,
        objects=objects,
        background=background,
        settings=settings,
    )
    asked, kept = scoring.list_tasks(explained_views(ledgers, seen), seen), ResultCache(table, curves)
    found = {mark: rows for mark, rows in kept.find().items() if mark in {one.fingerprint for one in asked}}
    waiting = [one for one in asked if one.fingerprint not in found]
    log.info("%d of %d views are scored already", len(found), len(asked))
    if waiting:
        classifier = job.load_classifier()
        done, device = len(asked) - len(waiting), classifier.named_device
        with progress(len(asked), f"evaluate {job.store.name}", kept=done, device=device) as bar:
            for one, rows in scoring.score_views(classifier, waiting):
                kept.add({one.fingerprint: rows})
                found[one.fingerprint] = rows
                bar.update()
    scores, drawn = (
        [row | {"fingerprint": one.fingerprint} for one in asked for row in found[one.fingerprint][number]] for number in (0, 1)
    )
    for row in drawn:
        row |= {name: np.asarray(row[name], np.float32) for name in CURVES}
    log.info("%s: %d values", table, len(scores))
    kept.write(
        pd.DataFrame(scores, columns=COLUMNS).assign(revision=job.revision),
        pd.DataFrame(drawn, columns=CURVE_COLUMNS).assign(revision=job.revision),
        made=scoring.record(seen),
    )


@dataclass(frozen=True)
class ScoringTask:
    """A view to score: its maps' ledger rows by method, the row of the view whose map is its control, and its fingerprint."""

    rows: Mapping[str, Mapping[str, Any]]
    other: Mapping[str, Any] | None
    fingerprint: str

    @property
    def view(self) -> Mapping[str, Any]:
        """A ledger row of the view."""
        return next(iter(self.rows.values()))

    @property
    def key(self) -> ViewKey:
        """The view's identity."""
        return ViewKey.from_row(self.view)

    @property
    def box(self) -> Box:
        """Where the view lies."""
        return Box.from_row(self.view)


@dataclass(frozen=True)
class Scoring:
    """What every view of one job shares: where pixels and maps are, and what the scores depend on."""

    job: ChunkJob
    known: FieldRecords
    stores: Mapping[str, AttributionPlate]
    regions: Mapping[str, Region]
    objects: str | None
    background: Background
    settings: EvaluateSettings

    def record(self, seen: pd.DataFrame) -> dict[str, Any]:
        """Return the record of the tables of scores and curves; `seen` is the plate's table of fields."""
        settings = self.settings.model_dump(mode="json", exclude=OF_INTERVENTIONS) | {"background": self.background}
        regions = {name: region.model_dump(mode="json") for name, region in self.regions.items()}
        more = {"methods": list(self.stores), "regions": regions, "objects_region": self.objects}
        return of_chunk("evaluate", self.job, seen, settings, **more)

    @cached_property
    def read(self) -> str:
        """The method whose maps are read."""
        return method_read(list(self.stores))

    def list_tasks(self, explained: pd.DataFrame, fields: pd.DataFrame) -> list[ScoringTask]:
        """Return the views to score, field by field, each with the fingerprint of all that its scores depend on."""
        digests = {row["path"]: row["digest"] for row in rows_of(fields)}
        shared = {
            "model": self.job.contract.depends_on(),
            "settings": self.settings.model_dump(mode="json", exclude=OF_INTERVENTIONS),
            "background": self.background,
            "regions": {name: region.model_dump(mode="json") for name, region in self.regions.items()},
            "objects": self.objects,
            "read": self.read,
            "revision": self.job.revision,
        }
        views = [
            {str(row["method"]): row for row in rows_of(of_view)} for _, of_view in explained.groupby(["path", *KEY_COLUMNS], sort=True)
        ]
        others = other_views([rows.get(self.read) for rows in views], [next(iter(rows.values())) for rows in views])
        return [
            ScoringTask(rows, other, fingerprint(shared | self._own(rows, other, digests)))
            for rows, other in zip(views, others, strict=True)
        ]

    def _own(self, rows: Mapping[str, Mapping[str, Any]], other: Mapping[str, Any] | None, digests: Mapping[str, str]) -> dict[str, Any]:
        """Return what one view's scores depend on."""
        view = next(iter(rows.values()))
        return {
            "view": str(ViewKey.from_row(view)),
            "box": astuple(Box.from_row(view)),
            "target": view["target"],
            "pixels": digests[view["path"]],
            "intensities": self.known.ends.get(view["path"]),
            "maps": [[method, row["digest"], row["fingerprint"]] for method, row in rows.items()],
            "other": None if other is None else [str(ViewKey.from_row(other)), other["digest"], other["fingerprint"]],
        }

    def score_views(self, classifier: Classifier, asked: Sequence[ScoringTask]) -> Iterator[tuple[ScoringTask, list[Rows]]]:
        """Score views; yield each with its rows of scores and of curves."""
        from pcim.classifiers.out_of_memory import halving_when_out_of_memory  # torch is not needed before

        size, (device, device_name) = self.settings.batch_size, classifier.named_device
        for one, case in self._cases(asked):
            began = time.perf_counter()
            (scores, curves), size = halving_when_out_of_memory(partial(self._score, classifier, case), size)
            how = (time.perf_counter() - began, device, device_name, size)
            lists = [row | {name: row[name].tolist() for name in CURVES} for row in curves]
            yield one, [[row | dict(zip(HOW, how, strict=True)) for row in scores], lists]

    def _score(self, classifier: Classifier, case: Case, batch_size: int) -> tuple[Rows, Rows]:
        from pcim.metrics.score_view import score

        settings = self.settings.model_copy(update={"batch_size": batch_size})
        return score(classifier, case, settings, self.background)

    def _cases(self, asked: Sequence[ScoringTask]) -> Iterator[tuple[ScoringTask, Case]]:
        """Read pixels, objects and maps of views, a field once."""
        from pcim.metrics.score_view import Case

        size, others = self.job.contract.input.size, _One(self._map)
        for path, members in _by_field(asked).items():
            image = FieldImage.open(self.job.store, path)
            pixels = self.known.scale(path, image.read(self.job.contract.input.channels))
            mask = read_regions(image, self.regions)[self.objects] if self.objects else None
            boxes = {one.key.view: one.box for one in members}
            methods = dict.fromkeys(method for one in members for method in one.rows)
            of_methods = {method: self.stores[method].read_views(path, boxes) for method in methods}
            for one in members:
                here, view = one.box.slices, one.key.view
                inside = None if mask is None else fit_mask(mask[here], size)
                maps = {method: _sum_channels(of_methods[method][view]) for method in one.rows}
                other = None if one.other is None else others(one.other)
                yield (
                    one,
                    Case(one.key, fit(pixels[:, *here], size), one.view["target"], maps, inside, other, self.read),
                )

    def _map(self, row: Mapping[str, Any]) -> NDArray[np.floating]:
        """Read the map of one view by the method that is read."""
        found = self.stores[self.read].read_views(row["path"], {row["view"]: Box.from_row(row)})
        return _sum_channels(found[row["view"]])


class _One:
    """Remembers the last answer: the views of a well have one other."""

    def __init__(self, read: Callable[[Mapping[str, Any]], NDArray[np.floating]]) -> None:
        self._read = read
        self._known: tuple[Mapping[str, Any], NDArray[np.floating]] | None = None

    def __call__(self, row: Mapping[str, Any]) -> NDArray[np.floating]:
        if self._known is None or self._known[0] is not row:
            self._known = row, self._read(row)
        return self._known[1]


def _by_field(asked: Sequence[ScoringTask]) -> dict[str, list[ScoringTask]]:
    fields: dict[str, list[ScoringTask]] = {}
    for one in asked:
        fields.setdefault(str(one.view["path"]), []).append(one)
    return fields


def _sum_channels(channel_maps: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a view's map (y, x): the sum over its channels, 0 where nothing was explained."""
    total: NDArray[np.floating] = np.nan_to_num(channel_maps.sum(0))
    return total


def other_views(own: Sequence[Mapping[str, Any] | None], views: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | None]:
    """Return, for each view, the ledger row of one of another well, whose map is its control: the last view of the well before.

    The chunk's first well has the chunk's last view. `own` are the rows of the method that is read, None where it has no map, and `views`
    any row of each view, in the order of a chunk, which never changes. None where there is no other.
    """
    mapped = [row for row in own if row is not None]
    is_alone = len({ViewKey.from_row(row).well for row in mapped}) < 2  # noqa: PLR2004 - another well
    last = None if is_alone else mapped[-1]
    well, earlier, found = "", None, []
    for row, view in zip(own, views, strict=True):
        if ViewKey.from_row(view).well != well:
            well, earlier = ViewKey.from_row(view).well, last
        found.append(earlier)
        last = row
    return found
