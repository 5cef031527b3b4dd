"""How good the maps are, on the example's three classifiers: PCIM against the best peer, from a finished campaign.

``python benchmarks/bench_quality.py [--quick]``; run it from the repository's root after ``snakemake``. Differences are paired,
view by view, with 95 % intervals resampled by well; they say where PCIM loses as plainly as where it wins.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from harness import Row, report

from pcim.plate import KEY_COLUMNS
from pcim.statistics import paired_difference

PEERS = ("integrated_gradients", "grad_cam", "occlusion")


def fidelity(scores: pd.DataFrame) -> pd.DataFrame:
    """Return insertion AUC - deletion AUC a view and method, with the substitute that no method was given."""
    given = set(scores.loc[scores["seen"], "substitute"])
    fair = scores[scores["metric"].isin(["insertion_auc", "deletion_auc"]) & ~scores["substitute"].isin(given)]
    wide = fair.pivot_table(index=[*KEY_COLUMNS, "method"], columns="metric", values="value").reset_index()
    return wide.assign(value=wide["insertion_auc"] - wide["deletion_auc"])


def localization(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of the four metrics of localization a view and method."""
    names = ["relevance_mass_accuracy", "relevance_rank_accuracy", "pointing_game", "auprc"]
    return scores[scores["metric"].isin(names)].groupby([*KEY_COLUMNS, "method"], as_index=False)["value"].mean()


def main(*, quick: bool) -> None:
    """Compare on every classifier of results/demo."""
    rows = []
    for folder in sorted(Path("results/demo/evaluate").iterdir()):
        scores = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*/*.parquet"))], ignore_index=True)
        for what, measure in (("fidelity", fidelity), ("localization", localization)):
            values = measure(scores)
            means = values.groupby("method")["value"].mean()
            best = str(means[list(PEERS)].idxmax())
            differences = paired_difference(
                values,
                value="value",
                method="method",
                reference=best,
                unit=list(KEY_COLUMNS),
                cluster=["plate", "well"],
                draws=1000 if quick else 10_000,
                seed=0,
                level=0.95,
            )
            found = differences["pcim"]
            name = (
                f"{folder.name}: {what}, PCIM - {best} [{found.low:+.3f}, {found.high:+.3f}] n = {found.clusters} wells"
            )
            rows.append(Row(name, found.mean, "difference", 0.0, "higher"))
    report("quality", rows, quick=quick)


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
