"""Write the files of a new campaign, from the plates and the contract that were found."""

from __future__ import annotations

import csv
import io
import re
import shlex
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pcim.campaign.input_tables import SOURCE_COLUMNS
from pcim.campaign.scaffold.platemap_template import ExistingPlateMap, platemap_text
from pcim.classifiers.contract import PROGRAMS
from pcim.config.base import PlainName, is_name
from pcim.config.classifier import ClassifierSettings
from pcim.config.config import BudgetSettings, Config
from pcim.config.fault_messages import nearest
from pcim.config.methods import NEEDS
from pcim.config.report import ReportSettings
from pcim.config.stages import AttributeSettings, ClassifySettings
from pcim.core.plate_source import REMOTE
from pcim.core.vocabulary import OWN_REGIONS
from pcim.plates.vendors import OMEZARR
from pcim.runtime.atomic_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from pcim.campaign.scaffold.discover import FoundPlate
    from pcim.classifiers.contract import Contract

_HEAD = """# A campaign of PCIM, written by `pcim init`; it is yours now. Paths are relative to the folder that you run it in.
# A key with # before it has its default, or is an example. Every key: config/README.md beside what `pcim where` prints
"""


_MEANINGS = {
    "treatment": "treatment",
    "control_type": "control_type (negcon, poscon)",
    "dose": "dose (a number)",
    "label": "label, the true class where it is known ({})",
    "split": "split (train: the classifier saw the well, test: it did not)",
}
"""Column of a plate map -> what it is filled with."""


@dataclass(frozen=True)
class CampaignDraft:
    """What a campaign is to be made of. `given` is a plate map that there is; `objects` the label that holds the biology."""

    folder: Path
    name: str
    plates: list[FoundPlate]
    model: Path
    contract: Contract
    given: ExistingPlateMap = field(default_factory=ExistingPlateMap)
    objects: str = ""
    places: Path | None = None
    trusted: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        """Where the config goes."""
        return self.folder / "config.yaml"

    @property
    def labels(self) -> list[str]:
        """The label images that all plates have."""
        first, *others = self.plates
        return [label for label in first.survey.labels if all(label in plate.survey.labels for plate in others)]

    @property
    def platemaps(self) -> dict[str, Path]:
        """Plate -> its plate map: one file for all plates with the same wells, of which the same is known."""
        layouts: dict[tuple[frozenset[str], str | None], str] = {}
        keys = {p.name: (frozenset(p.survey.wells), self.given.key(p, self.plates)) for p in self.plates}
        for plate, key in keys.items():
            layouts.setdefault(key, plate)
        names = {key: "platemap" if len(layouts) == 1 else f"platemap_{first}" for key, first in layouts.items()}
        return {plate: self.folder / f"{names[key]}.csv" for plate, key in keys.items()}

    def faults(self) -> list[str]:
        """Return why this makes no campaign, a line each."""
        found = [fault for plate in self.plates for fault in self._of_plate(plate)]
        try:
            TypeAdapter(PlainName).validate_python(self.name)
        except ValidationError:
            found.append(f"--name {self.name!r}: expected at most 64 small letters, digits and '_', a letter or digit first")
        package = self.contract.code
        if package and package not in self.trusted:
            found.append(f"--trust {package}: the classifier is made by code of that package or file, which would be run")
        if self.objects and self.objects not in self.labels:
            allowed = f"allowed: {self.labels}" if self.labels else "there is none; docs/plates.md says how to add them"
            near = nearest(self.objects, self.labels)
            found.append(f"--objects: {self.objects!r} is no label of every plate{near}; {allowed}")
        if self.contract.input.view == "object" and not self.objects and self.places is None:
            found.append("--objects LABEL or --places CSV: the classifier looks at crops around objects (view: object)")
        return [*found, *self.given.faults(self.plates, self.contract.classes)]

    def next_steps(self) -> list[str]:
        """Return the lines that say what to do next; commands can be copied."""
        config = shlex.quote(str(self.config))
        return [
            *self._fill_in(),
            "   Plates that differ in treatments, labels or split need a plate map each: copy it, and name the copy in plates.tsv.",
            "2. Ask whether all is right, and what it will cost:",
            f"   pcim validate --configfile {config}",
            "3. Run it; the first run explains one view a well (select in the config):",
            f"   pcim report --configfile {config}",
            f"   and open results/{self.name}/report/index.html",
        ]

    def _fill_in(self) -> list[str]:
        """Return which columns of the plate maps are to be filled in, after those that were taken over."""
        maps, told = ", ".join(map(str, sorted(set(self.platemaps.values())))), dict(_MEANINGS)
        told["label"] = told["label"].format(" or ".join(self.contract.classes))
        rows = list(self.given.rows(self.plates).values())
        taken = [name for name in dict.fromkeys(key for row in rows for key in row) if _says(rows, name)]
        left = "; ".join(words for name, words in told.items() if name not in taken)
        if not taken:
            return [
                f"1. Fill in {maps}; a spreadsheet will do. Every well is there; every other column may stay empty:",
                f"   {left}.",
            ]
        what = f"has {', '.join(taken)} of {len(rows)} well{'s' * (len(rows) != 1)}, as given"
        return [f"1. {maps} {what}; still empty, and may stay so:", f"   {left}."] if left else [f"1. {maps} {what}."]

    @property
    def channels_to_name(self) -> list[str]:
        """The channels of the first plate that lacks the classifier's and whose channels can be named; empty where there is none."""
        wanted = set(self.contract.input.channels)
        plates = (p for p in self.plates if not wanted <= set(p.survey.channels) and _can_be_named(p))
        return next((list(plate.survey.channels) for plate in plates), [])

    def _of_plate(self, plate: FoundPlate) -> Iterable[str]:
        survey, wanted = plate.survey, self.contract.input
        if lacking := [channel for channel in wanted.channels if channel not in survey.channels]:
            cure = (
                f"name all {len(survey.channels)} in their order, the classifier's among them, by --channels"
                if _can_be_named(plate)
                else "a model.yaml names channels as they are on the plate"
            )
            there = f"the classifier's channels {lacking} are not on it, which has {list(survey.channels)}"
            yield f"{plate.source.address}: {there}; {cure}"
        if misfit := wanted.misfit(survey.shape, survey.dtype, survey.pixel_size_um):
            yield f"{plate.source.address}: {misfit}"

    def files(self) -> dict[Path, str]:
        """Return path -> text of every file of the campaign, the config last."""
        maps = {self.platemaps[plate.name]: plate for plate in self.plates}
        known = {file: self.given.maps.get(self.given.key(plate, self.plates) or "", {}) for file, plate in maps.items()}
        texts = {file: platemap_text(plate.survey.wells, _as_given(known[file])) for file, plate in maps.items()}
        return texts | {self.folder / "plates.tsv": self._plates_text(), self.config: self._config_text()}

    def _plates_text(self) -> str:
        rows = [
            {
                "plate": plate.name,
                "path": _relative(plate.source.address),
                "platemap": _relative(self.platemaps[plate.name]),
            }
            | {name: _cell(getattr(plate.source, name)) for name in SOURCE_COLUMNS}
            for plate in self.plates
        ]
        used = [n for n in SOURCE_COLUMNS if any(row[n] and (n, row[n]) != ("format", OMEZARR) for row in rows)]
        text = io.StringIO()
        columns = ["plate", "path", "platemap", *used]
        writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _config_text(self) -> str:
        campaign = {"campaign": self.name, "plates": _relative(self.folder / "plates.tsv")}
        offered = {"minutes_per_chunk": Config.model_fields["minutes_per_chunk"].default}
        parts = [_HEAD, _keys(Config, campaign, offered), f"classifiers:\n  {self.contract.name}:"]
        parts.append(textwrap.indent(self._classifier_text(), "    "))
        if code := self.contract.code:
            is_program = self.contract.format in PROGRAMS
            trusted = {"trusted_programs": [code]} if is_program else {"trusted_packages": ["pcim", code]}
            parts.append(f"classify:\n{textwrap.indent(_keys(ClassifySettings, trusted, {}), '  ')}")
        parts.append(self._methods_text())
        for group, settings, keys in (
            ("budget", BudgetSettings, {"max_hours": 24.0, "max_gb": 100.0}),
            ("report", ReportSettings, {"title": None, "panels": None}),
        ):
            shown = {key: settings.model_fields[key].default if value is None else value for key, value in keys.items()}
            parts.append(f"#{group}:\n{textwrap.indent(_keys(settings, {}, shown), '  ')}")
        return "\n".join(parts)

    def _methods_text(self) -> str:
        """Return the group `attribute`, set only where the classifier does not show what some methods need."""
        offered = {key: AttributeSettings.model_fields[key].default for key in ("methods", "targets", "background")}
        fit = [method for method in offered["methods"] if NEEDS[method] in self.contract.offers]
        written = {"methods": fit} if len(fit) < len(offered["methods"]) else {}
        mark = "" if written else "#"
        return f"{mark}attribute:\n{textwrap.indent(_keys(AttributeSettings, written, offered), '  ')}"

    def _classifier_text(self) -> str:
        written: dict[str, Any] = {"model": _relative(self.model), "plates": [plate.name for plate in self.plates]}
        written |= {"truth": "label", "split": "split", "select": {"per_well": 1}}
        offered: dict[str, Any] = {"halo_px": ClassifierSettings.model_fields["halo_px"].default}
        names = {label: _region(label) for label in self.labels}
        if names:
            written["regions"] = {name: {"label": label} for label, name in names.items()}
            (written if self.objects else offered)["objects"] = names[self.objects or self.labels[0]]
        if self.contract.input.view == "object":
            written["crops"] = {"table": _relative(self.places)} if self.places else {"label": self.objects}
        return _keys(ClassifierSettings, written, offered)


def campaign_name(folder: Path) -> str:
    """Return a campaign's name after its folder: small letters, digits and '_'."""
    return re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")[:64] or "campaign"


def write_files(files: Mapping[Path, str]) -> None:
    """Write files that are not there yet, each whole or not at all.

    Raises
    ------
    FileExistsError
        With every one that is there; then none is written.
    """
    there = [str(file) for file in files if file.exists() or file.is_symlink()]
    if there:
        raise FileExistsError(f"nothing is overwritten, and there are already: {', '.join(there)}")
    for file, text in files.items():
        with whole_file(file) as hidden:
            hidden.write_text(text, encoding="utf-8")


def _keys(settings: type[BaseModel], written: Mapping[str, Any], offered: Mapping[str, Any]) -> str:
    """Return YAML of these keys in the order of the settings, each under its explanation; what is offered has a # before it."""
    lines = []
    for key, told in settings.model_fields.items():
        if key not in written and key not in offered:
            continue
        lines += textwrap.wrap(told.description or "", 110, initial_indent="# ", subsequent_indent="# ")
        value = {key: written.get(key, offered.get(key))}
        is_block = not isinstance(value[key], dict | list)
        flow = False if is_block else None  # what lies in it is then written in one line
        text = yaml.safe_dump(value, sort_keys=False, default_flow_style=flow, width=10**6, allow_unicode=True)
        lines += [line if key in written else f"#{line}" for line in text.splitlines()]
    return "\n".join([*lines, ""])


def _relative(path: str | Path) -> str:
    """Return a path relative to where we stand, if it lies below; else whole."""
    if str(path).startswith(REMOTE):
        return str(path)
    whole, here = Path(path).absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _can_be_named(plate: FoundPlate) -> bool:
    return plate.source.format != OMEZARR or all(label.isdecimal() for label in plate.survey.channels)


def _says(rows: Iterable[Mapping[str, str]], column: str) -> bool:
    """Tell whether a column says anything; a treatment that was left empty has been read as ``untreated``."""
    return bool({row.get(column, "") for row in rows} - ({"", "untreated"} if column == "treatment" else {""}))


def _as_given(rows: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Return rows in which a treatment that was left empty is empty again: people fill it in."""
    return {well: row if _says([row], "treatment") else {**row, "treatment": ""} for well, row in rows.items()}


def _cell(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _region(label: str) -> str:
    """Return a region's name for a label: letters, digits, '_' and '-', and none of those that every classifier has."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", label).strip("_-")[:50] or "objects"
    return f"{name}_label" if name in OWN_REGIONS or not is_name(name) else name
