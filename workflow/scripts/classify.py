"""Call every view of a chunk's wells."""

from typing import TYPE_CHECKING

from pcim.config.stages import ClassifySettings
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.runtime.process import leave
from pcim.runtime.progress import telling
from pcim.stages.chunk_job import ChunkJob
from pcim.stages.classify import classify_chunk

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]), telling(snakemake):
    classify_chunk(
        ChunkJob.from_rule(snakemake),
        fields=snakemake.input.fields,
        table=snakemake.output.calls,
        settings=ClassifySettings.model_validate(snakemake.params.settings),
    )
leave()
