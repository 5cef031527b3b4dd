"""Exchange regions between views of different calls and count the calls that follow."""

from pathlib import Path
from typing import TYPE_CHECKING

from pcim.config.classifier import regions_of
from pcim.config.stages import EvaluateSettings
from pcim.core.plate_source import Source
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.runtime.process import leave
from pcim.runtime.progress import telling
from pcim.stages.chunk_job import gpus_of
from pcim.stages.interventions import intervene

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]), telling(snakemake):
    intervene(
        fields=snakemake.input.fields,
        calls=snakemake.input.calls,
        ledgers=snakemake.input.ledgers,
        intensities=snakemake.input.intensities,
        model=Path(snakemake.input.model),
        table=snakemake.output.table,
        regions=regions_of(snakemake.params.regions),
        settings=EvaluateSettings.model_validate(snakemake.params.settings),
        gpus=gpus_of(snakemake.resources),
        stores={plate: Source.from_dict(told) for plate, told in snakemake.params.stores.items()},
        **{name: snakemake.params[name] for name in ("objects", "halo_px", "maps", "trusted_packages", "revision")},
    )
leave()
