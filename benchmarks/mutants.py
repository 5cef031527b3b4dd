"""How many mutants of the method, the metrics, the plan and the stores the tests kill: a sample, always the same, run until its time is up.

Which files are changed and which tests are asked stands in pyproject.toml (tool.mutmut). A mutant is killed when a test fails or never
ends; those that never ended are counted on their own too. The quickest tests are asked first. Survivors are listed in
``mutants/survivors.txt`` as diffs, to be looked at; a second run goes on where the first was stopped.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from harness import Row, options, report
from scipy.stats import binomtest

ROOT = Path(__file__).parents[1]
MUTMUT = Path(sys.executable).with_name("mutmut")
FEW = "pcim.classifiers.out_of_memory.x__halve__*"
SLICE = 80
"""Mutants a run: mutmut takes the quick ones first, so a run that was cut short says nothing of the slow ones and does not count."""
KILLED = {"killed", "timeout", "suspicious"}
UNKNOWN = {"not checked", "skipped"}
BAR = 0.85


def mutmut(*arguments: str, timeout_s: float | None = None) -> str:
    """Run mutmut in the repository, and end it with its children when the time is up."""
    job = subprocess.Popen(
        [MUTMUT, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_ADDOPTS": "-p quickest_first"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        return job.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, 9)
        return job.communicate()[0]


def states() -> dict[str, str]:
    """Return mutant -> what became of it."""
    lines = [line.strip() for line in mutmut("results", "--all", "true").splitlines()]
    return dict(line.rsplit(": ", 1) for line in lines if line.startswith("pcim."))


def main() -> None:
    told = options(__doc__ or "")
    count, minutes = (16, 15) if told.quick else (400, 60)
    print(mutmut("run", FEW)[-300:], file=sys.stderr)  # makes the mutants, and learns which test calls what
    names = sorted(states())
    if not names:
        sys.exit("mutmut made no mutants: its last lines above say why")
    sample, checked = random.Random(0).sample(names, min(count, len(names))), []
    known, end = states(), time.monotonic() + 60 * minutes
    for part in (sample[at : at + SLICE] for at in range(0, len(sample), SLICE)):
        new = [name for name in part if known[name] in UNKNOWN]
        if new:
            mutmut("run", "--max-children", str(os.cpu_count()), *new, timeout_s=max(0, end - time.monotonic()))
        if time.monotonic() > end:
            break
        checked += part
    found = {name: state for name, state in states().items() if name in set(checked) and state not in UNKNOWN}
    if not found:
        sys.exit(f"of {len(sample)} mutants no {SLICE} were tried within {minutes} minutes: run it again, it goes on from here")
    survivors = sorted(name for name, state in found.items() if state not in KILLED)
    killed = binomtest(len(found) - len(survivors), len(found))
    ends = killed.proportion_ci(method="wilson")
    text = "\n".join(mutmut("show", name) for name in survivors)
    (ROOT / "mutants/survivors.txt").write_text(text, encoding="utf-8")
    row = Row("killed / mutants", killed.statistic, "", BAR, "higher", ends.low, ends.high, len(found))
    endless = sum(state == "timeout" for state in found.values())
    report(
        "mutants",
        [
            row,
            Row("of these by a test that never ended", endless, "", None, "lower"),
            Row("mutants in all", len(names), "", None, "lower"),
        ],
        told.quick,
        told.write,
    )


if __name__ == "__main__":
    main()
