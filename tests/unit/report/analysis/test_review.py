"""Doubts: each kind is named where it applies and nowhere else; what failed is named once, with what tries it again."""

from __future__ import annotations

from typing import Any, get_args

import finished_campaign as reported
import numpy as np
import pandas as pd
import pytest

from pcim.config.report import DoubtSettings
from pcim.config.stages import QualityVerdict
from pcim.operations.job_states import UNREAD
from pcim.report.analysis.review import ACCEPTABLE, acceptable, doubtful, failures
from pcim.report.page.campaign_page import describe_failures

SURE = {
    "call": "spot",
    "truth": "spot",
    "p": 0.9,
    "fidelity": 0.4,
    "agreement": 0.5,
    "stop": "settled",
    "p_keep": 0.9,
    "p_drop": 0.1,
}


def views(*changed: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([reported.key_of("A", n + 1) | SURE | change for n, change in enumerate(changed)])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"truth": "plain"}, "called spot, true class plain"),
        ({"p": 0.59}, "undecided, p = 0.590"),
        ({"fidelity": 0.0}, "map not faithful: its order is worth 0.00"),
        ({"agreement": -0.2}, "methods disagree: rank correlation \N{MINUS SIGN}0.20"),
        ({"stop": "step limit", "p_keep": 0.3}, "not converged: p = 0.30 on what is kept, 0.10 on what is dropped"),
        ({"stop": "step limit", "p_drop": 0.7}, "not converged: p = 0.90 on what is kept, 0.70 on what is dropped"),
    ],
)
def test_each_kind_of_doubt_is_named(change: dict[str, Any], word: str) -> None:
    table = doubtful(views(change, {}), DoubtSettings())
    assert list(table["well"]) == ["A01", "A02"]
    assert list(table["why"]) == [word, ""]
    assert list(table["doubts"]) == [1, 0]


@pytest.mark.parametrize(
    "change",
    [{"truth": ""}, {"p": 0.6}, {"fidelity": 0.01}, {"fidelity": np.nan}, {"agreement": np.nan}, {"agreement": 0.1},
     {"stop": "step limit"}, {"stop": "settled", "p_keep": 0.1}, {"stop": "", "p_keep": np.nan, "p_drop": np.nan}],
)  # fmt: skip
def test_what_is_not_known_or_just_passes_is_no_doubt(change: dict[str, Any]) -> None:
    assert list(doubtful(views(change), DoubtSettings())["why"]) == [""]


def test_those_most_in_doubt_come_first_and_equals_by_their_fidelity() -> None:
    table = doubtful(views({}, {"fidelity": -0.1}, {"p": 0.5, "truth": "plain"}, {"fidelity": -0.3}), DoubtSettings())
    assert list(table["well"]) == ["A03", "A04", "A02", "A01"]


def test_thresholds_are_the_configs() -> None:
    table = doubtful(views({"p": 0.8}), DoubtSettings(undecided=0.85))
    assert list(table["doubts"]) == [1]


def test_a_view_that_its_field_explains_is_not_named_twice() -> None:
    doubts = failures(reported.fields_table(), reported.calls_table().assign(stage="classify"))
    assert list(doubts["stage"]) == ["ingest", "ingest"]
    failed = reported.calls_table().assign(stage="classify")
    failed.loc[0, ["status", "reason"]] = ["failed", "no such channel"]
    assert list(failures(reported.fields_table(), failed)["reason"])[-1] == "no such channel"


def test_an_accepted_verdict_is_no_failure_and_hides_none() -> None:
    fields = reported.fields_table().assign(qc="saturated", reason="bright")
    calls = reported.calls_table().assign(stage="classify", job="c", status="ok", reason="")
    calls.loc[0, ["status", "reason"]] = ["failed", "out of memory"]
    assert list(failures(fields, calls, ["saturated"])["reason"]) == ["out of memory"]
    listed = failures(fields, calls)
    assert len(listed) == len(fields) + 1, "a failure of a doubtful field is told too"


def test_the_command_names_each_job_that_failed_once_quoted_for_a_shell() -> None:
    failed = pd.DataFrame({
        "stage": "attribute", "status": ["failed", "failed", "failed", "saturated"], "plate": "p1",
        "job": ["r/b.parquet", "r/a b.parquet", "r/b.parquet", ""],
    })  # fmt: skip
    assert describe_failures(failed, "snakemake")["rerun"] == "snakemake --forcerun 'r/a b.parquet' r/b.parquet"
    assert describe_failures(failed, "pcim report")["rerun"] == "pcim report -- --forcerun 'r/a b.parquet' r/b.parquet"
    assert describe_failures(failed[failed["status"] != "failed"], "snakemake")["rerun"] == ""


def test_advice_is_given_only_where_it_can_help() -> None:
    failed = pd.DataFrame({
        "plate": ["p1", "p 2", "p1", "p3", "p4"], "stage": ["ingest"] * 4 + ["classify spots"],
        "status": ["missing", "truncated", "nan", "saturated", "failed"], "job": "",
    })  # fmt: skip
    told = "pcim rescan --configfile a.yaml --configfile 'b c.yaml' 'p 2' p1"
    for command in (
        "snakemake --configfile a.yaml 'b c.yaml'",
        "pcim report --configfile a.yaml --configfile 'b c.yaml'",
    ):
        assert describe_failures(failed, command)["rescan"] == told
    assert describe_failures(failed[:1], "snakemake")["rescan"] == "pcim rescan p1"
    assert describe_failures(failed[3:], command)["rescan"] == ""
    assert acceptable(failed) == ["saturated"]
    assert acceptable(failed[:3]) == []
    assert UNREAD | set(ACCEPTABLE) == set(get_args(QualityVerdict))
    assert not UNREAD & set(ACCEPTABLE)
