"""PCIM: what does an image classifier look at? From OME-Zarr plates to maps, metrics and a report."""

import os
import sys
import time
from pathlib import Path

from snakemake.utils import min_version

from pcim.campaign import cost, layout
from pcim.campaign.campaign import Campaign
from pcim.campaign.input_tables import read_config
from pcim.campaign.job_list import JobList, campaign_record
from pcim.campaign.rule_inputs import RuleInputs
from pcim.core.workflow_files import start_command
from pcim.plates.vendors.failed_files import failed_files
from pcim.revisions import REVISIONS
from pcim.runtime.locks import hold_results

min_version("9.19")


# Snakemake would merge a --configfile into this one; a campaign of its own must not inherit the example's classifiers.
if "campaign" not in config:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


# Faults say file and line. Snakemake takes the files of the command line over the workflow's own.
given = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
files = [Path(file) for file in [*workflow.configfiles[len(given) :], *given]]
elsewhere = "--config" if workflow.modifier.is_main_snakefile() else "config"
is_run = workflow.is_main_process  # a job believes what the run has checked
values = read_config(files).over(config, elsewhere) if is_run else config
campaign = Campaign.load(values, look_at_plates=is_run)
rule_inputs = RuleInputs(campaign)


# What starts this campaign again: the report tells it, with the failed jobs.
command = start_command(given)
began = time.time()


if is_run:
    cost.refuse_over_budget(campaign)
    print(cost.table(campaign), file=sys.stderr)


onstart:
    try:
        hold_results(layout.lock_of_run(layout.results_of(campaign.name)))
    except RuntimeError as busy:
        sys.exit(f"pcim: {busy}")
    campaign.write_plans()
    JobList.from_campaign(campaign, command).write(
        campaign_record(campaign, given or ["config/config.yaml"])
    )


onsuccess:
    page = layout.table_of(layout.results_of(campaign.name), "report")
    if page.exists() and page.stat().st_mtime >= began:
        print(f"Report: {page}", file=sys.stderr)


# Snakemake calls no handler of a module. Where this is one, it takes its turn after the handler that is there.
if not workflow.modifier.is_main_snakefile():
    workflow._onstart = lambda log, own=workflow._onstart: (own(log), onstart())
    workflow._onsuccess = lambda log, own=workflow._onsuccess: (own(log), onsuccess())


wildcard_constraints:
    campaign=campaign.name,
    model="[A-Za-z0-9_-]+",
    other="[A-Za-z0-9_-]+",
    method="[a-z_]+",
    plate="[A-Za-z0-9_-]+",
    chunk="[A-Z]+[0-9]+-[A-Z]+[0-9]+",


rule all:
    default_target: True
    input:
        # All tables, not the report alone: while that is there, Snakemake misses none of what it is made of, and a rerun that failed
        # (its table is deleted then) would find nothing to do.
        lambda wildcards: JobList.from_campaign(campaign, command).tables(),


include: "workflow/rules/ingest.smk"
include: "workflow/rules/classify.smk"
include: "workflow/rules/attribute.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
