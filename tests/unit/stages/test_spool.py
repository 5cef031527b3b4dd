"""The spool: what was made is found once by the job that wants it, and by no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pcim.core.identity import ViewKey
from pcim.core.tiling import Box
from pcim.stages.attribute.spool import Spool
from pcim.stages.attribute.tasks import ExplainTask
from pcim.views.view import View

if TYPE_CHECKING:
    from pathlib import Path


def task(mark: str, field: str = "0") -> ExplainTask:
    key = ViewKey("p", "A", "1", field, "0_0")
    return ExplainTask(View(key, f"A/1/{field}", Box(0, 0, 2, 2)), "spot", ("call",), mark)


def done(of: ExplainTask, value: float) -> Any:
    return of, {"fingerprint": of.fingerprint, "steps": 3}, {"map": np.full((1, 2, 2), value, np.float32)}


def kept(folder: Path) -> list[str]:
    return sorted(file.name for file in Spool(folder / "l.parquet").folder.glob("*"))


def found(folder: Path, tasks: dict[str, list[ExplainTask]]) -> dict[str, float]:
    return {t.fingerprint: float(arrays["map"].mean()) for t, _, arrays in Spool(folder / "l.parquet").find(tasks)}


def test_a_job_finds_its_own_views_and_deletes_what_is_of_other_fields(tmp_path: Path) -> None:
    one, two, other = task("1"), task("2"), task("3", "1")
    spool = Spool(tmp_path / "l.parquet")
    spool.add("A/1/0", [done(one, 1), done(two, 2)])
    spool.add("A/1/1", [done(other, 3)])
    spool.add("A/1/0", [])
    assert kept(tmp_path) == ["000000.npz", "000001.npz"]
    assert found(tmp_path, {"A/1/0": [one, two], "A/1/1": [other]}) == {"1": 1, "2": 2, "3": 3}
    assert found(tmp_path, {"A/1/0": [two, task("changed")]}) == {"2": 2}, "what was made of other settings is not taken"
    assert kept(tmp_path) == ["000000.npz"]


def test_numbers_of_files_go_on_after_a_kill_and_a_field_that_is_stored_is_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "l.parquet")
    spool.add("A/1/0", [done(task("1"), 1)])
    again = Spool(tmp_path / "l.parquet")
    tasks = {"A/1/0": [task("1"), task("2")], "A/1/1": [task("3", "1")]}
    assert [t.fingerprint for t, _, _ in again.find(tasks)] == ["1"]
    again.add("A/1/0", [done(task("2"), 2)])
    again.add("A/1/1", [done(task("3", "1"), 3)])
    assert kept(tmp_path) == ["000000.npz", "000001.npz", "000002.npz"]
    again.drop("A/1/0")
    again.drop("A/1/0")
    assert kept(tmp_path) == ["000002.npz"], "of both, that of before the kill too"
    again.close()
    assert not again.folder.exists()


def test_a_file_that_cannot_be_read_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path / "l.parquet")
    spool.add("A/1/0", [done(task("1"), 1)])
    spool.add("A/1/0", [done(task("2"), 2)])
    first = spool.folder / "000000.npz"
    first.write_bytes(first.read_bytes()[:100])
    assert found(tmp_path, {"A/1/0": [task("1"), task("2")]}) == {"2": 2}
    assert "its views are explained again" in caplog.text
    assert kept(tmp_path) == ["000001.npz"]
