"""Names and settings of the attribution methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field

from pcim.config.base import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

Method = Literal[
    "pcim", "pcim_literal", "saliency", "input_x_gradient", "integrated_gradients", "gradient_shap", "deep_lift",
    "guided_backprop", "smooth_grad", "grad_cam", "occlusion", "kernel_shap", "lime", "rise", "deletion_mask",
    "random", "edge", "contrast", "randomised_model",
]  # fmt: skip
Background = Literal["auto", "mean", "blur"]
Need = Literal["nothing", "scores", "gradient", "layers", "parameters"]

METHODS: tuple[Method, ...] = get_args(Method)
CONTROLS: tuple[Method, ...] = ("random", "edge", "contrast", "randomised_model")
"""Methods that know nothing of the classifier: the first three never ask it, the last asks one whose parameters are shuffled."""

NEEDS: dict[str, Need] = {
    "pcim": "scores",
    "pcim_literal": "gradient",
    "saliency": "gradient",
    "input_x_gradient": "gradient",
    "integrated_gradients": "gradient",
    "gradient_shap": "gradient",
    "deep_lift": "layers",
    "guided_backprop": "layers",
    "smooth_grad": "gradient",
    "grad_cam": "layers",
    "occlusion": "scores",
    "kernel_shap": "scores",
    "lime": "scores",
    "rise": "scores",
    "deletion_mask": "gradient",
    "random": "nothing",
    "edge": "nothing",
    "contrast": "nothing",
    "randomised_model": "parameters",
}
"""What a method asks of a classifier. PCIM learns by gradients where there are some, and from scores alone where there are none."""


def method_read(methods: Sequence[str]) -> str:
    """Return the method whose maps are read: PCIM, or the first where PCIM was not asked for."""
    return "pcim" if "pcim" in methods or not methods else methods[0]


class PcimSettings(Settings):
    """PCIM's default preset (docs/method.md)."""

    area: float = Field(20.0, gt=0, description="Price of the mean weight in the loss (lambda), nats: higher keeps fewer pixels.")
    steps: int = Field(
        20,
        ge=1,
        description="Most optimisation steps; each costs two forward and input-backward passes a view. A view that has settled stops "
        "before.",
    )
    learning_rate: float = Field(1 / 15, gt=0, le=1, description="Most that a weight moves a step, of 1.")
    momentum: float = Field(0.5, ge=0, lt=1, description="Share of the last step's direction in the next.")
    smooth_px: float = Field(1.0, ge=0, description="Standard deviation of the Gaussian that smooths the weights, px.")


class PeerSettings(Settings):
    """The peers' own choices; a change of one changes the maps of its method only."""

    ig_steps: int = Field(50, ge=2, description="Integration steps of integrated gradients.")
    shap_samples: int = Field(20, ge=1, description="Points on noisy paths that gradient SHAP averages over.")
    smooth_samples: int = Field(20, ge=1, description="Noisy copies that SmoothGrad averages over.")
    smooth_noise: float = Field(0.15, gt=0, description="Standard deviation of SmoothGrad's noise, share of the view's range.")
    occlusion_px: int = Field(16, ge=2, description="Side of the occluding square, px; it moves by half of it.")
    segments: int = Field(8, ge=2, le=64, description="KernelSHAP and LIME explain so many squares along each axis of a view.")
    segment_samples: int = Field(500, ge=8, description="Forward passes of KernelSHAP and of LIME, a view.")
    rise_masks: int = Field(2000, ge=1, description="Random masks of RISE, a view.")
    rise_cells: int = Field(8, ge=2, description="Cells of RISE's masks along each axis of a view.")
    mask_steps: int = Field(100, ge=1, description="Optimisation steps of the deletion mask.")
    mask_area: float = Field(0.3, ge=0, description="Price of the deletion mask's mean, in units of probability.")
    mask_roughness: float = Field(0.2, ge=0, description="Price of the deletion mask's total variation.")


PEER_CHOICES: dict[str, set[str]] = {
    "integrated_gradients": {"ig_steps"},
    "gradient_shap": {"shap_samples"},
    "smooth_grad": {"smooth_samples", "smooth_noise"},
    "occlusion": {"occlusion_px"},
    "kernel_shap": {"segments", "segment_samples"},
    "lime": {"segments", "segment_samples"},
    "rise": {"rise_masks", "rise_cells"},
    "deletion_mask": {"mask_steps", "mask_area", "mask_roughness"},
}
