"""Checks of this machine: Python and packages, config, folder of results, space and quota, file systems."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pcim.campaign.campaign import Campaign
from pcim.campaign.cost import Cost, costs, refuse_over_budget
from pcim.campaign.input_tables import CampaignError, read_config
from pcim.campaign.layout import RESULTS, results_of
from pcim.core.plate_source import REMOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CheckState = Literal["ok", "skipped", "warning", "failed"]
LEAST_PYTHON = (3, 11)
SHARED = {
    "nfs", "nfs3", "nfs4", "lustre", "gpfs", "beegfs", "beegfs_nodev", "fhgfs", "ceph", "fuse.ceph", "fuse.glusterfs", "glusterfs",
    "cifs", "smb3", "afs", "panfs", "wekafs", "pvfs2", "orangefs", "gfs2", "ocfs2", "fuse.quobyte", "9p", "virtiofs", "fuse.sshfs",
}  # fmt: skip
"""File systems that several machines can have mounted at once."""

_OF_MEMORY = {"tmpfs", "ramfs", "overlay", "rootfs", "devtmpfs", "squashfs"}
_OF_ONE_NODE = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - paths to warn of
_LISTED = 6
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, how it is, what was found, and what to do about it."""

    name: str
    state: CheckState
    found: str
    cure: str = ""


def call(*command: str, timeout_s: float = _TIMEOUT_S) -> tuple[int, str, str]:
    """Run a program without a shell; return its exit code, stdout and stderr. 127: not there; 124: it did not answer in time."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace")  # noqa: S603
    except OSError as error:
        return 127, "", str(error)
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer in {timeout_s:.0f} s"
    return done.returncode, done.stdout, done.stderr


def check_python(clone: Path) -> Iterator[Check]:
    """Compare Python and the packages with what the tests ran on."""
    version = ".".join(map(str, sys.version_info[:3]))
    state: CheckState = "ok" if sys.version_info >= LEAST_PYTHON else "failed"
    yield Check("Python", state, f"{version}, {sys.executable}", "PCIM needs Python 3.11 or newer" if state == "failed" else "")
    lock = clone / "requirements/run.txt"
    if not lock.is_file():
        yield Check("packages", "skipped", f"{lock} is not there to compare with")
        return
    pins = dict(re.findall(r"^([\w.\-]+)==(\S+)$", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))
    absent, other = [], []
    for name, pinned in pins.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if found.partition("+")[0] != pinned:  # a build of torch for CUDA has a suffix
            other.append(f"{name} {found} (tested: {pinned})")
    cure = f"pip install --requirement {lock}"
    if absent:
        yield Check("packages", "failed", f"not installed: {_some(absent)}", cure)
    if other:
        yield Check("packages", "warning", f"other versions than tested: {_some(other)}", cure)
    if not absent and not other:
        yield Check("packages", "ok", f"{len(pins)}, as in {lock}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def load_campaign(files: Sequence[Path]) -> tuple[Campaign | None, list[Check]]:
    """Read the config and all it names; return the campaign, if it has no fault, and a check for each fault."""
    try:
        campaign = Campaign.load(read_config(files))
        refuse_over_budget(campaign)
    except CampaignError as error:
        return None, [
            Check("config", "failed", fault, "mend it; config/README.md beside what pcim where prints explains every key")
            for fault in error.faults
        ]
    counts = {"plate": len(campaign.plates), "classifier": len(campaign.config.classifiers)}
    held = ", ".join(f"{number} {what}{'s' * (number != 1)}" for what, number in counts.items())
    told = f"campaign {campaign.name!r}: {held}, methods {', '.join(campaign.config.attribute.methods)}"
    return campaign, [Check("config", "ok", told)]


def check_results(campaign: str) -> Iterator[Check]:
    """Write, lock and rename a file where the results go, and take it away again."""
    root = results_of(campaign)
    made = [folder for folder in (root, root.parent) if not folder.exists()]
    file = root / f".doctor-{os.getpid()}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield _try_file(file)
    except OSError as error:
        yield Check("results", "failed", f"{root}: {error}", "make it a folder that you may write to")
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()  # unless something is in it


def _try_file(file: Path) -> Check:
    cure = "locks must work there: mount with flock (Lustre: -o flock), or choose another file system"
    with file.open("w") as first, file.open() as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Check("results", "failed", f"{file.parent}: flock does not work: {error}", cure)
        try:
            fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            file.replace(file)
            return Check("results", "ok", f"{file.parent} can be written and locked")
        return Check("results", "failed", f"{file.parent}: a lock is given twice", cure)


def check_writers(places: Mapping[str, Path]) -> Iterator[Check]:
    """Tell where every user of the machine could change what is run or believed: a folder or file that all may write."""
    seen = [(name, path) for name, place in places.items() for path in (place, place.parent) if path.exists()]
    modes = [(name, path, path.stat().st_mode) for name, path in seen]
    open_to_all = [f"{name} ({path})" for name, path, mode in modes if mode & stat.S_IWOTH and not mode & stat.S_ISVTX]
    told = _some(open_to_all) if open_to_all else f"none of {len(places)} places can be written by everyone"
    yield Check("permissions", "warning" if open_to_all else "ok", told, "chmod o-w" if open_to_all else "")


def check_writable(campaign: str) -> Check:
    """Ask, writing nothing, whether the results may be written where they go."""
    root = results_of(campaign)
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    cure = "make it a folder that you may write to"
    if not there.is_dir():
        return Check("results", "failed", f"{there} is no folder", cure)
    if not os.access(there, os.W_OK | os.X_OK):
        return Check("results", "failed", f"{there.absolute()} may not be written to", cure)
    return Check("results", "ok", f"{root} may be written")


def check_space(campaign: Campaign) -> Iterator[Check]:
    """Compare what is free, and what a quota leaves, with what the campaign is still to write."""
    cost = sum(costs(campaign).values(), Cost())
    place = next(path for path in (results_of(campaign.name), RESULTS, Path()) if path.exists())
    need = f"still to write: about {cost.gigabytes:,.1f} GB before compression and {cost.files:,} files"
    free_gb, files_left = shutil.disk_usage(place).free / 1e9, os.statvfs(place).f_favail
    short = cost.gigabytes > free_gb or (0 < files_left < cost.files)
    told = f"free: {free_gb:,.1f} GB{f' and {files_left:,} files' if files_left else ''}; {need}"
    yield Check("space", "failed" if short else "ok", told, "free some, or write results elsewhere" if short else "")
    left_gb, files = quota_left(place)
    if left_gb is None and files is None:
        yield Check("quota", "skipped", "none is told by quota or lfs")
        return
    over = (left_gb is not None and cost.gigabytes > left_gb) or (files is not None and cost.files > files)
    parts = [f"{left_gb:,.1f} GB"] * (left_gb is not None) + [f"{files or 0:,} files"] * (files is not None)
    yield Check("quota", "failed" if over else "ok", f"left: {' and '.join(parts)}; {need}", "ask for more" if over else "")


def quota_left(place: Path) -> tuple[float | None, int | None]:
    """Return how many GB (10^9 bytes) and files the user's quota leaves at a place, each None where none is told."""
    user, mount, here = str(os.getuid()), mount_of(place, mounts()), str(place.resolve())
    if mount.kind == "lustre":
        lines = [call("lfs", "quota", "-q", "-u", user, here)[1].replace("\n", " ")]  # a long path has a line of its own
    else:
        lines = call("quota", "-p", "-w", "-u", user)[1].splitlines()
    for columns in (line.replace("*", "").split() for line in lines):
        if len(columns) >= 9 and columns[0] in (mount.device, mount.at, here):  # noqa: PLR2004 - name, then two times four
            files = _below_limit(columns[5:8], 1)
            return _below_limit(columns[1:4], 1024 / 1e9), None if files is None else int(files)
    return None, None


def _below_limit(columns: Sequence[str], scale: float) -> float | None:
    """Return limit - used of ``used soft hard``, scaled; None where there is no limit."""
    if not all(column.isdecimal() for column in columns):
        return None
    used, soft, hard = map(int, columns)
    limit = hard or soft
    return max(0, limit - used) * scale if limit else None


@dataclass(frozen=True)
class Mount:
    """A mounted file system: its device, where it is, its kind, and its options."""

    device: str
    at: str
    kind: str
    options: tuple[str, ...]


def mounts(table: Path = Path("/proc/mounts")) -> list[Mount]:
    """Read the mounted file systems."""
    try:
        lines = [line.split() for line in table.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return []
    return [
        Mount(_plain(device), _plain(at), _plain(kind), tuple(options.split(",")))
        for device, at, kind, options, *_ in (parts for parts in lines if len(parts) >= 4)  # noqa: PLR2004
    ]


def _plain(text: str) -> str:
    """Undo the kernel's writing of a blank and the like as a backslash and an octal number."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def mount_of(place: Path, known: Iterable[Mount]) -> Mount:
    """Return the file system that a path lies on; the last mounted wins."""
    path = place.resolve()
    best = Mount("", "", "", ())
    for mount in known:
        if path.is_relative_to(mount.at or "/") and len(mount.at) >= len(best.at):
            best = mount
    return best


def check_shared(places: Mapping[str, Path], known: Sequence[Mount]) -> Iterator[Check]:
    """Tell whether other nodes can see the places under the same paths, as far as their file systems tell: a check for each of these."""
    groups: dict[tuple[Mount, CheckState, str], list[str]] = {}
    for name, place in places.items():
        where = place.resolve()
        mount = mount_of(where, known)
        groups.setdefault((mount, *_is_shared(mount, where, is_locked=name == "results")), []).append(f"{name} ({where})")
    cure = "every node must see it under the same path; a test job tells"
    for (mount, state, why), names in groups.items():
        told = f"{mount.kind or 'unknown'} at {mount.at}{', ' * bool(why)}{why}: {_some(names)}"
        yield Check("shared", state, told, "" if state == "ok" else cure)


def _is_shared(mount: Mount, where: Path, *, is_locked: bool) -> tuple[CheckState, str]:
    if any(where.is_relative_to(top) for top in _OF_ONE_NODE) or mount.kind in _OF_MEMORY:
        return "warning", "this machine's own"
    if mount.kind not in SHARED:
        return "warning", "seen by other nodes only if it is exported to them"
    if is_locked and mount.kind == "lustre" and "flock" not in mount.options:
        return "failed", "mounted without -o flock"
    return "ok", ""


def places_of(campaign: Campaign | None, clone: Path) -> dict[str, Path]:
    """Return what every node must see: the clone, the environment, the plates, their maps and classifiers, the results."""
    found = {
        "clone": clone,
        "environment": Path(sys.prefix),
        "results": results_of(campaign.name) if campaign else RESULTS,
    }
    if campaign:
        found |= {f"plate {n}": Path(e.source.address) for n, e in campaign.plates.items() if not e.source.address.startswith(REMOTE)}
        found |= {f"classifier {name}": entry.model for name, entry in campaign.config.classifiers.items()}
    return found
