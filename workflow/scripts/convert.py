"""Write a vendor's export as an OME-Zarr plate."""

from pathlib import Path
from typing import TYPE_CHECKING

from pcim.core.plate_source import Source
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.stages.convert import convert_plate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]):
    convert_plate(
        plate=snakemake.wildcards.plate,
        source=Source.from_dict(snakemake.params.source),
        store=Path(snakemake.params.store),
        table=snakemake.output.table,
        levels=snakemake.params.levels,
        workers=snakemake.threads,
        revision=snakemake.params.revision,
        failed=snakemake.params.failed,
    )
