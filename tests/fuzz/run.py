"""A long run of one target: coverage-guided (atheris, libFuzzer) from valid files and their mutants; findings become files.

    python tests/fuzz/run.py TARGET --runs 100000 --seconds 600 [--found FOLDER]

Prints one line of JSON: executions really made, inputs accepted, and findings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["pcim"]):
    from fuzz.targets import TARGETS, clean
from fuzz.mutants import mutate

_SLOW_S = 20


class HangError(BaseException):
    """An execution that does not end; no reader may take it for an error of its own."""


def finding(error: BaseException, data: bytes, name: str, folder: Path, seen: dict[str, int]) -> None:
    """Keep an input that was not refused as it should be, once for each place where that showed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/src/pcim/" in frame.filename]
    at = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
    place = f"{type(error).__name__} at {at}: {str(error)[:80]!r}" if not frames else f"{type(error).__name__} at {at}"
    seen[place] = seen.get(place, 0) + 1
    if seen[place] == 1:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
        sys.stderr.write(f"FOUND {place}: {error!r:.300}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}\n")
        sys.stderr.flush()


def main() -> None:
    """Run one target."""
    told = argparse.ArgumentParser()
    told.add_argument("target", choices=sorted(TARGETS))
    told.add_argument("--runs", type=int, default=100_000)
    told.add_argument("--seconds", type=int, default=600)
    told.add_argument("--found", type=Path, default=Path("fuzz-found"))
    asked = told.parse_args()
    target = TARGETS[asked.target]
    counts: dict[str, Any] = {"executions": 0, "accepted": 0}
    seen: dict[str, int] = {}
    begun = time.monotonic()

    def hangs(*_: Any) -> None:
        raise HangError(f"more than {_SLOW_S} s")

    signal.signal(signal.SIGALRM, hangs)

    def one(data: bytes) -> None:
        counts["executions"] += 1
        signal.alarm(_SLOW_S)
        try:
            counts["accepted"] += target(data)
        except (Exception, HangError) as error:  # noqa: BLE001 - that is what is looked for
            finding(error, data, asked.target, asked.found, seen)
        finally:
            signal.alarm(0)
        if counts["executions"] >= asked.runs or time.monotonic() - begun > asked.seconds:
            seconds = round(time.monotonic() - begun)
            sys.stdout.write(
                json.dumps({"target": asked.target, **counts, "seconds": seconds, "findings": seen}) + "\n"
            )
            sys.stdout.flush()
            clean()
            os._exit(int(bool(seen)))

    def mutated(data: bytes, largest: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.3:
            return bytes(atheris.Mutate(data, largest))
        return mutate(draw.choice(target.seeds) if draw.random() < 0.3 else data, draw, largest)

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [
            sys.argv[0],
            f"-runs={10 * asked.runs}",
            "-max_len=20000",
            "-rss_limit_mb=4000",
            "-timeout=60",
            "-verbosity=0",
            corpus,
        ]
        atheris.Setup(options, one, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
