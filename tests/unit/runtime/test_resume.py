"""What a job has finished is never computed again, and nothing else is taken for finished."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from chunk_jobs import CALLED, METHODS, SCORED, SETTINGS, Chunk, files_of
from pyarrow import parquet

from pcim.attribution import optimiser
from pcim.classifiers.classifier import Classifier
from pcim.config.stages import ClassifySettings
from pcim.metrics import score_view
from pcim.plates.attribution_plate import AttributionPlate
from pcim.runtime import journal
from pcim.runtime.job_log import JobStopped
from pcim.runtime.progress import STOP_FILE
from pcim.runtime.resume import ResultCache
from pcim.stages import chunk_job

TABLES = ("calls", *METHODS, "scores", "curves")
VIEWS = 8


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Chunk:
    chunk = Chunk.make(tmp_path_factory.mktemp("undisturbed"))
    chunk.run()
    return chunk


@pytest.fixture
def fresh(undisturbed: Chunk, tmp_path: Path) -> Chunk:
    """The same chunk, of which nothing is done."""
    return Chunk(undisturbed.inputs, tmp_path / "results")


@pytest.fixture
def done(undisturbed: Chunk, tmp_path: Path) -> Chunk:
    """The same chunk, finished; as Snakemake does before a rerun, the declared outputs are deleted."""
    chunk = Chunk(undisturbed.inputs, tmp_path / "results")
    shutil.copytree(undisturbed.results, chunk.results)
    for table in TABLES[-2:]:
        chunk.table(table).unlink()
    return chunk


def same(chunk: Chunk, other: Chunk, *tables: str) -> None:
    for table in tables:
        pd.testing.assert_frame_equal(chunk.read(table), other.read(table), check_exact=True)
    for method in set(tables) & set(METHODS):
        assert files_of(chunk.maps(method)) == files_of(other.maps(method))
        assert not list(chunk.table(method).parent.glob(".*.spool"))


class Count:
    """Counts the views that are worked on, stage by stage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called = self.explained = self.scored = 0
        logits_of, score = Classifier.logits_of, score_view.score
        learn_each = optimiser.learn_each

        def asked(classifier: Any, raw: Any, size: int) -> Any:
            self.called += len(raw)
            return logits_of(classifier, raw, size)

        def learnt(classify: Any, images: Any, *rest: Any, **more: Any) -> Any:
            self.explained += len(images)
            return learn_each(classify, images, *rest, **more)

        def scored(*case: Any) -> Any:
            self.scored += 1
            return score(*case)

        monkeypatch.setattr(Classifier, "logits_of", asked)
        monkeypatch.setattr("pcim.attribution.pcim.learn_each", learnt)
        monkeypatch.setattr(score_view, "score", scored)


def until_done(work: Any, stop: Path) -> int:
    """Run a job that is stopped after every batch, again and again; return how often it was stopped."""
    for stops in range(100):
        try:
            work()
        except JobStopped:
            assert stop.exists()
            continue
        return stops
    raise AssertionError("never done")


def test_a_job_that_is_stopped_after_every_batch_ends_with_the_same_bytes_and_does_nothing_twice(
    undisturbed: Chunk, fresh: Chunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STOP_FILE, str(tmp_path / "stop"))
    (tmp_path / "stop").touch()
    count = Count(monkeypatch)
    assert until_done(fresh.classify, tmp_path / "stop") == 2  # 3 + 3 + 2 views
    assert count.called == VIEWS + 3 * 2, "and the stored test input, whenever the classifier is loaded"
    stops = [until_done(lambda method=method: fresh.attribute(method), tmp_path / "stop") for method in METHODS]
    assert stops[1] == 3  # 2 + 2 + 2 + 2 views
    assert stops[0] >= 3
    assert until_done(fresh.evaluate, tmp_path / "stop") == VIEWS - 1
    assert count.scored == VIEWS
    same(fresh, undisturbed, *TABLES)


def test_finished_views_are_not_asked_about_when_their_table_is_gone(
    undisturbed: Chunk, done: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_job.ChunkJob, "load_classifier", lambda job: pytest.fail("the classifier was loaded"))
    for table in TABLES[:-2]:
        done.table(table).unlink()
    done.run()
    same(done, undisturbed, *TABLES)
    seconds = [pd.read_parquet(chunk.table("calls"))["seconds"].tolist() for chunk in (done, undisturbed)]
    assert seconds[0] == seconds[1], "nothing was timed anew"


@pytest.mark.parametrize("change", ["batch_size", "revision", "steps", "partners", "maps"])
def test_exactly_what_changed_is_done_again(done: Chunk, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, job = Count(monkeypatch), done.job
    if change == "batch_size":
        done.classify(ClassifySettings(batch_size=4))
        assert count.called == VIEWS + 2
    elif change == "revision":
        monkeypatch.setattr(Chunk, "job", property(lambda _: chunk_job.ChunkJob(**(vars(job) | {"revision": 2}))))
        done.classify(CALLED)
        done.evaluate()
        assert (count.called - 2 * 2, count.scored) == (VIEWS, VIEWS)
    elif change in {"steps", "partners"}:
        done.evaluate(SCORED.model_copy(update={change: 3}))
        assert count.scored == (VIEWS if change == "steps" else 0), "interventions are no matter of scores"
    else:
        ledger = pd.read_parquet(done.table("edge"))
        ledger.loc[0, "digest"] = "another"
        ledger.to_parquet(done.table("edge"))
        done.evaluate()
        assert count.scored == 1


@pytest.mark.parametrize("loss", ["missing", "empty", "cut", "flipped"])
@pytest.mark.parametrize("array", ["0", "weights/0", "labels/top/0"])
def test_a_field_that_its_node_took_down_with_it_is_explained_again(
    undisturbed: Chunk, done: Chunk, loss: str, array: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal was on the disk, the field's files were not."""
    count = Count(monkeypatch)
    shard = next(file for file in (done.maps("pcim") / "A/1/0" / array / "c").rglob("*") if file.is_file())
    content = shard.read_bytes()
    middle = len(content) // 3
    shard.write_bytes({"missing": b"", "empty": b"", "cut": content[:middle],
                       "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]}[loss])  # fmt: skip
    if loss == "missing":
        shard.unlink()
    done.attribute("pcim")
    assert count.explained == VIEWS / 2, "one field of two"
    same(done, undisturbed, "pcim")


def test_a_control_from_another_well_that_changed_is_a_change(done: Chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    count, ledger = Count(monkeypatch), pd.read_parquet(done.table("pcim"))
    ledger.loc[len(ledger) - 1, "digest"] = "another"
    ledger.to_parquet(done.table("pcim"))
    done.evaluate()
    assert count.scored == 1 + 4, "the view itself, and those of the well whose control it is"


def test_kept_rows_that_cannot_be_read_are_made_again(undisturbed: Chunk, done: Chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    count = Count(monkeypatch)
    for file in done.table("scores").parent.glob(".*.kept"):
        file.unlink()
        file.write_bytes(b"torn")
    done.evaluate()
    assert count.scored == VIEWS
    same(done, undisturbed, "scores", "curves")


def test_where_there_are_no_links_tables_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    kept = ResultCache(tmp_path / "a.parquet")
    kept.add({"x": [[{"view": "0_0", "p": 0.1}]]})
    assert kept.find() == {"x": [[{"view": "0_0", "p": 0.1}]]}
    kept.write(pd.DataFrame({"view": ["0_0"], "p": [0.1], "fingerprint": ["x"]}))
    (tmp_path / "a.parquet").unlink()
    assert [path.name for path in tmp_path.iterdir()] == [".a.parquet.kept"]
    assert kept.find() == {"x": [[{"view": "0_0", "p": 0.1}]]}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["map", "journal", "spool", "table"])
def test_a_disk_that_is_full_fails_the_job_and_no_view(
    undisturbed: Chunk, fresh: Chunk, where: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.classify()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    target = {
        "map": (AttributionPlate, "write_field"),
        "journal": (journal.Journal, "append"),
        "spool": (np, "savez"),
        "table": (parquet, "write_table"),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(*target, full)
        with pytest.raises(OSError, match=os.strerror(code)):
            fresh.attribute()
    assert not fresh.table("pcim").exists()
    fresh.attribute()
    same(fresh, undisturbed, "pcim")


class Small(torch.nn.Module):
    """Has memory for so many images at once."""

    def __init__(self, network: torch.nn.Module, most: int) -> None:
        super().__init__()
        self.network, self.most = network, most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        scores: torch.Tensor = self.network(images)
        return scores


def test_too_small_a_memory_halves_the_batch_of_every_stage_and_the_tables_say_so(
    fresh: Chunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = chunk_job.ChunkJob.load_classifier
    small = Chunk(fresh.inputs, tmp_path / "small")
    for chunk, size, most in ((fresh, 2, 1000), (small, 4, 4)):
        monkeypatch.setattr(
            chunk_job.ChunkJob,
            "load_classifier",
            lambda job, most=most: Classifier((known := load(job)).network and Small(known.network, most), known.contract, known.device),
        )  # fmt: skip
        chunk.classify(ClassifySettings(batch_size=4 if most > 4 else 8))
        for method in METHODS:
            chunk.attribute(method, SETTINGS.model_copy(update={"batch_size": size}))
        chunk.evaluate(SCORED.model_copy(update={"batch_size": 4 if most > 4 else 16}))
    for table, used in (("calls", 4), ("pcim", 2), ("scores", 4)):
        ones, others = fresh.read(table), small.read(table)
        assert set(others["batch_size"]) == {used}
        own = ["fingerprint"] if table != "pcim" else []
        pd.testing.assert_frame_equal(ones.drop(columns=own), others.drop(columns=own), check_exact=True)
    assert files_of(fresh.maps("pcim")) == files_of(small.maps("pcim"))


def test_a_gpu_that_was_asked_for_and_is_not_visible_is_an_error(fresh: Chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    job = fresh.job
    monkeypatch.setattr(Chunk, "job", property(lambda _: chunk_job.ChunkJob(**(vars(job) | {"gpus": 1}))))
    with pytest.raises(ValueError, match="a GPU was asked for"):
        fresh.classify()


def test_a_chunk_without_a_view_has_empty_tables(fresh: Chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = fresh.job
    monkeypatch.setattr(Chunk, "job", property(lambda _: chunk_job.ChunkJob(**(vars(job) | {"wells": []}))))
    for _ in range(2):
        fresh.run()
        assert [len(fresh.read(table)) for table in TABLES] == [0] * len(TABLES)
