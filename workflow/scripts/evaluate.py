"""Score every map of a chunk."""

from typing import TYPE_CHECKING

from pcim.config.classifier import regions_of
from pcim.config.stages import EvaluateSettings
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.runtime.process import leave
from pcim.runtime.progress import telling
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.evaluate import evaluate_chunk

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]), telling(snakemake):
    evaluate_chunk(
        ChunkJob.from_rule(snakemake),
        fields=snakemake.input.fields,
        ledgers=snakemake.input.ledgers,
        **snakemake.output,
        maps=dict(zip(snakemake.params.methods, snakemake.params.maps, strict=True)),
        regions=regions_of(snakemake.params.regions),
        objects=snakemake.params.objects,
        background=snakemake.params.background,
        settings=EvaluateSettings.model_validate(snakemake.params.settings),
    )
leave()
