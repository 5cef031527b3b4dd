"""Numbers that score maps, a number a view.

They tell fidelity (`curves` or `removals` once, then what is read from them), localization in a mask, complexity and robustness. They are
computed in batches, on the images' device, and know no tables or files. No number depends on the other views of a call. Ties and draws
come from a view's key.
"""

from pcim.classifiers.randomisation import randomise_layer_by_layer, shuffle_parameters
from pcim.metrics.batched_queries import Classify, Probe
from pcim.metrics.complexity import effective_area, entropy, gini
from pcim.metrics.fidelity import (
    SHARES,
    Curves,
    MorfLerf,
    comprehensiveness,
    curves,
    deletion_auc,
    insertion_auc,
    morf_lerf,
    road,
    sufficiency,
)
from pcim.metrics.imputation import Fill, FixedFill, ImputedFill, impute, noise_matched
from pcim.metrics.localization import (
    auprc,
    auroc,
    chance,
    iou,
    lift,
    pointing_game,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    top_k_intersection,
)
from pcim.metrics.pixel_ranks import ranking
from pcim.metrics.random_removal import Removals, faithfulness_correlation, infidelity, removals, sensitivity_n
from pcim.metrics.robustness import agreement, max_sensitivity, parameter_randomisation, random_target

__all__ = [
    "SHARES", "Classify", "Curves", "Fill", "FixedFill", "ImputedFill", "MorfLerf", "Probe", "Removals", "agreement",
    "auprc", "auroc", "chance", "comprehensiveness", "curves", "deletion_auc", "effective_area", "entropy",
    "faithfulness_correlation", "gini", "impute", "infidelity", "insertion_auc", "iou", "lift", "max_sensitivity",
    "morf_lerf", "noise_matched", "parameter_randomisation", "pointing_game", "random_target", "randomise_layer_by_layer",
    "ranking", "relevance_mass_accuracy", "relevance_rank_accuracy", "removals", "road", "sensitivity_n",
    "shuffle_parameters", "sufficiency", "top_k_intersection",
]  # fmt: skip
