"""The jobs of a campaign and what each will write, kept beside its results.

A run writes it before its first job; whoever asks for the campaign's status reads it and needs neither Snakemake nor a plate.
"""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.campaign import layout
from pcim.plates.vendors import OMEZARR
from pcim.revisions import REVISIONS
from pcim.runtime.atomic_file import whole_file
from pcim.runtime.provenance import code_digest, file_digest, software

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pcim.campaign.campaign import Campaign


FORM = 1
"""The form of the file; another one is refused, not guessed at."""


@dataclass(frozen=True)
class PlannedJob:
    """One job: its rule, what it works on (empty: on all of them), the table that it writes last, and how many units it will do.

    `place` is where its log and benchmark lie, below ``logs`` and ``benchmarks``; both it and `table` are relative to the results.
    """

    rule: str
    table: str
    place: str
    unit: layout.Unit = "job"
    expected: int = 1
    plate: str = ""
    model: str = ""
    method: str = ""
    chunk: str = ""


@dataclass(frozen=True)
class JobList:
    """The jobs of a campaign: by plates, classifiers with their plates and chunks, methods, and pairs of classifiers to compare."""

    campaign: str
    command: str
    methods: Sequence[str]
    accept: Sequence[str]
    plates: Mapping[str, Mapping[str, Any]]
    classifiers: Mapping[str, Mapping[str, Any]]
    pairs: Sequence[tuple[str, str, str]]

    @classmethod
    def from_campaign(cls, campaign: Campaign, command: str) -> JobList:
        """Return the jobs of a campaign; `command` starts the campaign."""
        plates = {
            name: {
                "convert": entry.source.format != OMEZARR,
                "fields": sum(len(fields) for _, fields in campaign.plans[name].survey.wells.values()),
            }
            for name, entry in campaign.plates.items()
        }
        classifiers = {
            name: {
                "intensities": campaign.contracts[name].input.percentiles is not None,
                "objects": entry.crops is not None,
                # plate -> chunk -> views to be called, views to be explained
                "plates": {
                    plate: {chunk: views_of_chunk(campaign, name, plate, chunk) for chunk in campaign.chunks[plate]}
                    for plate in entry.plates
                },
            }
            for name, entry in campaign.config.classifiers.items()
        }
        config = campaign.config
        about = (campaign.name, command, config.attribute.methods, config.ingest.accept)
        return cls(*about, plates, classifiers, campaign.pairs)

    def write(self, made: Mapping[str, Any] | None = None) -> None:
        """Write it, whole or not at all, with what the campaign is `made` of (`campaign_record`) and when it was first started."""
        root = layout.results_of(self.campaign)
        told = {"started": read_made(root).get("started", time.time()), **(made or {})}
        content = {"form": FORM, **asdict(self), "provenance": told}
        with whole_file(layout.job_list_file(root)) as partial:
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def tables(self) -> list[str]:
        """Return what the jobs of the campaign write last, the report and the RO-Crate among them."""
        names = [*(job.table for job in self.jobs()), layout.RULES["report"].outputs["crate"]]
        return [str(layout.results_of(self.campaign) / name) for name in names]

    def jobs(self) -> Iterator[PlannedJob]:
        """Yield every job of the campaign, in the order of the rules; rules over the same things take turns."""
        for over, rules in groupby(layout.RULES.items(), key=lambda item: item[1].over):
            together = list(rules)
            for wildcards, needs in self._things(over):
                for name, rule in together:
                    if not rule.only or rule.only in needs:
                        yield self._job(name, rule, wildcards)

    def _things(self, over: layout.Over) -> Iterator[tuple[dict[str, str], Collection[str]]]:
        """Yield what there is one job for each of, as wildcards, with what the plate or the classifier needs."""
        if over == "plate":
            for plate, about in self.plates.items():
                yield {"plate": plate}, _true(about)
        elif over == "model":
            for model, about in self.classifiers.items():
                yield {"model": model}, _true(about)
        elif over == "model and plate":
            for model, about in self.classifiers.items():
                for plate in about["plates"]:
                    yield {"model": model, "plate": plate}, _true(about)
        elif over == "pair":
            for model, plate, other in self.pairs:
                yield {"model": model, "plate": plate, "other": other}, ()
        elif over == "campaign":
            yield {}, ()
        elif over == "chunk":
            yield from ((of_chunk, ()) for of_chunk in self._chunks())
        else:
            yield from (({**of_chunk, "method": method}, ()) for of_chunk in self._chunks() for method in self.methods)

    def _chunks(self) -> Iterator[dict[str, str]]:
        for model, about in self.classifiers.items():
            for plate, chunks in about["plates"].items():
                yield from ({"model": model, "plate": plate, "chunk": chunk} for chunk in chunks)

    def _job(self, name: str, rule: layout.RuleFiles, wildcards: dict[str, str]) -> PlannedJob:
        known = {key: value for key, value in wildcards.items() if key != "other"}
        expected = self._count_units(name, rule.unit, wildcards)
        table, place = rule.table(**wildcards), rule.place.format(**wildcards)
        return PlannedJob(name, table, place, rule.unit, expected, **known)

    def _count_units(self, rule: str, unit: layout.Unit, wildcards: dict[str, str]) -> int:
        """Return how many units a job will do."""
        if unit == "view":
            classified, explained = self.classifiers[wildcards["model"]]["plates"][wildcards["plate"]][wildcards["chunk"]]
            return int(classified if rule == "classify" else explained)
        return int(self.plates[wildcards["plate"]]["fields"]) if unit == "field" else 1


def _true(about: Mapping[str, Any]) -> list[str]:
    """Return the names of what is true."""
    return [name for name, value in about.items() if value is True]


def read_job_list(root: Path) -> JobList:
    """Read the list of jobs of the campaign with results in `root`.

    Raises
    ------
    ValueError
        When there is none, or it is not of this form; says what to do.
    """
    file = layout.job_list_file(root)
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if told.pop("form") != FORM:
            raise ValueError("a list of jobs of another version")  # noqa: TRY301 - told below, with what to do
        told.pop("provenance", None)
        return JobList(**told)
    except FileNotFoundError:
        why = "there is no such file" if root.is_dir() else f"there is no folder {root}"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"not readable as a list of jobs: {error}"
    raise ValueError(f"{file}: {why}; a run (snakemake) writes it before its first job")


def campaign_record(campaign: Campaign, configfiles: Iterable[str]) -> dict[str, Any]:
    """Return what a campaign is made of: its whole config, the SHA-256 of every file that a person wrote, revisions, software.

    Plates are not among them: their pixels' digests stand in each table of fields. Weights are: by their contract, which every
    job checks.
    """
    of_crops = (entry.crops.table for entry in campaign.config.classifiers.values() if entry.crops is not None)
    crops = [table for table in of_crops if table is not None]
    platemaps = [entry.platemap for entry in campaign.plates.values()]
    files = [*map(Path, configfiles), campaign.config.plates, *platemaps, *campaign.models, *crops]
    weights = {
        str(entry.model.parent / campaign.contracts[name].weights): campaign.contracts[name].sha256
        for name, entry in campaign.config.classifiers.items()
    }
    return {
        "config": campaign.config.model_dump(mode="json"),
        "files": {file.as_posix(): file_digest(file) for file in dict.fromkeys(files) if file.is_file()} | weights,
        "revisions": dict(REVISIONS),
        "software": software(),
        "code": code_digest(),
    }


def read_made(root: Path) -> dict[str, Any]:
    """Read what a campaign is made of and when it was `started` (s since 1970); an empty dictionary if its file does not say so."""
    try:
        found = json.loads(layout.job_list_file(root).read_text(encoding="utf-8")).get("provenance", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def rerun_command(command: str, tables: Iterable[str]) -> str:
    """Return the command that makes these tables again, and what is missing; `command` starts the campaign. Quoted for a shell."""
    forced = sorted(set(tables))
    told = f"{command} --" if command.startswith("pcim ") else command  # what follows is Snakemake's
    return f"{told} --forcerun {shlex.join(forced)}" if forced else command


def rescan_command(command: str, plates: Iterable[str]) -> str:
    """Return the command that reads these plates again, so that the next run takes up what was mended; as `rerun_command`."""
    named, words = sorted(set(plates)), shlex.split(command)
    first = words.index("--configfile") if "--configfile" in words else len(words)
    options = [word for file in words[first:] if file != "--configfile" for word in ("--configfile", file)]
    return shlex.join(["pcim", "rescan", *options, *named]) if named else ""


def views_of_chunk(campaign: Campaign, model: str, plate: str, chunk: str) -> tuple[int, int]:
    """Return how many views of a chunk a classifier will call, and how many of them each method will explain, about."""
    survey, wells = campaign.plans[plate].survey, campaign.chunks[plate][chunk]
    expected = campaign.workload(model)
    maps, _ = expected.maps(campaign.plates[plate], survey, wells)
    return expected.views(survey, wells), maps // expected.targets
