"""Write the campaign's page, with its tables and figures."""

from typing import TYPE_CHECKING

from pcim.config.config import Config
from pcim.report.inputs import CampaignRun, ReportInputs
from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.runtime.provenance import software
from pcim.stages.report import ReportOutputs, report_campaign

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]):
    report_campaign(
        ReportInputs(
            **snakemake.input,
            stores=snakemake.params.stores,
            run=CampaignRun(snakemake.params.command, snakemake.params.revisions, software()),
        ),
        ReportOutputs.from_texts(**snakemake.output),
        Config.model_validate(snakemake.params.config),
    )
