"""Laws of the chunks: whole wells, each once, as long as asked for, never more jobs than allowed, and never changed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcim.campaign import cost
from pcim.campaign.campaign import Campaign
from pcim.campaign.chunk_size import ChunkSizes, TimedJob, plan_chunks, slowest
from pcim.campaign.input_tables import PlateEntry
from pcim.campaign.plan_file import PlatePlan
from pcim.campaign.workload import Workload
from pcim.classifiers.contract import Contract
from pcim.config.config import Config
from pcim.config.methods import METHODS
from pcim.core.plate_source import Source
from pcim.plates.inventory import Survey

WELLS = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
CONTRACT: dict[str, Any] = {
    "name": "n", "architecture": "a:b", "weights": "w.safetensors", "sha256": "0" * 64, "classes": ["x", "y"], "test": {"file": "t"},
    "input": {"channels": ["DNA"], "view": "tile", "size": [100, 100], "dtype": "uint16", "mean": [0], "std": [1]},
}  # fmt: skip


def survey(wells: Sequence[str], fields: int) -> Survey:
    names = tuple(str(number) for number in range(fields))
    return Survey("", {well: (well, names) for well in wells}, ("DNA",), (), (200, 300), "uint16")


def config(models: int, methods: int, **values: Any) -> Config:
    classifiers = {f"m{number}": {"model": "model.yaml", "plates": ["p"]} for number in range(models)}
    told = {"campaign": "c", "plates": "p.tsv", "classifiers": classifiers, "attribute": {"methods": METHODS[:methods]}}
    return Config.model_validate(told | values)


def entry(wells: Sequence[str]) -> PlateEntry:
    return PlateEntry("p", Source("p.zarr"), Path("p.csv"), {well: {"control_type": ""} for well in wells})


campaigns = {
    "wells": st.lists(st.sampled_from(WELLS), min_size=1, unique=True),
    "fields": st.integers(1, 12),
    "models": st.integers(1, 3),
    "methods": st.integers(1, len(METHODS)),
    "minutes": st.floats(0.5, 600),
    "rate": st.floats(0.01, 50),
    "jobs": st.integers(1, 400),
}


@given(**campaigns)
@example(wells=["A01", "A02"], fields=1, models=3, methods=1, minutes=1.0, rate=6.0, jobs=22)
def test_chunks_last_as_long_as_asked_for_and_make_no_more_jobs_than_allowed(  # noqa: PLR0917
    wells: list[str], fields: int, models: int, methods: int, minutes: float, rate: float, jobs: int
) -> None:
    settings = config(models, methods, minutes_per_chunk=minutes, jobs_per_plate=jobs)
    contracts = {name: Contract.model_validate(CONTRACT) for name in settings.classifiers}
    plate, seen = entry(wells), survey(wells, fields)
    size, why = ChunkSizes(settings, contracts, lambda: dict.fromkeys(contracts, rate)).of(plate, seen, wells, 0)
    chunks = plan_chunks(wells, size)
    assert sorted(well for chunk in chunks.values() for well in chunk) == sorted(wells)
    campaign = Campaign(settings, {"p": plate}, contracts, {"p": PlatePlan(plate.source, seen, chunks)})
    made = cost.costs(campaign, Path("nowhere"))["p"].jobs
    longest = max(map(len, chunks.values()))
    seconds = longest * fields * 6 * rate
    assert made <= jobs or len(chunks) == 1
    assert seconds <= 60 * minutes * (1 + 1e-9) or longest == 1 or "jobs_per_plate" in why
    if "jobs_per_plate" in why:  # one chunk more, each a well smaller, would have been too many
        assert made + models * (methods + 2) * (math.ceil(len(wells) / max(1, size - 1)) - len(chunks)) > jobs or size == 1


@given(many=st.integers(1, 384), few=st.integers(1, 384), planned=st.integers(0, 60))
def test_new_wells_never_take_more_jobs_than_are_left_but_one_chunk(many: int, few: int, planned: int) -> None:
    settings = config(1, 9, minutes_per_chunk=0.1)
    contracts = {name: Contract.model_validate(CONTRACT) for name in settings.classifiers}
    wells = WELLS[: min(many, few)]
    size, _ = ChunkSizes(settings, contracts, dict).of(entry(wells), survey(wells, 9), wells, planned)
    assert len(plan_chunks(wells, size)) <= max(1, 4 - planned)


@pytest.mark.parametrize("methods", range(1, len(METHODS) + 1))
def test_a_campaign_of_a_hundred_large_plates_is_at_most_5000_jobs_whatever_its_methods(methods: int) -> None:
    settings = config(1, methods, budget={"seconds_per_view": 60})
    contracts = {"m0": Contract.model_validate(CONTRACT)}
    plate, seen = entry(WELLS), survey(WELLS, 9)
    size, why = ChunkSizes(settings, contracts, dict).of(plate, seen, WELLS, 0)
    assert "jobs_per_plate (49) allows" in why
    assert "60 s a map, assumed (budget.seconds_per_view)" in why
    campaign = Campaign(settings, {"p": plate}, contracts, {"p": PlatePlan(plate.source, seen, plan_chunks(WELLS, size))})
    found = cost.costs(campaign, Path("nowhere"))
    assert 100 * found.pop("p").jobs + sum(cost.jobs for cost in found.values()) <= 5000


def test_the_slowest_method_decides_by_its_median_job_because_all_methods_share_chunks() -> None:
    jobs = [
        ("m", "a", 10.0, 10),
        ("m", "b", 30.0, 10),
        ("m", "b", 3000.0, 10),
        ("m", "b", 20.0, 10),
        ("n", "a", 5.0, 0),
    ]
    assert slowest(TimedJob(*job) for job in jobs) == {"m": 3.0}


def test_wells_per_chunk_is_what_it_says() -> None:
    settings = config(1, 9, wells_per_chunk=5, jobs_per_plate=1)
    assert ChunkSizes(settings, {}, dict).of(entry(WELLS), survey(WELLS, 9), WELLS, 0)[0] == 5


@given(st.integers(1, 4), st.sampled_from([["call"], ["call", "x"]]), st.floats(0.01, 1))
def test_a_chunk_is_as_large_as_its_selection_is_small(per_well: int, targets: list[str], fraction: float) -> None:
    select = {"per_well": per_well, "fraction": fraction}
    settings = config(1, 1, attribute={"methods": ["pcim"], "targets": targets, "select": select}, jobs_per_plate=10_000)
    contract = Contract.model_validate(CONTRACT)
    seen, plate = survey(WELLS, 9), entry(WELLS)
    size, _ = ChunkSizes(settings, {"m0": contract}, lambda: {"m0": 20.0}).of(plate, seen, WELLS, 0)
    maps, _ = Workload.from_config(settings, "m0", contract).maps(plate, seen, WELLS[:size])
    assert maps * 20 <= 30 * 60 + len(targets) * 20
