"""One chunk with all its jobs, without Snakemake: made on the spot, run stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from planted_campaign import spot_field, write_model, write_plate

from pcim.config.classifier import Region
from pcim.config.methods import PcimSettings
from pcim.config.stages import AttributeSettings, ClassifySettings, EvaluateSettings, IngestSettings
from pcim.core.plate_source import Source
from pcim.plates.inspect_field import inspect_field
from pcim.stages.attribute.job import attribute_chunk
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.classify import classify_chunk
from pcim.stages.evaluate import evaluate_chunk

if TYPE_CHECKING:
    from pathlib import Path

METHODS = ("pcim", "edge")
SETTINGS = AttributeSettings(batch_size=2, pcim=PcimSettings(steps=3), levels=1, methods=list(METHODS))
CALLED, SCORED = ClassifySettings(batch_size=3), EvaluateSettings(steps=2, sets=2, batch_size=8, substitutes=["mean"])
HOW = ["seconds"]
"""What may differ between two runs of one job."""


@dataclass(frozen=True)
class Chunk:
    """Wells of one field of four tiles each, a classifier, and where the results of the jobs go."""

    inputs: Path
    results: Path

    @classmethod
    def make(cls, folder: Path, wells: int = 2) -> Chunk:
        rng, chunk = np.random.default_rng(2), cls(folder / "inputs", folder / "results")
        fields = {("A", str(c), "0"): spot_field(rng, (70, 96), (20, 30) if c % 2 else None) for c in range(1, wells + 1)}
        masks = {key: {"spots": np.pad(np.ones((7, 7), np.uint8), ((17, 46), (27, 62)))} for key in fields}
        plate = write_plate(chunk.inputs / "p.zarr", fields, labels=masks)
        write_model(chunk.inputs / "model")
        rows = []
        for row, column, field in fields:
            key = {"plate": "p", "row": row, "column": column, "well": f"A0{column}", "field": field}
            place = {"path": f"{row}/{column}/{field}", "treatment": "t", "control_type": "", "dose": np.nan}
            rows.append(key | place | inspect_field(Source(str(plate)), place["path"], IngestSettings()).columns)
        pd.DataFrame(rows).to_parquet(chunk.inputs / "fields.parquet")
        return chunk

    @property
    def fields(self) -> str:
        return str(self.inputs / "fields.parquet")

    @property
    def job(self) -> ChunkJob:
        wells = list(pd.read_parquet(self.fields)["well"])
        model = self.inputs / "model/model.yaml"
        return ChunkJob(Source(str(self.inputs / "p.zarr")), wells, model, ["planted_campaign"], [], 0.0, gpus=0, workers=1, revision=1)

    def table(self, stage: str) -> Path:
        return self.results / stage / "A01-A02.parquet"

    def read(self, stage: str) -> pd.DataFrame:
        return pd.read_parquet(self.table(stage)).drop(columns=HOW, errors="ignore")

    def maps(self, method: str) -> Path:
        return self.results / f"{method}.zarr"

    def classify(self, settings: ClassifySettings = CALLED) -> None:
        classify_chunk(self.job, fields=self.fields, table=str(self.table("calls")), settings=settings)

    def attribute(self, method: str = "pcim", settings: AttributeSettings = SETTINGS) -> None:
        attribute_chunk(
            self.job,
            fields=self.fields,
            calls=str(self.table("calls")),
            method=method,
            maps=str(self.maps(method)),
            ledger=str(self.table(method)),
            settings=settings,
        )

    def evaluate(self, settings: EvaluateSettings = SCORED) -> None:
        evaluate_chunk(
            self.job,
            fields=self.fields,
            ledgers=[str(self.table(method)) for method in METHODS],
            maps={method: str(self.maps(method)) for method in METHODS},
            table=str(self.table("scores")),
            curves=str(self.table("curves")),
            regions={"spots": Region(label="spots")},
            objects="spots",
            background="auto",
            settings=settings,
        )

    def run(self) -> None:
        """Run every job."""
        self.classify()
        for method in METHODS:
            self.attribute(method)
        self.evaluate()


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
