"""The plan is made once and kept, and says beforehand what a campaign will cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planted_campaign import spot_field, write_campaign, write_plate

from pcim.campaign import cost
from pcim.campaign.campaign import Campaign
from pcim.campaign.input_tables import CampaignError
from pcim.campaign.layout import plan_file, results_of
from pcim.campaign.plan import plan_plate
from pcim.campaign.plan_file import read_plan
from pcim.config.classifier import Region
from pcim.core.plate_source import Source
from pcim.plates.inventory import Survey


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return write_campaign(tmp_path, plates=2)


def grown(folder: Path, wells: list[tuple[str, str]]) -> Source:
    import numpy as np

    pixels = spot_field(np.random.default_rng(0), (20, 24), None)
    return Source(str(write_plate(folder / "p.zarr", {(row, column, "0"): pixels for row, column in wells})))


def two_wells(_: Survey, wells: Collection[str], planned: int) -> tuple[int, str]:
    return 2, f"{len(wells)} new wells, {planned} chunks before"


def test_jobs_read_the_plan_that_the_run_wrote(values: dict[str, Any]) -> None:
    first = Campaign.load(values)
    first.write_plans()
    again = Campaign.load(values, look_at_plates=False)
    assert again.plans == first.plans
    assert again.chunks["plate1"] == {"A01-A04": ["A01", "A02", "A03", "A04"], "B01-B04": ["B01", "B02", "B03", "B04"]}


def test_chunks_that_are_planned_never_change(values: dict[str, Any]) -> None:
    Campaign.load(values).write_plans()
    before = plan_file(results_of("planted"), "plate1").read_bytes()
    changed = Campaign.load(values | {"wells_per_chunk": 1})
    changed.write_plans()
    assert len(changed.chunks["plate1"]) == 2
    assert plan_file(results_of("planted"), "plate1").read_bytes() == before
    shutil.rmtree("results")
    assert len(Campaign.load(values | {"wells_per_chunk": 1}).chunks["plate1"]) == 8


def test_a_new_plate_is_cut_by_what_was_measured_and_changes_no_other_plan(values: dict[str, Any], tmp_path: Path) -> None:
    del values["wells_per_chunk"]
    spots = values["classifiers"]["spots"]
    values["minutes_per_chunk"] = 0.5  # 8 wells of 4 tiles: 32 s at the 1 s that is assumed
    one = values | {"classifiers": {"spots": spots | {"plates": ["plate1"]}}, "plates": str(tmp_path / "one.tsv")}
    Path(one["plates"]).write_text("".join((tmp_path / "plates.tsv").read_text().splitlines(keepends=True)[:2]))
    Campaign.load(one).write_plans()
    file = plan_file(results_of("planted"), "plate1")
    before = file.read_bytes()
    assert json.loads(before)["basis"] == [
        "4 wells a chunk, 0.267 minutes at 4 maps a well and 1 s a map, assumed (budget.seconds_per_view)"
    ]
    measured = Path("results/planted/benchmarks/attribute/spots")
    for method, seconds in (("pcim", 16 * 5.0), ("random", 1.0)):
        (measured / method / "plate1").mkdir(parents=True)
        (measured / method / "plate1/A01-A04.tsv").write_text(f"s\n{seconds}\n")
    both = Campaign.load(values)
    both.write_plans()
    assert file.read_bytes() == before
    assert len(both.chunks["plate2"]) == 8
    assert "Chunks of 1 plate: 1 wells a chunk, 0.333 minutes at 4 maps a well and 5 s a map, measured." in cost.table(both)


def test_a_plate_that_gains_wells_gets_new_chunks_for_them_alone(tmp_path: Path) -> None:
    few, more = [("A", "1"), ("B", "1")], [("A", "1"), ("A", "2"), ("B", "1"), ("C", "9")]
    first = plan_plate(grown(tmp_path, few), None, two_wells)
    assert plan_plate(first.source, first, two_wells) is first
    second = plan_plate(grown(tmp_path, more), first, two_wells)
    assert second.basis == ("2 new wells, 0 chunks before", "2 new wells, 1 chunks before")
    assert second.chunks == {"A01-B01": ["A01", "B01"], "A02-C09": ["A02", "C09"]}
    with pytest.raises(ValueError, match=r"wells \['A02', 'C09'\] were planned and are gone"):
        plan_plate(grown(tmp_path, few), second, two_wells)


def test_a_plan_of_another_form_is_refused_not_guessed_at(values: dict[str, Any]) -> None:
    Campaign.load(values).write_plans()
    file = plan_file(results_of("planted"), "plate1")
    for content in ('{"form": 0}', "{", "[]"):
        file.write_text(content)
        with pytest.raises(CampaignError, match=r"plate1\.json: .*delete it to plan the plate anew"):
            Campaign.load(values)
    assert read_plan(file.with_name("nothing.json")) is None


def test_planning_reads_no_pixel(values: dict[str, Any], tmp_path: Path) -> None:
    for chunk in tmp_path.glob("plate*.zarr/*/*/*/0/**/0"):
        if chunk.is_file():
            chunk.unlink()
    assert Campaign.load(values).plans["plate1"].survey.shape == (70, 96)


def test_what_is_to_come_is_counted_by_plate_and_shrinks_with_what_is_done(values: dict[str, Any]) -> None:
    campaign = Campaign.load(values)
    found = cost.costs(campaign)
    # 8 wells of 2 x 2 tiles; 3 methods; 2 chunks: ingest + classify + 3 methods + evaluate, and one aggregate.
    assert found["plate1"] == cost.Cost(
        views=32, maps=96, jobs=1 + 2 + 6 + 2 + 1, files=3 * (8 * 16 + 2 * 5) + 12 * 4 + 2 * (1 + 8) + 3 * 2 * (1 + 3 + 2) + 1,
        gigabytes=pytest.approx(3 * 8 * 4 * 70 * 96 * 4 * 4 / 3 / 1e9), hours=pytest.approx(96 / 3600),
    )  # fmt: skip
    for name in ("classify/spots/plate1/A01-A04", "attribute/spots/pcim/plate1/A01-A04"):
        file = Path(f"results/planted/{name}.parquet")
        file.parent.mkdir(parents=True)
        file.touch()
    left = cost.costs(campaign)["plate1"]
    assert (left.views, left.maps, left.jobs) == (16, 80, 10)
    text = cost.table(campaign)
    assert "1 s a map, assumed (budget.seconds_per_view)" in text
    assert "Estimated from the plates' metadata" in text
    assert text.splitlines()[1].endswith("  map hours")
    assert "All other stages come on top" in text


def test_hours_follow_what_the_campaign_has_measured(values: dict[str, Any]) -> None:
    campaign = Campaign.load(values)
    file = Path("results/planted/benchmarks/attribute/spots/pcim/plate1/A01-A04.tsv")
    file.parent.mkdir(parents=True)
    file.write_text("s\th:m:s\n8.0\t0:00:08\n")
    assert cost.seconds_a_map(campaign) == 0.5
    assert "0.50 s a map, measured" in cost.table(campaign)


def test_targets_and_pixel_sizes_count(values: dict[str, Any]) -> None:
    one = cost.costs(Campaign.load(values))["plate1"]
    two = cost.costs(Campaign.load(values | {"attribute": values["attribute"] | {"targets": ["call", "spot"]}}))["plate1"]
    assert (two.views, two.maps, two.hours) == (one.views, 2 * one.maps, pytest.approx(2 * one.hours))
    assert two.gigabytes == pytest.approx(one.gigabytes * 7 / 4)  # two layers of map, map, weights; one label
    campaign = Campaign.load(values)
    contract, survey = campaign.contracts["spots"].input, campaign.plans["plate1"].survey
    coarse = contract.model_copy(update={"pixel_size_um": 2.0})
    fine = replace(survey, pixel_size_um=1.0)
    assert contract.extent(survey.shape, None) == contract.size == (48, 48)
    assert coarse.extent(survey.shape, 1.0) == (96, 96)
    assert coarse.extent(survey.shape, None) is None
    assert coarse.extent(survey.shape, float("nan")) is None
    assert len(coarse.tiles((160, 192), (96, 96))) == 4
    assert fine.to_dict()["pixel_size_um"] == 1.0
    assert Survey.from_dict(fine.to_dict()) == fine


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        ({"max_jobs": 20}, "budget.max_jobs: 26.0 jobs to come; allowed are 20"),
        ({"max_files": 10}, "files to come; allowed are 10"),
        ({"max_gb": 1e-6}, "GB to come"),
        ({"max_hours": 0.001, "seconds_per_view": 60}, "budget.max_hours: 3.2 map hours to come"),
    ],
)
def test_a_campaign_above_its_quota_is_refused_before_any_work(values: dict[str, Any], quota: dict[str, float], words: str) -> None:
    with pytest.raises(CampaignError, match=words):
        cost.refuse_over_budget(Campaign.load(values | {"budget": quota}))


def test_a_source_column_with_a_wrong_value_or_name_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "plates.tsv"
    head, first, second = table.read_text().splitlines()
    table.write_text(f"{head}\tformat\tz\tchanels\n{first}\tomezar\ttop\tx\n{second}\t\t\t\n")
    with pytest.raises(CampaignError) as error:
        Campaign.load(values)
    text = str(error.value)
    assert "format 'omezar': expected one of omezarr, imagexpress" in text
    assert "z 'top': expected a number or max or mean" in text
    assert "column 'chanels' has no meaning here (did you mean 'channels'?)" in text


@pytest.mark.parametrize(
    "address",
    ["https://me:hunter2@host/p.zarr", "s3://hunter2@bucket/p.zarr", "https://host/p.zarr?X-Amz-Signature=hunter2"],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(values: dict[str, Any], tmp_path: Path, address: str) -> None:
    table = tmp_path / "plates.tsv"
    head, first, second = table.read_text().splitlines()
    cells = dict(zip(head.split("\t"), first.split("\t"), strict=True)) | {"path": address}
    table.write_text("\n".join([head, "\t".join(cells.values()), second]) + "\n")
    with pytest.raises(CampaignError, match="credentials belong in the environment") as error:
        Campaign.load(values)
    assert "hunter2" not in str(error.value)


def test_a_plan_is_text_that_a_person_can_read(values: dict[str, Any]) -> None:
    Campaign.load(values).write_plans()
    content = json.loads(plan_file(results_of("planted"), "plate2").read_text())
    assert content["survey"]["wells"]["A01"] == ["A/1", ["0"]]
    assert content["source"]["format"] == "omezarr"


@pytest.mark.parametrize(("label", "is_allowed"), [("Label [ä] #1", True), ("../x", False), (".hidden", False), ("a/b", False)])
def test_a_region_names_a_label_as_its_writer_did_but_no_path(label: str, is_allowed: bool) -> None:
    if is_allowed:
        assert Region(label=label).label == label
    else:
        with pytest.raises(ValueError, match="should match pattern"):
            Region(label=label)
