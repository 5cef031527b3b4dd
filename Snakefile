"""PCIM: what does an image classifier look at? From OME-Zarr plates to maps, metrics and a report."""

import os
import shlex
import sys

from snakemake.utils import min_version

from pcim import budget
from pcim.campaign import Campaign
from pcim.jobs import hold_campaign
from pcim.outline import Outline
from pcim.revisions import REVISIONS

min_version("9.18")


# Snakemake would merge a --configfile into this one; a campaign of its own must not inherit the example's classifiers.
if "campaign" not in config:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


campaign = Campaign.load(config, look_at_plates=workflow.is_main_process)


# What starts this campaign again: the report tells it, with the failed jobs.
given = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
command = shlex.join(["snakemake", *(["--configfile", *given] if given else [])])


if workflow.is_main_process:
    print(budget.table(campaign), file=sys.stderr)


onstart:
    hold_campaign(campaign.name)
    campaign.write_plans()
    Outline.of(campaign, command).write()


# Snakemake calls no handler of a module. Where this is one, it takes its turn after the handler that is there.
if not workflow.modifier.is_main_snakefile():
    workflow._onstart = lambda log, other=workflow._onstart: (other(log), onstart())


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
        lambda wildcards: Outline.of(campaign, command).tables(),


include: "workflow/rules/ingest.smk"
include: "workflow/rules/classify.smk"
include: "workflow/rules/attribute.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
