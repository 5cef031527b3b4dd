"""The pixels and the regions of views, read ahead of the network."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from pcim.plates import ngff
from pcim.plates.field_image import FieldImage
from pcim.plates.quality import digest_pixels
from pcim.views.regions import boundary_region, label_region, partition
from pcim.views.resize import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pcim.classifiers.contract import InputContract
    from pcim.config.classifier import Region
    from pcim.core.plate_source import Source
    from pcim.views.intensity import FieldRecords
    from pcim.views.view import View


_BYTES_AHEAD = 2**25
"""Pixels that may be read before the network asks for them."""

Item = TypeVar("Item")
ViewPixels: TypeAlias = "tuple[View, NDArray[Any] | str]"


class FieldLayouts:
    """The layouts of a plate's fields, each read once: by whoever opens the field, else by the first who asks for it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: dict[str, ngff.ImageLayout] = {}

    def open(self, field: str) -> FieldImage:
        """Open a field, as `FieldImage.open` does, and keep its layout; threads may open several at once."""
        image = FieldImage.open(self._source, field)
        self._known[field] = image.layout
        return image

    def of(self, field: str) -> ngff.ImageLayout:
        """Return the layout of a field; it is read only where the field was not opened."""
        if field not in self._known:
            self._known[field] = ngff.read_image(self._source.place / field)
        return self._known[field]


def read_views(  # noqa: PLR0913 - what pixels depend on, and who learns where they lie
    plate: Source,
    views: Sequence[View],
    contract: InputContract,
    workers: int,
    known: FieldRecords,
    *,
    layouts: FieldLayouts | None = None,
) -> Iterator[ViewPixels]:
    """Return an iterator of (view, raw pixels (channel, y, x) of the classifier's size or why there are none), of views that are ok.

    Reading begins with the call, so that what follows, loading a classifier say, takes no time of its own. Pixels are scaled as
    `known` says; those that are not what it says (the plate changed after it was ingested) are no pixels. Whoever needs the fields'
    layouts too hands in `layouts`, which keep what is read here.
    """
    fields = layouts or FieldLayouts(plate)
    waiting: dict[str, list[View]] = {}
    for view in views:
        if view.status == "ok":
            waiting.setdefault(view.path, []).append(view)

    def read(path: str) -> list[ViewPixels]:
        return _read_views_of(fields, path, waiting[path], contract, known)

    return chain.from_iterable(_in_order(read, list(waiting), workers, _fields_ahead(waiting, contract)))


def _in_order(read: Callable[[str], list[ViewPixels]], paths: Sequence[str], workers: int, ahead: int) -> Iterator[list[ViewPixels]]:
    """Return an iterator over `read` of each path; threads stay up to `ahead` paths in front of whoever takes them."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-ahead")
    coming = deque(pool.submit(read, path) for path in paths[:ahead])

    def take() -> Iterator[list[ViewPixels]]:
        try:
            for number in range(len(paths)):
                found = coming.popleft().result()
                if number + ahead < len(paths):
                    coming.append(pool.submit(read, paths[number + ahead]))
                yield found
        finally:
            pool.shutdown(cancel_futures=True)  # a job that ends early reads no more

    return take()


def _fields_ahead(waiting: Mapping[str, Sequence[View]], contract: InputContract) -> int:
    """Return how many fields may be in memory before their turn: few enough to stay in the processor's cache, at least 4."""
    covered = max((sum(view.box.height * view.box.width for view in views) for views in waiting.values()), default=1)
    return max(4, _BYTES_AHEAD // (covered * len(contract.channels) * np.dtype(contract.dtype).itemsize))


def _read_views_of(
    fields: FieldLayouts, path: str, views: Sequence[View], contract: InputContract, known: FieldRecords
) -> list[ViewPixels]:
    """Read one field and cut its views out."""
    try:
        pixels = fields.open(path).read(contract.channels)
    except (ngff.NgffError, OSError) as error:
        return [(view, str(error)) for view in views]
    reason = _find_changes(pixels, contract.channels, known.digests.get(path, {}))
    if reason:
        return [(view, reason) for view in views]
    if known.are_scaled and path not in known.ends:
        return [(view, "no percentiles could be measured for this field") for view in views]
    scaled = known.scale(path, pixels)
    cut = [scaled[:, *view.box.slices] for view in views]
    if 2 * sum(part.size for part in cut) < scaled.size:  # a few crops do not keep a whole field in memory
        cut = [part.copy() for part in cut]
    return [(view, fit(part, contract.size)) for view, part in zip(views, cut, strict=True)]


def _find_changes(pixels: NDArray[Any], channels: Sequence[str], known: Mapping[str, str]) -> str:
    """Say which channels are not what ingest saw; nothing where all are."""
    stray = [c for c, plane in zip(channels, pixels, strict=True) if known.get(c) and known[c] != digest_pixels(plane)]
    return f"the pixels of channels {stray} changed after the plate was ingested" if stray else ""


class Waiting:
    """How long a network waited for its data."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.seconds = 0.0

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass the items on and note how long each was waited for."""
        waited = iter(items)
        while True:
            asked = time.perf_counter()
            try:
                item = next(waited)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - asked
            yield item

    def __str__(self) -> str:
        """Say it in words, as a share of the time since the start."""
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        return f"the network waited for data {self.seconds / elapsed:.1%} of {elapsed:.1f} s"


def batches(readings: Iterable[ViewPixels], size: int) -> Iterator[tuple[list[View], list[NDArray[Any]], list[tuple[View, str]]]]:
    """Group readings into (views, their pixels (channel, y, x), views that could not be read), at most `size` at a time."""
    views: list[View] = []
    pixels: list[NDArray[Any]] = []
    unread: list[tuple[View, str]] = []
    for view, reading in readings:
        if isinstance(reading, str):
            unread.append((view, reading))
            continue
        views.append(view)
        pixels.append(reading)
        if len(views) == size:
            yield views, pixels, unread
            views, pixels, unread = [], [], []
    if views or unread:
        yield views, pixels, unread


def read_regions(image: FieldImage, regions: Mapping[str, Region]) -> dict[str, NDArray[np.bool_]]:
    """Return the regions of a field as `partition` makes them, disjoint and together the whole field (y, x)."""
    named = {}
    for name, region in regions.items():
        if region.label is not None:
            named[name] = label_region(image.read_label(region.label))
        elif region.boundary_of is not None:
            named[name] = boundary_region(image.read_label(region.boundary_of), region.width_px)
    return partition(named, image.shape)
