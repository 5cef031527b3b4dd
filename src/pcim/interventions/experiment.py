"""Exchange regions between views of different calls, and count the calls.

Maps propose, interventions decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from pcim.composites.donors import partners
from pcim.composites.region_swap import (
    Exchange,
    Scene,
    control_region,
    exchange_channel,
    exchange_objects,
    exchange_pixels,
    exchange_region,
    mean_scene,
)
from pcim.core.identity import KEY_COLUMNS, ViewKey
from pcim.core.vocabulary import CORNERS, FRAME, MAP_TOP, SURROUNDINGS, WHOLE
from pcim.views.regions import corners, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.classifiers.classifier import Classifier
    from pcim.config.stages import EvaluateSettings

COLUMNS = (
    *KEY_COLUMNS, "partner", "partner_well", "region", "family", "kind", "area", "call_before", "partner_call", "call_after", "follows",
    "p_before", "p_after", "fingerprint",
)  # fmt: skip

MadeImage = tuple[dict[str, Any], "NDArray[np.float32]"]
"""What is said of an exchange beside its outcome, and the image that was made."""


@dataclass(frozen=True)
class Subject:
    """A view that takes part: its identity, its call, its scene, its regions, and the highest pixels of its map, if it has one."""

    key: ViewKey
    call: str
    probabilities: Sequence[float]
    scene: Scene
    regions: Mapping[str, NDArray[np.bool_]]
    top: NDArray[np.bool_] | None = None

    @property
    def well(self) -> str:
        """The well with its plate."""
        return f"{self.key.plate}/{self.key.well}"


def exchange_regions(  # noqa: PLR0913 - two of them for a job that may be killed
    classifier: Classifier,
    subjects: Sequence[Subject],
    objects: str | None,
    settings: EvaluateSettings,
    *,
    known: Mapping[str, list[dict[str, Any]]] | None = None,
    keep: Callable[[str, list[dict[str, Any]]], None] = lambda _key, _rows: None,
) -> list[dict[str, Any]]:
    """Exchange every region of every view with its partners; a row a view, partner, region and kind.

    Kind ``exchange`` is the region's own exchange, ``control`` that of a disc of the same area elsewhere (where one fits), ``mean``
    its replacement by the mean of the views with the partner's call. Families: ``label`` (the named regions and the background),
    ``geometry``, ``map`` (its highest pixels), ``channel``. Without named regions there is no ``label``.

    `known` are the rows of views, by key, that are not made again; `keep` is given those of each other view when they are complete.
    """
    known = known or {}
    by_key = {str(subject.key): subject for subject in subjects}
    chosen = partners(list(by_key), [s.call for s in subjects], [s.well for s in subjects], per_view=settings.partners, seed=0)
    means = {call: mean_scene([s.scene for s in subjects if s.call == call]) for call in {s.call for s in subjects}}
    labels = classifier.contract.input.channels
    rows: list[dict[str, Any]] = []
    made: list[NDArray[np.float32]] = []
    begun: dict[str, slice] = {}
    found = dict(known)
    for key, others in chosen.items():
        if key in known:
            continue
        first = len(rows)
        for other in others:
            receiver, donor = by_key[key], by_key[other]
            for row, image in _exchanges(receiver, donor, means[donor.call], objects, labels, settings):
                rows.append(_pair(receiver, donor) | row)
                made.append(image)
        begun[key] = slice(first, len(rows))
        is_last = len(found) + len(begun) == len(chosen)
        _classify_images(classifier, rows, made, settings.batch_size, last=is_last)
        complete = [done for done, of in begun.items() if of.stop <= len(rows) - len(made)]
        for done in complete:
            found[done] = rows[begun.pop(done)]
            keep(done, found[done])
    return [row for key in chosen for row in found[key]]


def _pair(receiver: Subject, donor: Subject) -> dict[str, Any]:
    return {
        **receiver.key.columns(),
        "partner": str(donor.key),
        "partner_well": donor.well,
        "call_before": receiver.call,
        "partner_call": donor.call,
    }


def _exchanges(  # noqa: PLR0913, PLR0917 - two views, and what may change places
    receiver: Subject,
    donor: Subject,
    mean: Scene,
    objects: str | None,
    labels: Sequence[str],
    settings: EvaluateSettings,
) -> Iterator[MadeImage]:
    """Yield what is made of one pair of views."""
    here, there = receiver.scene, donor.scene
    for name, region in receiver.regions.items():
        if name == objects:
            done = exchange_objects(here, there)
            yield from _with_control(name, "label", done, lambda disc: exchange_region(here, there, disc))
        elif name != WHOLE:
            yield from _of_region(name, "label", region | donor.regions[name], here, there, mean)
    shape = here.objects.shape
    if objects and len(receiver.regions) > 2:  # noqa: PLR2004 - the objects, the background, and what else is named
        # an offset or a gradient lies in all of them: each alone would not decide
        yield from _of_region(SURROUNDINGS, "geometry", np.ones(shape, dtype=bool), here, there, mean)
    for name, mask in ((FRAME, frame(shape, settings.frame)), (CORNERS, corners(shape, settings.frame))):
        yield from _of_region(name, "geometry", mask, here, there, mean)
    if receiver.top is not None and donor.top is not None:
        done = exchange_pixels(here, there, receiver.top | donor.top)
        yield from _with_control(MAP_TOP, "map", done, lambda disc: exchange_pixels(here, there, disc))
    channels = len(here.pixels)
    for number, label in enumerate(labels if channels > 1 else ()):
        said = {"region": f"channel {label}", "family": "channel", "kind": "exchange", "area": 1 / channels}
        yield said, exchange_channel(here, there, number)


def _of_region(  # noqa: PLR0913, PLR0917 - a region of three scenes
    name: str, family: str, union: NDArray[np.bool_], here: Scene, there: Scene, mean: Scene
) -> Iterator[MadeImage]:
    """Yield the exchange of a region that is not the objects', its control, and its replacement by the class's mean."""
    done = exchange_region(here, there, union)
    yield from _with_control(name, family, done, lambda disc: exchange_region(here, there, disc))
    replaced = exchange_region(here, mean, union)
    yield {"region": name, "family": family, "kind": "mean", "area": float(union.mean())}, replaced.image


def _with_control(name: str, family: str, done: Exchange, control: Callable[[NDArray[np.bool_]], Exchange]) -> Iterator[MadeImage]:
    """Yield an exchange and, where there is room, that of a disc of the same area elsewhere."""
    said = {"region": name, "family": family, "area": float(done.union.mean())}
    yield said | {"kind": "exchange"}, done.image
    disc = control_region(done.union)
    if disc is not None:
        yield said | {"kind": "control"}, control(disc).image


def _classify_images(
    classifier: Classifier, rows: list[dict[str, Any]], made: list[NDArray[np.float32]], batch_size: int, *, last: bool
) -> None:
    """Classify the images made so far, in whole batches (the rest at the end), and complete their rows."""
    ready = len(made) if last else len(made) // batch_size * batch_size
    if ready == 0:
        return
    classes = classifier.contract.classes
    first = len(rows) - len(made)
    scores = softmax(classifier.logits_of(made[:ready], batch_size), axis=1)
    for row, probabilities in zip(rows[first : first + ready], scores, strict=True):
        after = classes[int(probabilities.argmax())]
        partner = classes.index(row["partner_call"])
        row |= {"call_after": after, "follows": after == row["partner_call"], "p_after": float(probabilities[partner])}
    del made[:ready]
