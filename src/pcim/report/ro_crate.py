"""The campaign as a Workflow Run RO-Crate (profile 0.5).

The crate names inputs, classifiers, parameters, software, outputs, people and times. A folder of results is one entity, whatever the
folder holds: a campaign of hundreds of plates has thousands of entities, not millions. No path of the machine is in the crate, and no
address that may carry a secret: a plate with such an address is refused before a run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from rocrate.rocrate import ROCrate

from pcim.campaign.layout import MAPS, RULES, job_list_file, plan_folder
from pcim.core.plate_source import REMOTE
from pcim.core.workflow_files import workflow_folder, workflow_parts
from pcim.runtime.atomic_file import whole_file
from pcim.runtime.provenance import pixels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from pcim.classifiers.contract import Contract
    from pcim.config.config import Config
    from pcim.core.plate_source import Source

    Reference = dict[str, str]

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
WORKFLOW = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
SHA256 = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
UNSTATED = "not stated"
HOMES = {"python": "https://www.python.org/"}
PAPER = "https://arxiv.org/abs/2412.02275"
FORMATS = {
    ".html": "text/html",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    "": "text/x-python",
}
KINDS = {bool: "Boolean", int: "Integer", float: "Float"}


@dataclass(frozen=True)
class CrateInput:
    """What a crate says: the campaign's settings, what it was made of (`job_list.read_made`), what ingest found, and when it `ended`."""

    config: Config
    contracts: Mapping[str, Contract]
    sources: Mapping[str, Source]
    fields: pd.DataFrame
    made: Mapping[str, Any]
    software: Mapping[str, str]
    revisions: Mapping[str, int]
    ended: float


def copy_workflow(folder: Path) -> None:
    """Copy the Snakefile, rules and scripts that run into a folder, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in workflow_parts():
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(workflow_folder() / part, folder / part)


def write_crate(path: Path, workflow: Path, told: CrateInput) -> None:
    """Write ``ro-crate-metadata.json`` at `path`, whole or not at all; `workflow` is the folder of the copied workflow, beside it."""
    content = _Crate(path.parent, told).to_json_ld(workflow.name)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass
class _Crate:
    """A crate that grows, entity by entity. References to entities are ``{"@id": …}``."""

    root: Path
    told: CrateInput
    crate: Any = field(default_factory=lambda: ROCrate(version="1.1"))
    collections: list[Reference] = field(default_factory=list)

    def to_json_ld(self, workflow: str) -> dict[str, Any]:
        """Return the whole of it as JSON-LD; `workflow` is the folder that holds the Snakefile."""
        self.crate.metadata.extra_terms.update(SHA256)
        people, inputs, outputs = list(self.people()), dict(self.inputs()), self.outputs()
        values = self.parameters()
        software = [self.program(name, version) for name, version in self.told.software.items()]
        snakefile = self.workflow(f"{workflow}/Snakefile", software)
        self.part(f"{workflow}/", "Workflow", "The Snakefile, rules and scripts that ran.")
        for way, kinds in (("input", inputs | values), ("output", outputs)):
            snakefile[way] = [self.formal(way, name, kind, works) for name, (kind, works) in kinds.items()]
        action = self.add(
            "#run",
            "CreateAction",
            f"Run of campaign {self.told.config.campaign}",
            instrument={"@id": snakefile.id},
            object=[one for _, works in (inputs | values).values() for one in works],
            result=[one for _, works in outputs.values() for one in works],
            agent=people[0] if people else None,
            startTime=_iso(self.told.made.get("started")),
            endTime=_iso(self.told.ended),
            actionStatus="http://schema.org/CompletedActionStatus",
            description=f"Revisions of the stages: {json.dumps(dict(self.told.revisions))}",
        )
        self.describe_root(snakefile, action, people)
        content: dict[str, Any] = self.crate.metadata.generate()
        return content

    def describe_root(self, snakefile: Any, action: Reference, people: Sequence[Reference]) -> None:
        """Say what the crate as a whole is."""
        root, config = self.crate.root_dataset, self.told.config
        profiles = [self.add(url, "CreativeWork", name, version=url.rpartition("/")[2]) for url, name in PROFILES.items()]
        root["name"] = config.report.title
        root["description"] = (
            f"Campaign {config.campaign}: what {', '.join(self.told.contracts)} look at, as maps, tables and a report, by PCIM."
        )
        root["datePublished"] = _iso(self.told.ended)
        root["license"] = config.licence or UNSTATED
        root["conformsTo"], root["mentions"] = profiles, [action, *self.collections]
        if people:
            root["author"] = _single(people)
        self.crate.mainEntity = snakefile
        descriptor = self.crate.metadata
        descriptor["conformsTo"] = [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": [*PROFILES][-1]}]

    def add(self, at: str, kind: str, name: str, **properties: Any) -> Reference:
        """Add an entity that is no file of the crate; what is not known is left out."""
        given = {key: _single(value) for key, value in properties.items() if value not in (None, "", [])}
        self.crate.add_jsonld({"@id": at, "@type": kind, "name": name, **given})
        return {"@id": at}

    def part(self, path: str, name: str, description: str, **properties: Any) -> Reference:
        """Add a file of the crate, or a folder, whose path ends in a slash."""
        told = {"name": name, "description": description, **properties}
        if path.endswith("/"):
            self.crate.add_dataset(dest_path=path, properties=told)
        else:
            self.crate.add_file(dest_path=path, properties=told | {"encodingFormat": FORMATS[PurePath(path).suffix]})
        return {"@id": path}

    def collection(self, at: str, name: str, parts: Sequence[Reference]) -> tuple[str, list[Reference]]:
        """Add a collection of inputs; return its kind and a reference to it."""
        self.collections.append(self.add(at, "Collection", name, hasPart=list(parts)))
        return "Collection", self.collections[-1:]

    def people(self) -> Iterator[Reference]:
        """Add who answers for the campaign."""
        for number, person in enumerate(self.told.config.people):
            where = person.affiliation and self.add(f"#affiliation-{number}", "Organization", person.affiliation)
            identifier = f"https://orcid.org/{person.orcid}" if person.orcid else f"#person-{number}"
            yield self.add(identifier, "Person", person.name, affiliation=where)

    def inputs(self) -> Iterator[tuple[str, tuple[str, list[Reference]]]]:
        """Add plates with a digest of their pixels, plate maps and config with theirs, and classifiers: name -> kind, entities."""
        digests = sorted({(PurePath(file).name, digest) for file, digest in self.told.made.get("files", {}).items()})
        of_plates = self.told.fields.groupby("plate", sort=False)
        found = {str(plate): pixels_of(zip(of["path"], of["digest"], strict=True)) for plate, of in of_plates}
        plates = [
            self.add(
                f"#plate-{plate}", "CreativeWork", plate, identifier=f"blake2b:{found.get(plate, '')}",
                url=source.address if source.address.startswith(REMOTE) else None,
                description="OME-Zarr plate; the digest is of the pixels of all its fields, which stand in its table of fields.",
            )
            for plate, source in self.told.sources.items()
        ]  # fmt: skip
        yield "source-plates", self.collection("#plates", "Source plates", plates)
        written = [self.add(f"#file-{number}", "CreativeWork", name, sha256=digest) for number, (name, digest) in enumerate(digests)]
        if written:
            yield "source-files", self.collection("#files", "Config, plate maps, contracts, weights", written)
        models = [
            self.add(
                f"#classifier-{name}", "CreativeWork", name, sha256=contract.sha256, license=contract.licence or UNSTATED,
                description=contract.description or contract.architecture, additionalType="image classifier",
            )
            for name, contract in self.told.contracts.items()
        ]  # fmt: skip
        yield "source-classifiers", self.collection("#classifiers", "Classifiers", models)

    def parameters(self) -> dict[str, tuple[str, list[Reference]]]:
        """Add every setting as a value; of files the name alone. Name -> kind, entity."""
        content = self.told.config.model_dump(mode="json", exclude={"people", "licence"})
        return {
            name: (
                KINDS.get(type(value), "Text"),
                [self.add(f"#value-{name}", "PropertyValue", name, value=_plain(value))],
            )
            for name, value in _leaves(content)
        }

    def outputs(self) -> dict[str, tuple[str, list[Reference]]]:
        """Add the folders of tables and maps and the report: name -> kind, entities."""
        config, root = self.told.config, self.root
        pairs = [(model, plate) for model, entry in config.classifiers.items() for plate in entry.plates]
        methods, report = config.attribute.methods, RULES["report"].outputs
        folders = {
            "fields": [(RULES["ingest"].folder(plate=plate), f"Fields of {plate}") for plate in self.told.sources],
            "calls": [(RULES["classify"].folder(model=model, plate=plate), f"Calls of {model} on {plate}") for model, plate in pairs],
            "ledgers": [(RULES["attribute"].folder(model=m, method=method), f"Ledgers of {method}, "
                                                                            f"{m}") for m in config.classifiers for method in methods],
            "maps": [
                (MAPS.format(model=m, plate=plate, method=method) + "/", f"Maps of {plate} by {method}, "
                                                                         f"{m}") for m, plate in pairs for method in methods
            ],
            "means": [(RULES["aggregate"].folder(model=model, plate=plate), f"Shares and mean maps of {plate}, "
                                                                            f"{model}") for model, plate in pairs],
            "scores": [(RULES["evaluate"].folder(model=model, plate=plate), f"Scores of the maps of {plate}, "
                                                                            f"{model}") for model, plate in pairs],
            "interventions": [(RULES["interventions"].table(model=m), f"Exchanges, {m}") for m in config.classifiers],
            "report": [
                (report["page"], "Report"), (report["summary"], "Report for machines"),
                (report["tables"] + "/", "Tables of the report"), (report["figures"] + "/", "Figures of the report"),
                (report["plates"] + "/", "Pages of plates"),
            ],
            "plan": [(job_list_file(Path()).as_posix(), "Jobs and config of the "
                                                        "campaign"), (plan_folder(Path()).as_posix() + "/", "Plans of the plates")],
        }  # fmt: skip
        described = dict.fromkeys(folders, "Described in docs/formats.md of PCIM")
        return {
            name: (
                "Dataset" if of[0][0].endswith("/") else "File",
                [self.part(p, title, described[name]) for p, title in of if (root / p).exists()],
            )
            for name, of in folders.items()
            if any((root / p).exists() for p, _ in of)
        }

    def program(self, name: str, version: str) -> Reference:
        """Add a program or package by its version."""
        if name == "pcim":  # known by its code: the paper whose abstract it follows is cited, it is not the paper's program
            paper = self.add(PAPER, "ScholarlyArticle", "Siegismund et al., PCIM, 2024")
            code = self.told.made.get("code")
            return self.add("#pcim", "SoftwareApplication", name, softwareVersion=version, sha256=code, citation=paper)
        url = HOMES.get(name, f"https://pypi.org/project/{name}/{version}/")
        return self.add(url, "SoftwareApplication", name, softwareVersion=version, url=url)

    def workflow(self, path: str, software: Sequence[Reference]) -> Any:
        """Add the Snakefile as the main workflow."""
        language = self.add(
            "#snakemake", "ComputerLanguage", "Snakemake", alternateName="Snakemake",
            identifier={"@id": "https://doi.org/10.1093/bioinformatics/bty350"}, url={"@id": "https://snakemake.github.io/"},
            version=self.told.software.get("snakemake"),
        )  # fmt: skip
        kind = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
        about = {
            "@type": kind, "name": "PCIM", "programmingLanguage": language, "license": "https://spdx.org/licenses/BSD-3-Clause",
            "version": self.told.software.get("pcim", UNSTATED), "softwareRequirements": list(software), "conformsTo": {"@id": WORKFLOW},
            "encodingFormat": FORMATS[""],
            "description": "What does an image classifier look at? From OME-Zarr plates to maps, metrics and a report.",
        }  # fmt: skip
        return self.crate.add_file(dest_path=path, properties=about)

    def formal(self, way: str, name: str, kind: str, works: Sequence[Reference]) -> Reference:
        """Add what the workflow takes or gives by a name, and tie what it took or gave to it."""
        made = self.add(
            f"#{way}-{name}", "FormalParameter", name, additionalType=kind, conformsTo={"@id": PARAMETER}, workExample=list(works),
            valueRequired=way == "input",
        )  # fmt: skip
        for one in works:
            self.crate.get(one["@id"])["exampleOfWork"] = made
        return made


def _iso(seconds: float | None) -> str | None:
    """Return a time (s since 1970) as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _leaves(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by their names, ``attribute.pcim.steps``; of a file its name, without the folders of this machine."""
    for key, value in content.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        elif value is not None and value not in ({}, []):
            is_file = name == "plates" or (name.startswith("classifiers.") and key in {"model", "table"})
            yield name, PurePath(value).name if is_file else value


def _single(value: Any) -> Any:
    """Return the only item of a list of one, as JSON-LD is compacted; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, ensure_ascii=False)
