"""Check whether a campaign will run here. Each check says what was found and what to do."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.campaign.layout import results_of
from pcim.core.workflow_files import find_profile, workflow_folder
from pcim.operations.doctor import machine, slurm_checks, trial_jobs
from pcim.operations.doctor.machine import Check
from pcim.operations.doctor.profile_requests import read_profile, rules_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pcim.campaign.campaign import Campaign
    from pcim.operations.doctor.profile_requests import Profile

FORM = 1
TIMEOUT_S = 300.0


def examine(files: Sequence[Path], profile: str, *, with_jobs: bool, timeout_s: float = TIMEOUT_S) -> Iterator[Check]:
    """Yield check after check: this machine, the campaign, and, with a `profile` (its name or path), the cluster it names."""
    clone = _clone()
    yield from machine.check_python(clone)
    campaign, found = machine.load_campaign(files)
    yield from found
    if campaign:
        yield from machine.check_results(campaign.name)
        yield from machine.check_space(campaign)
    yield from machine.check_writers(machine.places_of(campaign, clone))
    if not profile:
        return
    yield from machine.check_shared(machine.places_of(campaign, clone), machine.mounts())
    try:
        told = read_profile(str(find_profile(profile)), rules_of(clone / "workflow/rules"))
    except ValueError as error:
        yield Check("profile", "failed", str(error), "profiles/slurm/README.md takes you through it")
        return
    yield Check("profile", "ok", f"{told.file}, executor {told.executor}")
    if told.executor in {"local", "dryrun", "touch"}:
        yield Check("SLURM", "skipped", "this profile does not use it")
        return
    yield from _examine_cluster(told, campaign, clone, with_jobs=with_jobs, timeout_s=timeout_s)


def _clone() -> Path:
    """Return where the workflow lies: in the folder where Snakemake is started, else where this package has it."""
    here = Path.cwd()
    return here if (here / "Snakefile").is_file() else workflow_folder()


def _examine_cluster(profile: Profile, campaign: Campaign | None, clone: Path, *, with_jobs: bool, timeout_s: float) -> Iterator[Check]:
    found = list(slurm_checks.check_commands())
    yield from found
    if any(check.state == "failed" for check in found):
        return
    known = slurm_checks.partitions()
    yield from slurm_checks.check_requests(profile, known)
    yield from slurm_checks.check_account(profile)
    if not with_jobs or campaign is None:
        yield Check("test job", "skipped", "--no-job" if not with_jobs else "the config has faults")
        return
    root = results_of(campaign.name)
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".doctor-", dir=root))
    told = _facts_for_jobs(campaign, clone)
    failed = False
    for job in trial_jobs.trials(profile, known, folder, told):
        for check in trial_jobs.run_trial(job, timeout_s):
            failed |= check.state in {"warning", "failed"}
            yield check
    if not failed:  # else its logs are worth reading
        shutil.rmtree(folder, ignore_errors=True)


def _facts_for_jobs(campaign: Campaign, clone: Path) -> dict[str, Any]:
    """Return what the test jobs are told of the campaign."""
    first = next(iter(campaign.config.classifiers.values()))
    places = machine.places_of(campaign, clone)
    return {
        "folder": str(Path.cwd()),
        "places": {name: str(place.absolute()) for name, place in places.items()},
        "model_yaml": str(first.model.absolute()),
        "trusted_packages": campaign.config.classify.trusted_code,
        "attribute": campaign.config.attribute.model_dump(mode="json"),
        "model": next(iter(campaign.config.classifiers)),
    }


def checks_as_dict(found: Iterable[Check]) -> dict[str, Any]:
    """Return checks as JSON holds them (docs/formats.md)."""
    listed = list(found)
    return {
        "form": FORM,
        "is_fit": not any(check.state == "failed" for check in listed),
        "checks": [asdict(c) for c in listed],
    }
