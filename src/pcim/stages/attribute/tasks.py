"""Which maps a job makes, what each depends on, and which of them are made already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcim.config.base import CALL
from pcim.core.identity import ViewKey
from pcim.runtime.provenance import made_by
from pcim.runtime.resume import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pcim.config.stages import AttributeSettings
    from pcim.plates.attribution_plate import AttributionPlate
    from pcim.runtime.journal import Journal
    from pcim.stages.chunk_job import ChunkJob
    from pcim.views.view import View

Key = tuple[str, str]
"""Which map: the view's key as text, and the layer."""


@dataclass(frozen=True)
class ExplainTask:
    """One map to make: of which view and class, in which layers, the fingerprint of all it depends on, the digest of its field."""

    view: View
    target: str
    layers: tuple[str, ...]
    fingerprint: str
    pixels: str = ""


@dataclass(frozen=True)
class AttributeJob:
    """What every view of one job shares: the job on the chunk, the method with its settings, and where the maps go.

    The classifier is loaded when the first views are being read, and only if there are any.
    """

    chunk: ChunkJob
    method: str
    settings: AttributeSettings
    maps: AttributionPlate

    def tasks(self, view: View, call: str, image_digest: str, ends: Any = None) -> list[ExplainTask]:
        """Return what is to be made of a view that was called `call`: a class that several layers show is explained once."""
        shown: dict[str, list[str]] = {}
        for layer in self.settings.targets:
            shown.setdefault(call if layer == CALL else layer, []).append(layer)
        return [
            ExplainTask(view, target, tuple(layers), self.fingerprint(image_digest, view, target, ends), image_digest)
            for target, layers in shown.items()
        ]

    def provenance(self, tasks: Sequence[ExplainTask]) -> dict[str, Any]:
        """Return what a field's maps say of themselves. No time, no host: equal maps are equal bytes."""
        return {
            "method": self.method,
            "model": self.chunk.contract.name,
            "model_sha256": self.chunk.contract.sha256,
            "unit": "mean attribution of the view",
            **made_from(tasks),
            "settings": self.settings.of_method(self.method),
            "revision": self.chunk.revision,
            "pixels": tasks[0].pixels,
            **made_by(),
        }

    def fingerprint(self, image_digest: str, view: View, target: str, ends: Any = None) -> str:
        """Return a digest of all that the view's map depends on: settings, model, pixels, target, place, revision."""
        parts = {
            "settings": self.settings.of_method(self.method),
            "method": self.method,
            "model": self.chunk.contract.map_depends_on(),
            "pixels": image_digest,
            "view": str(view.key),
            "target": target,
            "revision": self.chunk.revision,
        }
        if ends is not None:
            parts["intensities"] = ends
        if self.chunk.contract.input.view == "object":  # whose name does not tell its place
            parts["box"] = [view.box.top, view.box.left, view.box.height, view.box.width]
        return fingerprint(parts)


def key_of(row: dict[str, Any]) -> Key:
    """Return which map a ledger's row is about."""
    return str(ViewKey.from_row(row)), row["layer"]


def finished_fields(job: AttributeJob, tasks: dict[str, list[ExplainTask]], journal: Journal) -> dict[str, dict[Key, dict[str, Any]]]:
    """Return the rows of the fields whose stored maps are whole and made of exactly these tasks: path -> key -> row."""
    rows = [row for row in journal.rows() if row["revision"] == job.chunk.revision]
    known = {(key_of(row), row["fingerprint"]): row for row in rows}
    finished = {}
    for path, members in tasks.items():
        keys = [((str(task.view.key), layer), task.fingerprint) for task in members for layer in task.layers]
        made = {"layers": job.settings.targets, **made_from(members)}
        is_known = made.items() <= job.maps.provenance(path).items() and known.keys() >= set(keys)
        if is_known and job.maps.is_whole(path):
            finished[path] = {key: known[key, fingerprint] for key, fingerprint in keys}
    return finished


def made_from(tasks: Iterable[ExplainTask]) -> dict[str, dict[str, dict[str, str]]]:
    """Return what a field's maps say of where they come from: by layer and view, the class and the fingerprint."""
    made: dict[str, dict[str, dict[str, str]]] = {"targets": {}, "fingerprints": {}}
    for task in tasks:
        for layer in task.layers:
            made["targets"].setdefault(layer, {})[task.view.key.view] = task.target
            made["fingerprints"].setdefault(layer, {})[task.view.key.view] = task.fingerprint
    return made
