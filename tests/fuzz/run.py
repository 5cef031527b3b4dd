"""A long run of one target: coverage-guided (atheris, libFuzzer) from valid files and their mutants; findings become files.

    python tests/fuzz/run.py TARGET --runs 100000 --seconds 600 [--found FOLDER]

The target runs in a child process of at most 4 GB: one that crashes, hangs in a decoder or takes more is a finding, and another child
goes on. Prints one line of JSON: executions really made, inputs accepted, and findings.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "helpers")]
with atheris.instrument_imports(include=["pcim"]):
    from fuzz.targets import TARGETS, clean

_SLOW_S, _STUCK_S = 20, 60
_MEMORY = 4 * 2**30
_LARGEST = 20_000
_ROOM = 2**20


class HangError(BaseException):
    """An execution that does not end; no reader may take it for an error of its own."""


class Shared:
    """What a child tells its parent: counts, findings, and the input that it is at, kept before it is read."""

    def __init__(self) -> None:
        self._told, self._input, self._begun = (mmap.mmap(-1, room) for room in (_ROOM, _ROOM, 8))
        self.tell({"executions": 0, "accepted": 0, "findings": {}})
        self.begun = time.monotonic()

    def tell(self, told: dict[str, Any]) -> None:
        self._put(self._told, json.dumps(told).encode())

    def told(self) -> dict[str, Any]:
        return dict(json.loads(self._get(self._told)))

    @property
    def begun(self) -> float:
        """When the input was begun that the child is at."""
        return float(struct.unpack("d", self._begun[:])[0])

    @begun.setter
    def begun(self, when: float) -> None:
        self._begun[:] = struct.pack("d", when)

    def keep(self, data: bytes) -> None:
        self._put(self._input, data)

    def kept(self) -> bytes:
        return self._get(self._input)

    @staticmethod
    def _put(room: mmap.mmap, data: bytes) -> None:
        room[: 8 + len(data)] = len(data).to_bytes(8, "little") + data

    @staticmethod
    def _get(room: mmap.mmap) -> bytes:
        return room[8 : 8 + int.from_bytes(room[:8], "little")]


def keep_finding(place: str, data: bytes, name: str, folder: Path, seen: dict[str, int]) -> bool:
    """Keep an input that was not refused as it should be, once for each place where that showed; tell whether it is new."""
    seen[place] = seen.get(place, 0) + 1
    if seen[place] > 1:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
    return True


def place_of(error: BaseException) -> str:
    """Return where in PCIM an error was raised, which tells findings apart."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/src/pcim/" in frame.filename]
    if not frames:
        return f"{type(error).__name__}: {str(error)[:80]!r}"
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].name}"


def fuzz(asked: argparse.Namespace, shared: Shared, corpus: Path, seed: int) -> NoReturn:
    """Fuzz in this process until what is asked is done, and end it; what reaches new code joins the corpus."""
    target, told = TARGETS[asked.target], shared.told()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    ends = time.monotonic() + asked.seconds

    def hangs(*_: Any) -> None:
        raise HangError(f"more than {_SLOW_S} s")

    def one(data: bytes) -> None:
        shared.keep(data)
        told["executions"] += 1
        shared.tell(told)
        shared.begun = time.monotonic()
        signal.signal(signal.SIGALRM, hangs)  # libFuzzer has put its own in this place
        signal.alarm(_SLOW_S)
        try:
            told["accepted"] += target(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            if keep_finding(place_of(error), data, asked.target, asked.found, told["findings"]):
                trace = "".join(traceback.format_tb(error.__traceback__)[-3:])
                sys.stderr.write(f"FOUND {place_of(error)}: {error!r:.300}\n{trace}\n")
                sys.stderr.flush()
        finally:
            signal.alarm(0)
        if told["executions"] >= asked.runs or time.monotonic() > ends:
            shared.tell(told)
            os._exit(0)

    def mutated(data: bytes, largest: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.3:
            return bytes(atheris.Mutate(data, largest))
        return target.mutate(draw.choice(target.seeds) if draw.random() < 0.3 else data, draw, largest)

    options = [
        sys.argv[0], f"-runs={10 * asked.runs}", f"-max_len={_LARGEST}", f"-seed={seed}", "-rss_limit_mb=0", "-timeout=0", "-verbosity=0",
        f"-artifact_prefix={asked.found}/libfuzzer-{asked.target}-", str(corpus),
    ]  # fmt: skip
    atheris.Setup(options, one, custom_mutator=mutated)
    atheris.Fuzz()
    os._exit(0)


def watched(child: int, shared: Shared) -> str:
    """Wait for a child; return what is wrong with how it ended, nothing where it did what was asked."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - shared.begun > _STUCK_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"stuck for {_STUCK_S} s"
        time.sleep(0.2)
    if os.WIFSIGNALED(status):
        return f"crash: {signal.Signals(os.WTERMSIG(status)).name}"
    code = os.WEXITSTATUS(status)
    return f"crash: ended with {code}" if code else ""


def go_on(asked: argparse.Namespace, corpus: Path, counts: Counter[str], findings: Counter[str]) -> None:
    """Run child after child until what is asked is done, and count what they did and found."""
    runs, ends = asked.runs, time.monotonic() + asked.seconds
    while counts["executions"] < runs and time.monotonic() < ends:
        shared = Shared()
        asked.runs, asked.seconds = runs - counts["executions"], max(1, round(ends - time.monotonic()))
        child = os.fork()
        if not child:
            fuzz(asked, shared, corpus, seed=1 + sum(findings.values()))
        wrong, seen = watched(child, shared), shared.told()
        counts.update(executions=seen["executions"], accepted=seen["accepted"])
        if wrong:
            keep_finding(wrong, shared.kept(), asked.target, asked.found, seen["findings"])
        findings.update(seen["findings"])
        if not seen["executions"]:
            break  # it does not even begin


def main() -> None:
    """Run one target."""
    told = argparse.ArgumentParser()
    told.add_argument("target", choices=sorted(TARGETS))
    told.add_argument("--runs", type=int, default=100_000)
    told.add_argument("--seconds", type=int, default=600)
    told.add_argument("--found", type=Path, default=Path("fuzz-found"))
    asked = told.parse_args()
    asked.found.mkdir(parents=True, exist_ok=True)
    counts, findings, begun = Counter[str](), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as corpus:
        for number, valid in enumerate(TARGETS[asked.target].seeds):
            (Path(corpus) / str(number)).write_bytes(valid)
        go_on(asked, Path(corpus), counts, findings)
    with contextlib.suppress(OSError):
        asked.found.rmdir()  # where nothing was found
    clean()
    seconds = round(time.monotonic() - begun)
    sys.stdout.write(json.dumps({"target": asked.target, **counts, "seconds": seconds, "findings": dict(findings)}) + "\n")
    sys.exit(int(bool(findings)))


if __name__ == "__main__":
    main()
