"""The revision of each stage: an integer that is raised whenever the numbers of the stage change.

Snakemake reruns a job when its script or its params change, but not when the package behind the script does. So every
rule takes its stage's revision as a param, and every output records it: raising the number here reruns exactly that
stage and what follows from it. The golden tests fail when numbers move and the revision did not.
"""

REVISIONS: dict[str, int] = {
    "convert": 1,
    "ingest": 3,
    "classify": 1,
    "attribute": 4,
    "aggregate": 3,
    "evaluate": 4,
    "report": 4,
}
