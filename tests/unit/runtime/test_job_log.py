"""What every job does around its one call."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from pcim.runtime.atomic_file import whole_file
from pcim.runtime.job_log import log, log_some, log_to
from pcim.runtime.journal import Journal
from pcim.runtime.locks import hold_results, sole_writer
from pcim.runtime.process import importing
from pcim.runtime.tables import write_table
from pcim.stages.chunk_job import gpus_of


def test_a_log_holds_what_was_said_and_the_traceback_of_what_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), log_to(tmp_path / "logs/job.log"):
        log.info("began")
        raise KeyError("plate")
    text = (tmp_path / "logs/job.log").read_text()
    assert "INFO began" in text
    assert "Traceback" in text
    assert "KeyError: 'plate'" in text
    assert not [handler for handler in log.handlers if isinstance(handler, logging.StreamHandler)]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with whole_file(tmp_path / "table.csv") as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    write_table(pd.DataFrame({"a": [1]}), tmp_path / "folder/table.parquet")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["table.parquet"]


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with sole_writer(tmp_path / "ledger"):
            order.append("second")

    with sole_writer(tmp_path / "ledger"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_journal_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "A01-B12.parquet")
    assert journal.rows() == []
    journal.append([{"view": "0_0", "p": float("nan")}])
    journal.path.write_bytes(journal.path.read_bytes() + b'{"view": "0_1')
    journal.append([{"view": "0_2"}])
    assert [row["view"] for row in journal.rows()] == ["0_0", "0_2"]


def test_the_campaign_is_free_again_when_its_process_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    hold = "from pcim.runtime.locks import hold_results; hold_results(pathlib.Path('results/demo/.lock'))"
    code = f"import pathlib, time; {hold}; print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match=f"is being worked on by process {other.pid} on "):
            hold_results(Path("results/demo/.lock"))
        other.kill()
        other.wait()
        hold_results(Path("results/demo/.lock"))


def test_a_gpu_counts_however_the_site_wants_it_asked_for() -> None:
    assert gpus_of({"gpu": 1}) == 1
    assert gpus_of({"gpu": 0, "gres": "gpu:1"}) == 1
    assert gpus_of({"gpu": 0}) == 0


def test_a_process_that_leaves_has_said_everything_and_ends_well(tmp_path: Path) -> None:
    code = "import atexit, pcim.runtime.process as p; atexit.register(print, 'taken apart'); print('said', end=''); p.leave()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "said"


def test_the_collector_is_as_it_was_after_imports_that_fail() -> None:
    with pytest.raises(ImportError), importing():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_of_many_lines_the_log_has_the_first_and_says_where_the_others_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pcim")
    log_some("p", [f"A/{number}/0: gone" for number in range(500)], "fields.parquet")
    assert caplog.messages[0] == "p: A/0/0: gone"
    assert caplog.messages[20:] == ["p: and 480 more: fields.parquet"]
    caplog.clear()
    log_some("p", [], "fields.parquet")
    assert caplog.messages == []
