"""Measure the percentiles of a plate's intensities that a classifier's contract asks for."""

from typing import TYPE_CHECKING

from pcim.classifiers.contract import Percentiles
from pcim.core.plate_source import Source
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.stages.intensities import measure_intensities

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]):
    measure_intensities(
        fields=snakemake.input.fields,
        store=Source.from_dict(snakemake.params.store),
        channels=snakemake.params.contract["channels"],
        percentiles=Percentiles.model_validate(snakemake.params.contract["percentiles"]),
        table=snakemake.output.table,
        workers=snakemake.threads,
        revision=snakemake.params.revision,
    )
