"""What the viewer shows: one plate and its plates of maps, found in the results of a campaign."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.campaign import layout
from pcim.campaign.job_list import read_job_list
from pcim.campaign.plan_file import read_plan
from pcim.core.plate_source import REMOTE
from pcim.operations.viewer.server import SharedFiles
from pcim.plates import ngff
from pcim.plates.colours import channel_colours
from pcim.plates.ngff_json import attributes
from pcim.plates.vendors import OMEZARR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pcim.campaign.job_list import JobList
    from pcim.campaign.plan_file import PlatePlan

_PAGE = Path(__file__).with_name("static")
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'nonce-{nonce}'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page runs only its own scripts and asks only this server. `unsafe-eval`: the decoders of chunks (Emscripten) make functions."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class MapStore:
    """A plate of maps: by which classifier and method, and where it lies."""

    model: str
    method: str
    path: Path


@dataclass(frozen=True)
class ViewerPlate:
    """A plate as it is shown: its plan, where its images lie on this machine (None: `why` not), and its maps."""

    campaign: str
    plate: str
    plan: PlatePlan
    source: Path | None
    why: str
    maps: tuple[MapStore, ...]

    def to_dict(self, begin: str = "") -> dict[str, Any]:
        """Return what the page is told, as JSON holds it; `begin` is the path of the field that is shown first.

        Of each plate the fields that are there, and its `grid`: rows, columns, and shape of the smallest level of a field, from which the
        page knows how to show the plate whole; None where it cannot.
        """
        survey, wanted = self.plan.survey, self.plan.source.fields
        wells = [
            {
                "name": name,
                "path": path,
                "fields": [[one, ngff.map_name(one)] for one in fields if not wanted or one in wanted],
            }
            for name, (path, fields) in survey.wells.items()
        ]
        first = next((f"{path}/{fields[0]}" for path, fields in survey.wells.values() if fields), "")
        source = self.source and {"version": _version(self.source), "grid": _grid(self.source, first),
                                  "channels": self._channels(self.source, first)}  # fmt: skip
        maps = [
            {"model": one.model, "method": one.method, "version": "0.5", "fields": (there := _stored_fields(one.path)),
             "grid": _grid(one.path, there[0] if there else "")}
            for one in self.maps
        ]  # fmt: skip
        return {"campaign": self.campaign, "plate": self.plate, "source": source, "why": self.why, "maps": maps,
                "wells": wells, "begin": begin}  # fmt: skip

    def _channels(self, plate: Path, field: str) -> list[dict[str, Any]]:
        """Return label, colour and window of each channel of a plate, by one of its fields; none where they cannot be told.

        The colours are those of the report; a window that the field does not name is the 0.5th to 99.5th percentile of its pixels.
        """
        try:
            image, (_, ome) = ngff.read_image(plate / field), attributes(plate / field)
            shape, _ = ngff.read_array(plate / field / image.levels[0])
            if "c" not in image.axes or len(shape) != len(image.axes):
                return []
            count = shape[image.axes.index("c")]
            windows = [one.get("window") for one in ome.get("omero", {}).get("channels", [])]
            windows = windows if len(windows) == count and all(map(_is_window, windows)) else self._windows(plate, field)
        except (ngff.NgffError, AttributeError):
            return []  # metadata is anybody's
        labels = ngff.channel_labels(image.channels, self.plan.source.channels, count)
        named = zip(labels, channel_colours(image.colours, count), windows, strict=True)
        return [{"label": label, "color": colour, "window": window} for label, colour, window in named]

    def _windows(self, plate: Path, field: str) -> list[dict[str, float]]:
        """Return the window of each channel of a field, from its pixels."""
        import numpy as np

        from pcim.plates.field_image import FieldImage

        source = replace(self.plan.source, address=str(plate), format=OMEZARR)
        planes = FieldImage.open(source, field).read()
        ends = np.quantile(np.nan_to_num(planes.reshape(len(planes), -1)), [0.005, 0.995], axis=1).T.tolist()
        return [{"start": low, "end": max(high, low + 1e-6), "min": low, "max": high} for low, high in ends]


def _is_window(window: Any) -> bool:
    """Tell whether it is a window in which something is seen."""
    low, high = (window.get("start"), window.get("end")) if isinstance(window, dict) else (None, None)
    return isinstance(low, int | float) and isinstance(high, int | float) and low < high


def find_view(results: Path, plate: str = "", models: Sequence[str] = (), methods: Sequence[str] = ()) -> ViewerPlate:
    """Find a plate of a campaign and its plates of maps by some classifiers and methods; empty: the first plate, all of its maps.

    Raises
    ------
    ValueError
        When there is no such campaign, plate, classifier or method, or there are no maps yet; names what there is.
    """
    job_list = read_job_list(results)
    plate = plate or _first_plate(results, job_list)
    _refuse_unknown("plate", [plate], job_list.plates)
    of_plate = [name for name, told in job_list.classifiers.items() if plate in told["plates"]]
    _refuse_unknown("classifier", models, of_plate)
    _refuse_unknown("method", methods, job_list.methods)
    stores = [MapStore(m, n, layout.maps_of(results, m, plate, n)) for m in models or of_plate for n in methods or job_list.methods]
    maps = tuple(one for one in stores if one.path.is_dir())
    if not maps:
        raise ValueError(f"plate {plate!r} of {results} has no maps of these yet; pcim status {results} tells how far the campaign is")
    plan = read_plan(layout.plan_file(results, plate))
    if plan is None:
        raise ValueError(f"{layout.plan_file(results, plate)}: no such file; a run writes it before its first job")
    return ViewerPlate(job_list.campaign, plate, plan, *_source(results, plate, plan), maps)


def _first_plate(results: Path, job_list: JobList) -> str:
    """Return the first plate that has maps, else the first."""
    having = [
        plate
        for plate in job_list.plates
        if any(layout.maps_of(results, model, plate, method).is_dir() for model in job_list.classifiers for method in job_list.methods)
    ]
    return next(iter([*having, *job_list.plates]), "")


def _refuse_unknown(what: str, asked: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are none of the known ones, or that are no names: they become parts of paths."""
    known = list(known)
    wrong = [name for name in asked if name not in known or not _NAME.fullmatch(name)]
    if wrong:
        raise ValueError(f"{what} {wrong[0]!r}: none of this campaign's; there are {', '.join(known)}")
    if any(not _NAME.fullmatch(name) for name in known):
        raise ValueError(f"{what}s {known}: expected names of letters, digits, - and _")


def _source(results: Path, plate: str, plan: PlatePlan) -> tuple[Path | None, str]:
    """Return where a plate's images lie on this machine; None and why where they do not."""
    if plan.source.format != OMEZARR:
        found = layout.converted_plate(results, plate)
    elif plan.source.address.startswith(REMOTE):
        return None, "The images lie on a server (s3 or https), which is not asked: the maps are shown without them."
    else:
        found = results.resolve().parents[1] / plan.source.address  # relative to where the campaign runs
    try:
        ngff.read_plate(found)
    except ngff.NgffError as error:
        return None, f"The images cannot be shown, the maps are shown without them: {error}"
    return found, ""


def _version(plate: Path) -> str:
    return ngff.read_plate(plate).version


def _stored_fields(plate: Path) -> list[str]:
    """Return the paths of the fields that a plate of maps holds by now."""
    return sorted(file.parent.relative_to(plate).as_posix() for file in plate.glob("[!.]*/[!.]*/[!.]*/zarr.json"))


def _grid(plate: Path, field: str) -> dict[str, Any] | None:
    """Return a plate's rows and columns, and height, width and channels of the smallest level of one of its fields."""
    try:
        layout, image = ngff.read_plate(plate), ngff.read_image(plate / field)
        shape, _ = ngff.read_array(plate / field / image.levels[-1])
    except ngff.NgffError:
        return None  # its metadata comes last, while it is written
    return {"rows": layout.rows, "columns": layout.columns, "wells": len(layout.wells), "height": shape[-2],
            "width": shape[-1], "channels": prod(shape[:-2])}  # fmt: skip


def shared_files(view: ViewerPlate, begin: str = "") -> SharedFiles:
    """Return what a browser gets of a view: the page with its scripts, and the plates below ``source`` and ``maps/{number}``."""
    nonce = secrets.token_urlsafe(16)
    pages = {file.relative_to(_PAGE).as_posix(): file.read_bytes() for file in _PAGE.rglob("*.*") if file.suffix in (".js", ".css")}
    html = (_PAGE / "index.html").read_text(encoding="utf-8").replace("NONCE", nonce)
    pages |= {"": html.encode(), "view.json": json.dumps(view.to_dict(begin)).encode()}
    folders = {f"maps/{number}": one.path for number, one in enumerate(view.maps)}
    folders |= {"source": view.source} if view.source else {}
    return SharedFiles(secrets.token_urlsafe(24), pages, folders, _POLICY.format(nonce=nonce))
