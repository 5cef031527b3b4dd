"""Scores of maps and exchanges of regions, on a classifier whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted_campaign import SIZE, spot_field, write_model

from pcim.classifiers.classifier import Classifier, load_classifier, pick_device
from pcim.composites.region_swap import Scene
from pcim.config.stages import EvaluateSettings
from pcim.core.identity import ViewKey
from pcim.core.vocabulary import METRICS
from pcim.interventions.experiment import COLUMNS, Subject, exchange_regions
from pcim.metrics.pixel_ranks import highest_pixels
from pcim.metrics.score_view import Case, score, with_controls
from pcim.stages.evaluate import other_views
from pcim.views.regions import partition, widen

SETTINGS = EvaluateSettings(steps=8, batch_size=4, partners=2)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return load_classifier(write_model(tmp_path_factory.mktemp("model")), ["planted_campaign"], pick_device(0))


def planted(number: int, spot: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return a view and the mask of its planted spot."""
    mask = np.zeros(SIZE, bool)
    if spot is not None:
        mask[spot[0] - 3 : spot[0] + 4, spot[1] - 3 : spot[1] + 4] = True
    return spot_field(np.random.default_rng(number), SIZE, spot), mask


KEY = ViewKey("p", "A", "1", "0", "0_0")
LOCALIZATION = {name for name, metric in METRICS.items() if metric.family == "localization"}


def test_the_true_map_beats_its_opposite_and_the_unseen_substitutes_are_told_apart(classifier: Classifier) -> None:
    pixels, mask = planted(1, (20, 30))
    maps = {"pcim": mask.astype(float), "random": 1.0 - mask}
    table = pd.DataFrame(score(classifier, Case(KEY, pixels, "spot", maps, mask), SETTINGS, "mean")[0])
    assert set(table["metric"]) == set(METRICS)
    values = table.set_index(["metric", "substitute", "method"])["value"]
    for name, metric in METRICS.items():
        for substitute in table.loc[table["metric"] == name, "substitute"].unique():
            gain = metric.better * (values[name, substitute, "pcim"] - values[name, substitute, "random"])
            assert gain > 0 or not metric.better, (name, substitute)
    for name in LOCALIZATION - {"top_k_intersection"}:
        assert values[name, "", "pcim"] == pytest.approx(1)
    assert values["relevance_mass_accuracy", "", "random"] == 0
    seen = table[table["seen"]]
    assert set(zip(seen["method"], seen["substitute"], strict=True)) == {("pcim", "mean"), ("pcim_blurred", "mean")}
    chance = table.set_index("metric")["chance"]
    assert np.allclose(chance["auprc"], mask.mean())
    assert (chance["auroc"] == 0.5).all()
    assert (chance["road"] == 0).all()


def test_the_curves_are_those_that_the_areas_were_read_from(classifier: Classifier) -> None:
    pixels, mask = planted(1, (20, 30))
    maps = {"pcim": mask.astype(float), "random": 1.0 - mask}
    scores, curves = score(classifier, Case(KEY, pixels, "spot", maps, mask), SETTINGS, "mean")
    table = pd.DataFrame(scores).set_index(["metric", "substitute", "method"])["value"]
    assert {row["method"] for row in curves} == set(maps), "the methods' own maps, no blurred ones"
    assert {row["substitute"] for row in curves} == set(SETTINGS.substitutes)
    for row in curves:
        assert row["shares"][0] == 0
        assert row["shares"][-1] == 1
        assert row["deletion"][0] == row["insertion"][-1], "nothing removed"
        if row["substitute"] != "road":
            for order in ("deletion", "insertion"):
                area = np.trapezoid(row[order], row["shares"])
                assert area == pytest.approx(table[f"{order}_auc", row["substitute"], row["method"]], abs=1e-6)


def test_every_method_has_its_blurred_self_and_every_view_the_controls_that_it_can_have(classifier: Classifier) -> None:
    pixels, mask = planted(1, (20, 30))
    maps = {"pcim": mask.astype(float), "edge": 1.0 - mask}
    with_all = with_controls(Case(KEY, pixels, "spot", maps, mask, np.ones(SIZE)), SETTINGS)
    assert list(with_all) == ["pcim", "edge", "pcim_blurred", "objects_mask", "other_view"]
    assert with_all["pcim_blurred"].sum() == pytest.approx(mask.sum(), rel=1e-4)
    assert 0.5 < with_all["pcim_blurred"].max() < 0.99
    assert list(with_controls(Case(KEY, pixels, "spot", maps, None), SETTINGS)) == ["pcim", "edge", "pcim_blurred"]


def test_another_views_map_is_that_of_the_well_before_and_the_first_well_has_the_last_ones() -> None:
    keys = [ViewKey("p", "A", str(column), "0", view) for column in (1, 2, 3) for view in ("0_0", "0_4")]
    rows = [key.columns() for key in keys]
    found = other_views(rows, rows)
    assert [None if one is None else (one["column"], one["view"]) for one in found] == [
        ("3", "0_4"), ("3", "0_4"), ("1", "0_4"), ("1", "0_4"), ("2", "0_4"), ("2", "0_4"),
    ]  # fmt: skip
    assert other_views(rows[:2], rows[:2]) == [None, None], "one well has no other"
    lacking = other_views([rows[0], None, *rows[2:]], rows)
    assert lacking[2:4] == [None, None], "the last view of the well before has no such map"
    assert other_views([rows[0], *[None] * 5], rows) == [None] * 6


def test_a_view_without_objects_has_no_localization_and_one_with_an_empty_mask_has_nan(classifier: Classifier) -> None:
    pixels, mask = planted(2, None)
    maps = {"edge": np.ones(SIZE)}
    without = pd.DataFrame(score(classifier, Case(KEY, pixels, "plain", maps, None), SETTINGS, "blur")[0])
    assert set(without["metric"]) == set(METRICS) - LOCALIZATION
    empty = pd.DataFrame(score(classifier, Case(KEY, pixels, "plain", maps, mask), SETTINGS, "blur")[0])
    assert set(empty["method"]) == {"edge"}, "an empty mask is no control"
    assert empty.loc[empty["metric"].isin(LOCALIZATION), "value"].isna().all()


@pytest.mark.parametrize("substitute", ["mean", "blur", "noise", "road"])
def test_any_substitute_may_stand_alone(classifier: Classifier, substitute: Any) -> None:
    pixels, mask = planted(1, (20, 30))
    settings = SETTINGS.model_copy(update={"substitutes": [substitute]})
    rows, curves = score(classifier, Case(KEY, pixels, "spot", {"edge": mask + 0.1}, None), settings, "blur")
    found = pd.DataFrame(rows)
    assert set(found["substitute"]) == {"", substitute}
    assert ("road" in set(found["metric"])) == (substitute == "road")
    assert ("deletion_auc" in set(found["metric"])) == (substitute != "road")
    assert {row["substitute"] for row in curves} == {substitute}


def subjects(classifier: Classifier) -> list[Subject]:
    made = []
    for number in range(6):
        spot = (12 + 4 * number, 20) if number % 2 else None
        pixels, mask = planted(number, spot)
        key = ViewKey("p", "A", str(number + 1), "0", "0_0")
        logits = classifier.logits_of(pixels[np.newaxis], 4)[0]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        call = classifier.contract.classes[int(logits.argmax())]
        scene = Scene(pixels, widen(mask, 1.0), SETTINGS.blur * SIZE[0])
        top = highest_pixels(mask + 0.01 * pixels[0] / pixels[0].max(), 0.03, number)
        made.append(Subject(key, call, probabilities.tolist(), scene, partition({"spots": mask}), top))
    return made


def test_calls_follow_the_region_that_decides_and_no_other(classifier: Classifier) -> None:
    views = subjects(classifier)
    assert [view.call for view in views] == ["plain", "spot"] * 3
    rows = pd.DataFrame(exchange_regions(classifier, views, "spots", SETTINGS))
    assert set(rows.columns) == set(COLUMNS) - {"p_before", "fingerprint"}
    follows = rows.groupby(["region", "kind"])["follows"].mean()
    assert follows["spots", "exchange"] == 1
    assert follows["map_top", "exchange"] == 1, "the map's highest pixels hold the spot"
    for region in ("spots", "map_top", "frame", "corners"):
        assert follows[region, "control"] == 0
    for region in ("background", "frame", "corners"):
        assert follows[region, "exchange"] == 0
        assert follows[region, "mean"] == 0
    assert ("background", "control") not in follows.index  # nothing of that size is left elsewhere
    names = [f"channel {label}" for label in classifier.contract.input.channels]
    channels = follows.loc[names]
    assert len(channels) == 2
    assert channels.max() == 1
    counts = rows.groupby(["region", "kind"]).size()
    assert (counts == 6 * SETTINGS.partners).all()
    assert (rows["call_before"] != rows["partner_call"]).all()
    assert rows["p_after"].between(0, 1).all()
    assert dict(zip(rows["region"], rows["family"], strict=True)) == {
        "spots": "label", "background": "label", "frame": "geometry", "corners": "geometry", "map_top": "map",
        **dict.fromkeys(names, "channel"),
    }  # fmt: skip


def test_a_view_without_named_regions_is_not_exchanged_whole(classifier: Classifier) -> None:
    """The whole of another view has that view's call: to count it as a region that calls follow would say nothing."""
    views = [replace(view, regions=partition({}, SIZE)) for view in subjects(classifier)]
    rows = pd.DataFrame(exchange_regions(classifier, views, None, SETTINGS))
    assert set(rows["family"]) == {"geometry", "map", "channel"}


def test_exchanges_do_not_depend_on_the_order_of_the_views(classifier: Classifier) -> None:
    views = subjects(classifier)
    keys: list[Any] = ["well", "partner", "region", "kind"]
    one, other = (
        pd.DataFrame(exchange_regions(classifier, order, "spots", SETTINGS)).sort_values(keys, ignore_index=True)
        for order in (views, views[::-1])
    )
    pd.testing.assert_frame_equal(one, other)


def test_one_class_alone_has_nobody_to_exchange_with(classifier: Classifier) -> None:
    assert exchange_regions(classifier, subjects(classifier)[::2], "spots", SETTINGS) == []


def test_exchanges_that_are_known_are_not_made_again_and_each_view_is_kept_once(classifier: Classifier) -> None:
    views, kept = subjects(classifier), {}
    whole = exchange_regions(classifier, views, "spots", SETTINGS, keep=lambda key, rows: kept.update({key: list(rows)}))
    assert set(kept) == {str(view.key) for view in views}
    assert [row for view in views for row in kept[str(view.key)]] == whole
    some = {key: kept[key] for key in list(kept)[1:5]}
    again: list[str] = []
    resumed = exchange_regions(classifier, views, "spots", SETTINGS, known=some, keep=lambda key, _: again.append(key))
    assert resumed == whole
    assert sorted(again) == sorted(set(kept) - set(some))
