"""Every reader of foreign files, on what broke one once and on fresh mutants: it accepts, or refuses by an error that callers catch."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.mutants import HOSTILE
from fuzz.targets import TARGETS, clean
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

CASES = sorted((Path(__file__).parent / "cases").iterdir())
EXAMPLES = 100
BINARY = ["arrays", "tiff"]
"""Decoders in C may end their process, not only raise."""
TEXTS = sorted(TARGETS.keys() - BINARY)
_IN_A_CHILD = """
import random, resource, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/helpers"]
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
from fuzz.targets import TARGETS, clean
name, examples = sys.argv[2], int(sys.argv[3])
target, draw = TARGETS[name], random.Random(f"{name} 1")
try:
    print(sum(target(target.mutate(draw.choice(target.seeds), draw, 5000)) for _ in range(examples)))
finally:
    clean()
"""


@pytest.fixture(autouse=True, scope="module")
def _folder() -> Iterator[None]:
    yield
    clean()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_valid_is_accepted(name: str) -> None:
    for data in TARGETS[name].seeds:
        assert TARGETS[name](data)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_what_broke_a_reader_once_is_refused_soon(case: Path) -> None:
    begun = time.process_time()
    TARGETS[case.name.partition("-")[0]](case.read_bytes())
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("name", TEXTS)
def test_mutants_of_valid_files_are_accepted_or_refused(name: str) -> None:
    target, draw = TARGETS[name], random.Random(f"{name} 1")
    accepted = sum(target(target.mutate(draw.choice(target.seeds), draw, 5000)) for _ in range(EXAMPLES))
    assert 0 < accepted < EXAMPLES  # mutants are neither all broken nor all harmless


@pytest.mark.parametrize("name", BINARY)
def test_mutants_of_binary_files_are_read_or_refused_within_4_gb(name: str) -> None:
    words = [sys.executable, "-c", _IN_A_CHILD, str(Path(__file__).parents[1]), name, str(4 * EXAMPLES)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0 < int(done.stdout) < 4 * EXAMPLES


@pytest.mark.parametrize("name", TEXTS)
def test_any_words_anywhere_in_a_valid_file_are_accepted_or_refused(name: str) -> None:
    """Hypothesis makes a finding small before it is told."""
    target = TARGETS[name]
    valid = target.seeds[0]

    @seed(1)
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(valid)), st.integers(0, 30), st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=20)))
    @example(0, len(valid), b"")
    def law(place: int, dropped: int, put: bytes) -> None:
        target(valid[:place] + put + valid[place + dropped :])

    law()
