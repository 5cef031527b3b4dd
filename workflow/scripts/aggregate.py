"""Write a plate's tables of shares and its mean maps, and finish its plates of maps."""

from typing import TYPE_CHECKING

from pcim.config.classifier import regions_of
from pcim.config.stages import AggregateSettings
from pcim.core.plate_source import Source
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.stages.aggregate.job import aggregate_plate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]):
    aggregate_plate(
        **snakemake.input,
        **snakemake.output,
        store=Source.from_dict(snakemake.params.store),
        methods=snakemake.params.methods,
        regions=regions_of(snakemake.params.regions),
        objects=snakemake.params.objects,
        names=snakemake.params.names,
        settings=AggregateSettings.model_validate(snakemake.params.settings),
        revision=snakemake.params.revision,
    )
