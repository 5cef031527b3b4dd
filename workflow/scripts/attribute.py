"""Explain the selected views of a chunk by one method."""

from typing import TYPE_CHECKING

from pcim.config.stages import AttributeSettings
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.runtime.process import leave
from pcim.runtime.progress import telling
from pcim.stages.attribute.job import attribute_chunk
from pcim.stages.chunk_job import ChunkJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]), telling(snakemake):
    attribute_chunk(
        ChunkJob.from_rule(snakemake),
        fields=snakemake.input.fields,
        calls=snakemake.input.calls,
        method=snakemake.wildcards.method,
        maps=snakemake.params.maps,
        ledger=snakemake.output.ledger,
        settings=AttributeSettings.model_validate(snakemake.params.settings),
    )
leave()
