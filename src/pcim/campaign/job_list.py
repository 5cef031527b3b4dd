"""The outline: the jobs of a campaign and what each is about to make, written beside its results, so that they can be told apart later.

A run writes it before its first job; whoever asks for the campaign's status reads it and needs neither Snakemake nor a plate.
"""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pcim.plates.vendors import OMEZARR
from pcim.revisions import REVISIONS
from pcim.runtime.atomic_file import whole_file
from pcim.runtime.provenance import code_digest, file_digest, software

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pcim.campaign.campaign import Campaign


FORM = 1
"""The form of the file; another one is refused, not guessed at."""

Unit = Literal["field", "view", "job"]


@dataclass(frozen=True)
class Job:
    """One job: its rule, what it works on (empty: on all of them), the table that it writes last, and how many units it will do.

    `place` is where its log and benchmark lie, below ``logs`` and ``benchmarks``; both it and `table` are relative to the results.
    """

    rule: str
    table: str
    place: str
    unit: Unit = "job"
    expected: int = 1
    plate: str = ""
    model: str = ""
    method: str = ""
    chunk: str = ""


def outline_file(root: Path) -> Path:
    """Return where the outline of the campaign with results in `root` lies."""
    return root / "campaign.json"


@dataclass(frozen=True)
class Outline:
    """A campaign's outline: plates, classifiers with their plates and chunks, methods, and pairs of classifiers that are compared."""

    campaign: str
    command: str
    methods: Sequence[str]
    accept: Sequence[str]
    plates: Mapping[str, Mapping[str, Any]]
    classifiers: Mapping[str, Mapping[str, Any]]
    pairs: Sequence[tuple[str, str, str]]

    @classmethod
    def of(cls, campaign: Campaign, command: str) -> Outline:
        """Return a campaign's outline; `command` starts the campaign."""
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
        root = Path("results") / self.campaign
        told = {"started": read_made(root).get("started", time.time()), **(made or {})}
        content = {"form": FORM, **asdict(self), "provenance": told}
        with whole_file(outline_file(root)) as partial:
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def tables(self) -> list[str]:
        """Return what the jobs of the campaign write last, the report and the RO-Crate among them."""
        names = [*(job.table for job in self.jobs()), "ro-crate-metadata.json"]
        return [f"results/{self.campaign}/{name}" for name in names]

    def jobs(self) -> Iterator[Job]:
        """Yield every job of the campaign, in the order of the stages."""
        yield from self._of_plates()
        for model, plate, chunk, (called, explained) in self._chunks():
            here = f"{plate}/{chunk}"
            about: dict[str, Any] = {"unit": "view", "plate": plate, "model": model, "chunk": chunk}
            yield _job("classify", f"classify/{model}/{here}", expected=called, **about)
            for method in self.methods:
                place = f"attribute/{model}/{method}/{here}"
                yield _job("attribute", place, expected=explained, method=method, **about)
            yield _job("evaluate", f"evaluate/{model}/{here}", expected=explained, **about)
        for model, told in self.classifiers.items():
            for plate in told["plates"]:
                place = f"aggregate/{model}/{plate}"
                yield Job("aggregate", f"{place}/shares.parquet", place, plate=plate, model=model)
            yield _job("interventions", f"evaluate/{model}/interventions", model=model)
        for model, plate, other in self.pairs:
            yield _job("compare", f"evaluate/{model}/{plate}/against_{other}", plate=plate, model=model)
        yield Job("report", "report/index.html", "report")

    def _of_plates(self) -> Iterator[Job]:
        for plate, told in self.plates.items():
            if told["convert"]:
                yield Job("convert", f"ingest/{plate}/conversion.parquet", f"convert/{plate}", plate=plate)
            fields = f"ingest/{plate}/fields.parquet"
            yield Job("ingest", fields, f"ingest/{plate}", "field", told["fields"], plate)
        for model, told in self.classifiers.items():
            for rule in ("intensities", "objects"):
                for plate in told["plates"] if told[rule] else ():
                    table = f"ingest/{plate}/{rule}/{model}.parquet"
                    yield Job(rule, table, f"{rule}/{plate}/{model}", plate=plate, model=model)

    def _chunks(self) -> Iterator[tuple[str, str, str, tuple[int, int]]]:
        for model, told in self.classifiers.items():
            for plate, chunks in told["plates"].items():
                for chunk, (called, explained) in chunks.items():
                    yield model, plate, chunk, (called, explained)


def _job(rule: str, place: str, **about: Any) -> Job:
    """Return a job whose table lies where its log does, one folder aside."""
    return Job(rule, f"{place}.parquet", place, **about)


def read_outline(root: Path) -> Outline:
    """Read the outline of the campaign with results in `root`.

    Raises
    ------
    ValueError
        When there is none, or it is not of this form; says what to do.
    """
    file = outline_file(root)
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if told.pop("form") != FORM:
            raise ValueError("an outline of another version")  # noqa: TRY301 - told below, with what to do
        told.pop("provenance", None)
        return Outline(**told)
    except FileNotFoundError:
        why = "there is no such file" if root.is_dir() else f"there is no folder {root}"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"not readable as an outline: {error}"
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
    """Read what the campaign with results in `root` is made of, and when it was `started` (s since 1970); nothing where that is not told."""
    try:
        found = json.loads(outline_file(root).read_text(encoding="utf-8")).get("provenance", {})
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
    expected = campaign.expected(model)
    maps, _ = expected.maps(campaign.plates[plate], survey, wells)
    return expected.views(survey, wells), maps // expected.targets
