"""Numbers, intervals and lists as readers see them."""

from __future__ import annotations

import numpy as np

from pcim.core.vocabulary import BLURRED, METRICS, OBJECTS_MASK, OTHER_VIEW

METHOD_NAMES = {
    "pcim": "PCIM", "pcim_literal": "PCIM literal", "saliency": "Saliency", "input_x_gradient": "Input x gradient",
    "integrated_gradients": "Integrated gradients", "gradient_shap": "Gradient SHAP", "deep_lift": "DeepLift",
    "guided_backprop": "Guided backprop", "smooth_grad": "SmoothGrad", "grad_cam": "Grad-CAM", "occlusion": "Occlusion",
    "kernel_shap": "KernelSHAP", "lime": "LIME", "rise": "RISE", "deletion_mask": "Deletion mask", "random": "Random",
    "edge": "Edges", "contrast": "Contrast", "randomised_model": "Randomised model", OBJECTS_MASK: "The objects' mask",
    OTHER_VIEW: "Another view's map",
}  # fmt: skip
VERDICT_MARKS = {
    "looks at the biology": "biology",
    "looks elsewhere": "elsewhere",
    "looks at both": "both",
    "cannot tell": "unknown",
}
"""Verdict -> style class of its mark."""


def method_name(method: str) -> str:
    """Name a method, or the control of its blurred maps, for readers."""
    if method.endswith(BLURRED):
        return f"{method_name(method.removesuffix(BLURRED))}, blurred"
    return METHOD_NAMES.get(method, method)


def metric_name(metric: str) -> str:
    """Name a metric for readers, with an arrow to the better side."""
    known = METRICS.get(metric)
    return f"{known.name}{ {1: ' ↑', -1: ' ↓', 0: ''}[known.better] }" if known else metric.replace("_", " ")


def percent(value: float) -> str:
    """Print a share as whole percent, ``71 %``; not known where it is NaN."""
    return "not known" if np.isnan(value) else f"{100 * value:.0f}\u202f%"


def number(value: float | None, digits: int = 2) -> str:
    """Print a number with a true minus sign, or a dash where there is none; a zero has no sign."""
    if value is None or np.isnan(value):
        return "\N{EN DASH}"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float, *, digits: int | None = None) -> str:
    """Print a 95 % interval, in whole percent ``[60, 80]`` or with `digits`, or say that there is none."""
    if np.isnan(low) or np.isnan(high):
        return "[no interval]"
    if digits is None:
        return f"[{number(100 * low, 0)}, {number(100 * high, 0)}]"
    return f"[{number(low, digits)}, {number(high, digits)}]"


def the(names: list[str]) -> str:
    """Name several regions: ``the worms and the rim``."""
    return join([f"the {name}" for name in names])


def join(parts: list[str]) -> str:
    """Join with commas and a last ``and``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
