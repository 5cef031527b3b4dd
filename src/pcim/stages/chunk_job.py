"""What a job on a chunk is told by the workflow, and the classifier that it loads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.classifiers.contract import load_contract
from pcim.core.plate_source import Source
from pcim.runtime.process import importing
from pcim.runtime.provenance import pixels_of, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from pcim.classifiers.classifier import Classifier
    from pcim.classifiers.contract import Contract


@dataclass(frozen=True)
class ChunkJob:
    """What every job on a chunk is told: the source plate, its wells, the classifier, and what it may use.

    `model` is where the classifier lies, or, from Python, the classifier itself.
    """

    store: Source
    wells: Sequence[str]
    model: Path | Classifier
    trusted_packages: Sequence[str]
    accept: Sequence[str]
    max_failed: float
    gpus: int
    workers: int
    revision: int
    intensities: Sequence[str] = ()
    objects: Sequence[str] = ()

    @classmethod
    def from_rule(cls, snakemake: Any) -> ChunkJob:
        """Read it from a rule with input `model`, params `chunk` and `revision`, and resource `gpu`."""
        told = dict(snakemake.params.chunk)
        return cls(
            store=Source.from_dict(told.pop("store")),
            model=Path(snakemake.input.model),
            gpus=gpus_of(snakemake.resources),
            workers=int(snakemake.threads),
            revision=int(snakemake.params.revision),
            intensities=list(snakemake.input.intensities),
            objects=list(snakemake.input.get("objects", [])),
            **told,
        )

    @cached_property
    def contract(self) -> Contract:
        """The classifier's contract, read once."""
        return load_contract(self.model) if isinstance(self.model, Path) else self.model.contract

    def load_classifier(self) -> Classifier:
        """Load the job's classifier onto its device, and torch with it: what can be read before is read meanwhile."""
        if not isinstance(self.model, Path):
            return self.model
        with importing():
            from pcim.classifiers.classifier import load_classifier, pick_device

        return load_classifier(self.model, self.trusted_packages, pick_device(self.gpus))


def gpus_of(resources: Any) -> int:
    """Return how many GPUs a job was given, asked for as ``gpu: 1`` or, where a site wants that, as ``gres: "gpu:1"``."""
    return int(resources.get("gpu", 0)) or int("gpu" in str(resources.get("gres", "")))


def check_failures(table: pd.DataFrame, max_failed: float, what: str) -> None:
    """Let a job fail when too many of its views failed (skipped views do not count).

    Raises
    ------
    RuntimeError
        With the commonest reasons.
    """
    tried = table[table["status"] != "skipped"]
    failed = tried[tried["status"] == "failed"]
    if len(failed) > max_failed * len(tried):
        reasons = failed["reason"].value_counts().head(5)
        listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
        raise RuntimeError(f"{what}: {len(failed)} of {len(tried)} views failed, allowed are {max_failed:.0%}: {listed}")


def of_chunk(stage: str, job: ChunkJob, seen: pd.DataFrame, settings: Mapping[str, Any], **of: Any) -> dict[str, Any]:
    """Return the record of a job on a chunk: all that the job was told, so that it can be done again (`pcim.operations.reproduce`).

    `seen` is the plate's table of fields.
    """
    here = seen[seen["well"].isin(list(job.wells))]
    told = {name: list(getattr(job, name)) for name in ("wells", "trusted_packages", "accept", "intensities", "objects")}
    told |= {name: getattr(job, name) for name in ("max_failed", "gpus", "workers")}
    return record(
        stage,
        job.revision,
        job=told | {"store": job.store.to_dict(), "model": str(job.model)},
        classifier=job.contract.model_dump(mode="json"),
        settings=dict(settings),
        pixels=pixels_of(zip(here["path"], here["digest"], strict=True)),
        **of,
    )
