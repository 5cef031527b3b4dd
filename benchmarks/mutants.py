"""How many mutants of the method, the metrics, the plan and the stores the tests kill: a sample, always the same, run until its time is up.

Which files are changed and which tests are asked stands in pyproject.toml (tool.mutmut). A mutant is killed when a test fails or never
ends. Survivors are listed in ``mutants/survivors.txt`` as diffs, to be looked at; a second run goes on where the first was stopped.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from harness import Row, options, report
from scipy.stats import binomtest

ROOT = Path(__file__).parents[1]
MUTMUT = Path(sys.executable).with_name("mutmut")
FEW = "pcim.halving.*"
KILLED = {"killed", "timeout", "suspicious"}
UNKNOWN = {"not checked", "skipped"}
BAR = 0.85


def mutmut(*arguments: str, timeout_s: float | None = None) -> str:
    """Run mutmut in the repository, and end it with its children when the time is up."""
    job = subprocess.Popen(
        [MUTMUT, *arguments],
        cwd=ROOT,
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
    count, minutes = (40, 5) if told.quick else (400, 60)
    print(mutmut("run", FEW)[-300:], file=sys.stderr)  # makes the mutants, and learns which test calls what
    names = sorted(states())
    if not names:
        sys.exit("mutmut made no mutants: its last lines above say why")
    sample = random.Random(0).sample(names, min(count, len(names)))
    mutmut("run", "--max-children", str(os.cpu_count()), *sample, timeout_s=60 * minutes)
    found = {name: state for name, state in states().items() if name in set(sample) and state not in UNKNOWN}
    survivors = sorted(name for name, state in found.items() if state not in KILLED)
    killed = binomtest(len(found) - len(survivors), len(found))
    ends = killed.proportion_ci(method="wilson")
    text = "\n".join(mutmut("show", name) for name in survivors)
    (ROOT / "mutants/survivors.txt").write_text(text, encoding="utf-8")
    row = Row("killed / mutants", killed.statistic, "", BAR, "higher", ends.low, ends.high, len(found))
    report("mutants", [row, Row("mutants in all", len(names), "", None, "lower")], told.quick, told.write)


if __name__ == "__main__":
    main()
