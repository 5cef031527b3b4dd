"""How good the maps are: PCIM, thirteen peers and the controls on scenes whose causal pixels are known, and on real plates.

``python benchmarks/quality.py [--quick] [--write]``, from the repository's root: about an hour on two cores. Every method and
material is a part of its own under results/benchmarks/quality; what is there is not done again, so that it can be killed and
started anew at any time. Each method's background and post-processing are chosen once, for all sets, on the split `tune`.
"""

from __future__ import annotations

import itertools
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from explainers import AT_EQUAL_COST, CONTROLS, EXPLAINERS, PEERS, READINGS, SIGMAS, Variant, backgrounds_of
from harness import RESULTS, Row, options, report
from materials import PLATES, SCENES, material
from scoring import GIVEN, UNSEEN, fidelity, localization, paired
from tqdm import tqdm

from pcim.report.analysis.intervals import holm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PARTS = Path("results/benchmarks/quality")
TUNE, TEST, AT_EQUAL = 8, 100, 8  # images a material
MEASURES = ("fidelity", "fidelity_judge", "localization")
ENOUGH_UNITS = 100  # below it an interval is shown and nothing is concluded
Part = tuple[str, str, int]  # method, material, images


def part_file(stage: str, part: Part) -> Path:
    method, name, n = part
    return PARTS / stage / f"{name.replace('/', '_')}.{method.replace(' ', '_')}.{n}.parquet"


def tune_part(part: Part) -> None:
    """Score every variant of a method on the tune split; the substitutes that are kept for the test are not looked at."""
    method, name, n = part
    given = material(name, "tune", n)
    rows = []
    for background in backgrounds_of(method):
        signed = explained(method, given, background)
        for reading, sigma in itertools.product(READINGS, SIGMAS) if signed is not None else ():
            maps = Variant(background, reading, sigma).read(signed)
            score = fidelity(given.classifier, given, maps, GIVEN).mean(), localization(maps, given.masks).nanmean()
            values = {"fidelity": float(score[0]), "localization": float(score[1])}
            rows.append({"method": method, "material": name, "background": background, "reading": reading, "sigma": sigma} | values)
    write(pd.DataFrame(rows), part_file("tune", part))


def score_part(part: Part) -> None:
    """Score a method, as chosen, on images that nothing was chosen on."""
    method, name, n = part
    variant = chosen()[method]
    given = material(name, "test", n)
    signed = explained(method, given, variant.background)
    table = pd.DataFrame({"method": method, "material": name, "image": range(len(given.images)), "unit": given.units})
    if signed is not None:
        maps = variant.read(signed)
        table["fidelity"] = fidelity(given.classifier, given, maps, UNSEEN)
        table["fidelity_judge"] = torch.nan if given.judge is None else fidelity(given.judge, given, maps, UNSEEN)
        table["localization"] = localization(maps, given.masks)
    write(table if signed is not None else table.iloc[:0], part_file("test", part))


def explained(method: str, given: Any, background: str) -> torch.Tensor | None:
    """Return the method's signed answer; None where it refuses the network."""
    try:
        return (EXPLAINERS | AT_EQUAL_COST)[method](given, background)
    except ValueError as refusal:
        print(f"{given.name}: {refusal}")
        return None


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a part in one step: a part that is there is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(file.with_suffix(".new"))
    file.with_suffix(".new").rename(file)


def work_off(stage: str, work: Callable[[Part], None], parts: Iterable[Part]) -> pd.DataFrame:
    """Do the parts that are missing, on all cores, and return all of them as one table."""
    parts = list(parts)
    missing = [part for part in parts if not part_file(stage, part).exists()]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(tqdm(pool.map(work, missing), total=len(missing), desc=stage, disable=not missing))
    tables = [pd.read_parquet(part_file(stage, part)) for part in parts]
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def choose(tuned: pd.DataFrame) -> dict[str, Variant]:
    """Return each method's best variant: one for all sets and networks, by the mean of fidelity and localization.

    PCIM is read as users get it, whatever the choice would be.
    """
    score = tuned.assign(score=(tuned["fidelity"] + tuned["localization"]) / 2)
    means = score.groupby(["method", "background", "reading", "sigma"], sort=False)["score"].mean().reset_index()
    best = means.loc[means.groupby("method")["score"].idxmax()]
    found = {row["method"]: Variant(row["background"], row["reading"], row["sigma"]) for row in best.to_dict("records")}
    return found | {"pcim": Variant("auto", "positive", 0.0)}


def chosen() -> dict[str, Variant]:
    """Read the choice; methods at equal cost are read as their namesakes, or as PCIM."""
    content = json.loads((PARTS / "chosen.json").read_text())
    variants = {method: Variant(**values) for method, values in content.items()}
    same = {name: variants.get(name.rpartition(" ")[0], variants["pcim"]) for name in AT_EQUAL_COST}
    return same | variants


def compare(scores: pd.DataFrame, draws: int) -> pd.DataFrame:
    """Return a row a material, measure and method: its mean, and PCIM's paired distance to it, corrected by Holm."""
    rows: list[dict[str, Any]] = []
    for name, of_material in scores.groupby("material", sort=False):
        wide = of_material.set_index(["image", "unit", "method"])[list(MEASURES)].unstack("method")
        units, tested = wide.index.get_level_values("unit").astype(str), []
        for measure in MEASURES:
            ours = wide[measure]["pcim"].to_numpy()
            for method in wide[measure].columns:
                values = wide[measure][method].to_numpy()
                row = {
                    "material": name,
                    "measure": measure,
                    "method": method,
                    "mean": float(np.nanmean(values)) if not np.isnan(values).all() else np.nan,
                }
                if method != "pcim" and not np.isnan(ours - values).all():
                    found = paired(ours - values, units, draws)
                    row |= {"pcim_minus": found.mean, "low": found.low, "high": found.high, "n": found.n, "p": found.p}
                    tested.append(row)
                rows.append(row)
        for row, p in zip(tested, holm([row["p"] for row in tested]).tolist(), strict=True):
            row["p_holm"] = p
    return pd.DataFrame(rows)


def against_the_best(table: pd.DataFrame) -> list[Row]:
    """Return PCIM's distance to the best peer and the best control, material by material and measure by measure."""
    rows = []
    for (name, measure), found in table.groupby(["material", "measure"], sort=False):
        for kind, rivals in (("peer", PEERS), ("control", CONTROLS)):
            among = found[found["method"].isin(rivals) & found["mean"].notna()]
            if among.empty:
                continue
            best = among.loc[among["mean"].idxmax()]
            bar = None if kind == "control" or name in PLATES or measure not in {"fidelity", "localization"} else 0.0
            label = f"{name}: {measure}, PCIM - best {kind} ({best['method']})"
            rows.append(Row(label, best["pcim_minus"], "difference", bar, "higher", best["low"], best["high"], int(best["n"])))
    return rows


def pooled(scores: pd.DataFrame, draws: int) -> list[Row]:
    """Return PCIM's distance to each peer over all scenes, the image of a set being the unit."""
    rows = []
    of_scenes = scores[scores["material"].isin(SCENES)]
    of_scenes = of_scenes.assign(unit=of_scenes["material"].str.split("/").str[0] + of_scenes["unit"].astype(str))
    for measure in MEASURES:
        wide = of_scenes.set_index(["material", "image", "unit", "method"])[measure].unstack("method")
        units = wide.index.get_level_values("unit")
        for method in [name for name in wide.columns if name != "pcim"]:
            found = paired((wide["pcim"] - wide[method]).to_numpy(), units, draws)
            bar = 0.0 if method in PEERS and measure in {"fidelity", "localization"} else None
            label = f"all scenes: {measure}, PCIM - {method}"
            rows.append(Row(label, found.mean, "difference", bar, "higher", found.low, found.high, found.n))
    return rows


def at_equal_cost(scores: pd.DataFrame) -> list[Row]:
    """Return fidelity and localization of the methods that only ask for scores, at the same number of forward passes."""
    means = scores.groupby("method", sort=False)[["fidelity", "localization"]].mean()
    rows = []
    for budget in (500, 1000, 2000):
        ours = means.loc[f"pcim without a gradient {budget}"]
        for rival in ("rise", "occlusion"):
            for measure in ("fidelity", "localization"):
                gain = ours[measure] - means.loc[f"{rival} {budget}", measure]
                rows.append(Row(f"{budget} forward passes: {measure}, PCIM - {rival}", gain, "difference", 0.0, "higher"))
    return rows


def main(*, quick: bool, write: bool) -> None:
    """Tune, test, compare."""
    tune, test, equal, plates = (3, 4, 2, ()) if quick else (TUNE, TEST, AT_EQUAL, PLATES)
    scenes = SCENES[:2] if quick else SCENES
    tuned = work_off("tune", tune_part, itertools.product(EXPLAINERS, scenes, [tune]))
    variants = choose(tuned)
    PARTS.mkdir(parents=True, exist_ok=True)
    (PARTS / "chosen.json").write_text(json.dumps({name: vars(variant) for name, variant in variants.items()}, indent=1))
    scores = work_off("test", score_part, itertools.product(EXPLAINERS, (*scenes, *plates), [test]))
    equal_cost = work_off("test", score_part, itertools.product(AT_EQUAL_COST, scenes, [equal]))
    draws = 1000 if quick else 10_000
    table = compare(scores, draws)
    print(
        table[table["measure"].isin(["fidelity", "localization"])]
        .pivot_table("mean", "method", ["measure", "material"], sort=False)
        .round(2)
        .T.to_string()
    )
    report("quality", against_the_best(table) + pooled(scores, draws) + at_equal_cost(equal_cost), quick, write)
    if not quick or write:
        table.round(5).to_csv(RESULTS / "quality_methods.csv", index=False)
        choices = pd.DataFrame([{"method": name} | vars(variant) for name, variant in variants.items()])
        choices.to_csv(RESULTS / "quality_chosen.csv", index=False)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
