"""Checks of SLURM: whether it answers, and whether it has what the profile asks for."""

from __future__ import annotations

import getpass
import math
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcim.config.fault_messages import nearest
from pcim.operations.doctor.machine import Check, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcim.operations.doctor.profile_requests import Profile, Request

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")


@dataclass
class Partition:
    """What sinfo says of a partition: `limit` in minutes, memory in MB and processors of its largest node, GPUs in gres' words."""

    name: str
    is_default: bool = False
    is_up: bool = False
    limit: float = math.inf
    mem_mb: float = 0
    gres: str = ""


def minutes(limit: str) -> float:
    """Read SLURM's ``days-hours:minutes:seconds``, ``minutes:seconds`` or ``infinite``, in minutes."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return math.inf
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        hours, mins, seconds = (*parts, 0, 0)[:3]
    else:
        hours, mins, seconds = (0, *parts, 0)[:3] if len(parts) < 3 else parts  # noqa: PLR2004 - hours, minutes, seconds
    return int(days or 0) * 1440 + hours * 60 + mins + seconds / 60


def partitions() -> dict[str, Partition]:
    """Return the partitions of the cluster; none where sinfo does not answer."""
    found: dict[str, Partition] = {}
    for line in call("sinfo", "-h", "-o", "%P|%a|%l|%m|%G")[1].splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 5:  # noqa: PLR2004 - as asked
            continue
        name, state, limit, memory, gres = parts
        known = found.setdefault(name.rstrip("*"), Partition(name.rstrip("*")))
        known.is_default |= name.endswith("*")
        known.is_up |= state.startswith("up")
        known.limit = minutes(limit)
        known.mem_mb = max(known.mem_mb, float(re.sub(r"\D", "", memory) or 0))
        known.gres = ",".join(filter(None, (known.gres, gres if gres != "(null)" else "")))
    return found


def check_commands() -> Iterator[Check]:
    """Tell whether SLURM's commands are there and its controller answers."""
    lacking = [name for name in COMMANDS if shutil.which(name) is None]
    if lacking:
        yield Check(
            "SLURM",
            "failed",
            f"not on PATH: {', '.join(lacking)}",
            "load the cluster's module, or log in to its login node",
        )
        return
    code, out, err = call("scontrol", "ping")
    told = " ".join((out or err).split())
    is_up = code == 0 and " is UP" in told
    yield Check(
        "SLURM",
        "ok" if is_up else "failed",
        told,
        "" if is_up else "slurmctld does not answer; ask who runs the cluster",
    )


def check_requests(profile: Profile, known: dict[str, Partition]) -> Iterator[Check]:
    """Compare what each rule asks for with what its partition has."""
    for partition, requests in by_partition(profile, known).items():
        rules = ", ".join(request.rule for request in requests)
        found = known.get(partition)
        if found is None:
            what = (
                f"{partition!r}{nearest(partition, list(known))}: no such partition"
                if partition
                else "no partition is named and none is the default"
            )
            yield Check("partition", "failed", f"{what} (for {rules}); there are {', '.join(known) or 'none'}", _cure(profile))
            continue
        faults = [fault for request in requests for fault in _faults(request, found)]
        yield from (Check(f"partition {partition}", "failed", fault, _cure(profile)) for fault in faults)
        if not found.is_up:
            yield Check(f"partition {partition}", "warning", "it is not up: jobs will wait")
        if not faults:
            limit = "no time limit" if math.isinf(found.limit) else f"up to {found.limit:g} min"
            yield Check(
                f"partition {partition}",
                "ok",
                f"{limit}, {found.mem_mb:g} MB, GPUs: {found.gres or 'none'}; for {rules}",
            )
    for request in profile.requests.values():
        if request.unknown:
            told = f"{request.rule}: {', '.join(request.unknown)} is an expression that only Snakemake works out"
            yield Check("profile", "skipped", told)


def by_partition(profile: Profile, known: dict[str, Partition]) -> dict[str, list[Request]]:
    """Return partition -> the requests that go there; those that name none go to the cluster's default."""
    default = next((name for name, partition in known.items() if partition.is_default), "")
    found: dict[str, list[Request]] = {}
    for request in profile.requests.values():
        for name in (request.partition or default).split(","):
            found.setdefault(name, []).append(request)
    return found


def _cure(profile: Profile) -> str:
    return f"change {profile.file}"


def _faults(request: Request, partition: Partition) -> Iterator[str]:
    if request.runtime and request.runtime > partition.limit:
        yield f"{request.rule} asks for {request.runtime:g} min (runtime), allowed are {partition.limit:g}"
    if request.mem_mb and 0 < partition.mem_mb < request.mem_mb:
        yield f"{request.rule} asks for {request.mem_mb:g} MB (mem_mb), its largest node has {partition.mem_mb:g}"
    if request.wants_gpu and "gpu" not in partition.gres:
        yield f"{request.rule} asks for a GPU, and no node of it has one (gres: {partition.gres or 'none'})"


def check_account(profile: Profile) -> Iterator[Check]:
    """Compare accounts and qualities of service with those that accounting lets the user have."""
    accounts = sorted({request.account for request in profile.requests.values() if request.account})
    qualities = sorted({request.qos for request in profile.requests.values() if request.qos})
    if shutil.which("sacctmgr") is None:
        code, out = 127, ""
    else:
        code, out, _ = call("sacctmgr", "-n", "-P", "show", "assoc", f"user={getpass.getuser()}", "format=Account,QOS")
    rows = [line.split("|") for line in out.splitlines() if "|" in line]
    if code or not rows:
        yield Check("account", "skipped", f"accounting does not answer; the profile names {', '.join(accounts) or 'no account'}")
        return
    allowed, given = sorted({row[0] for row in rows}), {name for row in rows for name in row[1].split(",") if name}
    for what, wanted, possible in (("account", accounts, allowed), ("qos", qualities, sorted(given))):
        wrong = [name for name in wanted if name not in possible]
        if wrong:
            told = f"{', '.join(wrong)}{nearest(wrong[0], possible)}: not yours; yours: {', '.join(possible) or 'none'}"
            yield Check(what, "failed", told, _cure(profile))
        elif wanted:
            yield Check(what, "ok", ", ".join(wanted))
    if not accounts:
        yield Check("account", "ok", f"none is named; yours: {', '.join(allowed)}")
