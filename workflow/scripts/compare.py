"""Compare the maps of two classifiers that see the same views of a plate."""

from typing import TYPE_CHECKING

from pcim.runtime.job_log import log_to
from pcim.stages.compare import compare_classifiers

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]):
    compare_classifiers(
        **snakemake.input,
        **snakemake.output,
        classifiers=(snakemake.wildcards.model, snakemake.wildcards.other),
        maps=tuple(snakemake.params.maps),
        method=snakemake.params.method,
        revision=snakemake.params.revision,
    )
