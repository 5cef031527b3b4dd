"""Trust: the words about methods follow from the table of methods alone."""

from __future__ import annotations

import pandas as pd

from pcim.report.wording.method_trust import method_sentence, trusted_methods


def table(gains: dict[str, tuple[float, bool | None]], metric: str = "morf_lerf") -> pd.DataFrame:
    rows = [
        {
            "method": method,
            "metric": metric,
            "substitute": "noise",
            "seen": False,
            "mean": mean,
            "mean_low": mean - 0.05,
        }
        | {"mean_high": mean + 0.1, "n": 40, "wells": 20, "beats_controls": beats}
        for method, (mean, beats) in gains.items()
    ]
    return pd.DataFrame(rows)


def test_the_best_method_that_beats_its_controls_is_to_be_believed_first() -> None:
    scores = table(
        {"pcim": (0.3, True), "grad_cam": (0.4, False), "occlusion": (0.2, True), "edge": (0.9, None), "pcim_blurred": (0.8, None)}
    )
    assert [row["method"] for row in trusted_methods(scores)] == ["grad_cam", "pcim", "occlusion"]
    words = method_sentence(scores)
    assert words.startswith(
        "Of the maps, believe PCIM first: with substitutes that no method has seen its order of the pixels is worth 0.30 [0.25, 0.40]"
    )
    assert "with 1 of 1 of them it beats its own blurred map" in words
    assert "Occlusion passes that test too" in words
    assert words.endswith("Not shown to pass it: Grad-CAM.")


def test_a_gain_whose_interval_nearly_holds_chance_is_said_to_be_so() -> None:
    """[0.00, 0.40] beside "believe" is no promise."""
    assert "close to chance" in method_sentence(table({"pcim": (0.06, True)}))
    assert "close to chance" not in method_sentence(table({"pcim": (0.11, True)}))


def test_where_no_method_beats_its_controls_none_is_to_be_believed() -> None:
    assert "No method is shown to order pixels better" in method_sentence(table({"pcim": (0.3, False), "occlusion": (0.5, None)}))


def test_a_substitute_that_one_method_has_seen_judges_none() -> None:
    fair = table({"pcim": (0.1, False), "occlusion": (0.2, True)})
    flattering = table({"pcim": (0.9, True), "occlusion": (0.1, False)}).assign(substitute="blur", seen=[True, False])
    both = pd.concat([fair, flattering], ignore_index=True)
    assert [row["method"] for row in trusted_methods(both) if row["believed"]] == ["occlusion"]


def test_a_map_that_exploits_one_substitute_alone_is_not_believed() -> None:
    noise = table({"pcim": (0.2, True), "pcim_literal": (0.6, True)})
    road = table({"pcim": (0.25, False), "pcim_literal": (0.01, False)}, metric="road").assign(substitute="road")
    ranked = trusted_methods(pd.concat([noise, road], ignore_index=True))
    assert [(row["method"], row["believed"]) for row in ranked] == [("pcim", True), ("pcim_literal", False)]
    assert ranked[0]["mean"] == 0.2, "the lower of its gains"
    sure = road.assign(mean_low=0.005, mean_high=0.015)
    little = pd.concat([noise, sure[sure["method"] == "pcim_literal"]], ignore_index=True)
    assert [row["believed"] for row in trusted_methods(little) if row["method"] == "pcim_literal"] == [False], "sure, and worth nothing"
    assert [row["believed"] for row in trusted_methods(little, worth=0.0) if row["method"] == "pcim_literal"] == [True]


def test_without_the_controls_nothing_is_said_of_believing() -> None:
    words = method_sentence(table({"pcim": (0.5, None), "occlusion": (0.2, None)}))
    assert words == "Which map to believe is not said: the contrast control and the methods' blurred maps were not scored."
    assert method_sentence(table({"edge": (0.5, None)})).startswith("No method's map was scored"), "a control is none"


def test_a_method_that_was_given_every_substitute_is_not_judged_and_named() -> None:
    both = table({"pcim": (0.9, True), "occlusion": (0.3, True)}).assign(seen=[True, False])
    words = method_sentence(both)
    assert "believe Occlusion first: with substitutes that it was not given itself" in words
    assert words.endswith("Not judged, for it was given every substitute: PCIM.")


def test_other_metrics_say_nothing_of_it() -> None:
    assert trusted_methods(table({"pcim": (0.3, True)}, metric="gini")) == []
    assert method_sentence(table({}).reindex(columns=["method", "metric", "substitute", "seen", "mean", "beats_controls"])).startswith(
        "No method's map was scored"
    )
