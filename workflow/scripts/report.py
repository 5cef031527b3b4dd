"""Write the campaign's page, with its tables and figures."""

from typing import TYPE_CHECKING

from pcim.runtime.job_log import log_to
from pcim.runtime.locks import sole_writer
from pcim.runtime.provenance import software
from pcim.stages.report import report_campaign

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with log_to(snakemake.log[0]), sole_writer(snakemake.output[0]):
    report_campaign(
        **snakemake.input,
        **snakemake.output,
        **{name: snakemake.params[name] for name in ("config", "stores", "command", "revisions")},
        software=software(),
    )
