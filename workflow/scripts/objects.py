"""Find the objects of a plate that a classifier looks at."""

from typing import TYPE_CHECKING

from pcim.config.classifier import Crops
from pcim.core.plate_source import Source
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.stages.objects import find_objects

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]):
    find_objects(
        plate=snakemake.wildcards.plate,
        fields=snakemake.input.fields,
        store=Source.from_dict(snakemake.params.store),
        crops=Crops.model_validate(snakemake.params.crops),
        table=snakemake.output.table,
        workers=snakemake.threads,
        revision=snakemake.params.revision,
    )
