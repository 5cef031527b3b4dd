"""Check a plate and write its table of fields."""

from pathlib import Path
from typing import TYPE_CHECKING

from pcim.config.stages import IngestSettings
from pcim.core.plate_source import Source
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.stages.ingest import ingest_plate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]):
    ingest_plate(
        plate=snakemake.wildcards.plate,
        store=Source.from_dict(snakemake.params.store),
        platemap=Path(snakemake.input.platemap),
        conversion=snakemake.input.conversion,
        table=snakemake.output.fields,
        settings=IngestSettings.model_validate(snakemake.params.settings),
        workers=snakemake.threads,
        revision=snakemake.params.revision,
    )
