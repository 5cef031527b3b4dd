"""How good the maps are: PCIM against the best peer and the best control on the example's three classifiers.

``python benchmarks/bench_quality.py [--quick] [--write]``, from the repository's root. It reads the tables of the finished example
campaign and runs ``snakemake`` first where they are missing. Differences are paired, view by view, with 95 % intervals
resampled by well; a line in words says where PCIM loses.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import yaml
from harness import Row, options, report

from pcim.config import CONTROLS, Config
from pcim.findings import exchange_table
from pcim.plate import KEY_COLUMNS
from pcim.reading import ReadingSettings, decides
from pcim.statistics import paired_difference
from pcim.views import read_tables

if TYPE_CHECKING:
    from pcim.config import ClassifierSettings
    from pcim.statistics import Interval

RESULTS = Path("results/demo")
PEERS = ("integrated_gradients", "grad_cam", "occlusion")
KEYS = list(KEY_COLUMNS)


def fidelity(scores: pd.DataFrame) -> pd.DataFrame:
    """Return insertion AUC - deletion AUC, in [-1, 1], a view and method, with the substitute that no method was given."""
    given = set(scores.loc[scores["seen"], "substitute"])
    fair = scores[scores["metric"].isin(["insertion_auc", "deletion_auc"]) & ~scores["substitute"].isin(given)]
    if fair.empty:
        raise ValueError(f"every substitute ({sorted(given)}) is a background that a method was given; add another")
    wide = fair.pivot_table(index=[*KEYS, "method"], columns="metric", values="value").reset_index()
    return wide.assign(value=wide["insertion_auc"] - wide["deletion_auc"])


def lift(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the map inside the objects over their share of the view (1 = chance), a view and method."""
    mass = scores[scores["metric"] == "relevance_mass_accuracy"]
    return mass.assign(value=mass["value"] / mass["chance"])


def difference(values: pd.DataFrame, reference: str, draws: int) -> Interval:
    """Return PCIM minus the reference, view by view."""
    keys = {"value": "value", "method": "method", "unit": KEYS, "cluster": ["plate", "well"]}
    return paired_difference(values, reference=reference, draws=draws, **keys)["pcim"]


def compare(classifier: str, what: str, values: pd.DataFrame, draws: int, *, has_bar: bool) -> list[Row]:
    """Return PCIM's distance to the best peer and to the best control, and say it in words."""
    means = values.groupby("method")["value"].mean()
    print(
        f"\n{classifier}, {what}: " + ", ".join(f"{m} {v:.3f}" for m, v in means.sort_values(ascending=False).items())
    )
    rows = []
    for kind, rivals in (("peer", PEERS), ("control", CONTROLS)):
        best = str(means[list(rivals)].idxmax())
        found = difference(values, best, draws)
        outcome = "beats" if found.low > 0 else "loses to" if found.high < 0 else "is level with"
        interval = f"[{found.low:+.3f}, {found.high:+.3f}], {found.n} views of {found.clusters} wells"
        print(f"  PCIM {outcome} the best {kind}, {best}: {found.mean:+.3f} {interval}")
        unit = "difference" if what == "fidelity" else "x"
        value = found.mean if what == "fidelity" else float(means["pcim"] / means[best])
        bar = (0.0 if what == "fidelity" else 1.0) if has_bar else None  # not below the best of them
        rows.append(Row(f"{classifier}: {what}, PCIM to the best {kind} ({best})", value, unit, bar, "higher"))
    return rows


def uses_objects(folder: Path, entry: ClassifierSettings, draws: int) -> bool:
    """Tell whether the exchanges showed that calls follow the objects."""
    rows = exchange_table(pd.read_parquet(folder / "interventions.parquet"), draws=draws).to_dict("records")
    return any(row["region"] == entry.objects and decides(row, ReadingSettings()) for row in rows)


def main(*, quick: bool, write: bool) -> None:
    """Compare on every classifier of the example."""
    config = Config.model_validate(yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8")))
    if not (RESULTS / "report/index.html").exists():
        subprocess.run([sys.executable, "-m", "snakemake"], check=True)
    draws, rows = 1000 if quick else 10_000, []
    for name, entry in config.classifiers.items():
        folder = RESULTS / "evaluate" / name
        scores = read_tables([str(path) for path in sorted(folder.glob("*/*.parquet"))])
        rows += compare(name, "fidelity", fidelity(scores), draws, has_bar=True)
        # Where calls do not follow the objects, a map that lies inside them is no better for it: no bar then.
        followed = uses_objects(folder, entry, draws)
        rows += compare(name, f"lift inside the {entry.objects}", lift(scores), draws, has_bar=followed)
        if not followed:
            print(f"  (calls of {name} are not shown to follow the {entry.objects}: this lift is no merit)")
    print()
    report("quality", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
