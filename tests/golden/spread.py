"""How far the golden numbers move where no formula did: another processor rounds otherwise.

``python tests/golden/spread.py`` (three minutes) writes spread.json anew: by stage and name, the largest distance from the numbers
as this machine usually finds them. It measures with other instruction sets, libraries and numbers of threads, as far as this
machine has them. A processor that it has not is imitated: what an operation returns is changed at random by 1e-6 of itself, where
float32 rounds by 6e-8.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import measure
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

VARIANTS: dict[str, dict[str, str]] = {
    "2 threads": {"GOLDEN_THREADS": "2"},
    "4 threads": {"GOLDEN_THREADS": "4"},
    "torch without AVX": {"ATEN_CPU_CAPABILITY": "default"},
    "torch with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "torch with AVX-512": {"ATEN_CPU_CAPABILITY": "avx512"},
    "no oneDNN": {"GOLDEN_ONEDNN": "0"},
    "oneDNN with SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "oneDNN with AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "MKL for any processor": {"MKL_CBWR": "COMPATIBLE"},
    "MKL with AVX2": {"MKL_CBWR": "AVX2"},
    "OpenBLAS for an old processor": {"OPENBLAS_CORETYPE": "Nehalem"},
    "OpenBLAS with AVX2": {"OPENBLAS_CORETYPE": "Haswell"},
    "NumPy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
}
"""What the numbers are measured with, beside what this machine chooses: GOLDEN_* are read here, all others by the libraries."""

COARSE = 1e-6
SEEDS = range(16)
"""Made-up rounding: its standard deviation, relative, and one measurement a seed."""

ROUNDED = {
    "convolution", "convolution_backward", "addmm", "mm", "bmm", "mv", "_linalg_solve_ex", "sum", "mean", "std",
    "avg_pool2d", "upsample_bilinear2d", "upsample_bicubic2d", "exp", "log", "cos", "pow", "sqrt", "sigmoid", "softplus",
    "logsumexp", "xlogy", "randn", "_softmax", "_log_softmax", "_log_softmax_backward_data",
    "lerp", "lerp_", "addcmul", "addcmul_", "addcdiv_",
}  # fmt: skip
"""The operations whose last bits are the processor's or a library's choice; one addition or product is the same everywhere."""


class Rounding(TorchDispatchMode):
    """Multiplies each element that these operations return, below the gradients too, by 1 + `coarse` * (a standard normal number)."""

    def __init__(self, seed: int, coarse: float = COARSE) -> None:
        super().__init__()
        self.lot, self.coarse = torch.Generator().manual_seed(seed), coarse

    def __torch_dispatch__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = called(*args, **(kwargs or {}))
        if called._schema.name.removeprefix("aten::") in ROUNDED:
            for tensor in tree_leaves(found):
                if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                    tensor.mul_(1 + self.coarse * torch.randn(tensor.shape, generator=self.lot).to(tensor))
        return found


def measure_so() -> dict[str, Any]:
    """Measure with as many threads as the environment asks for, and without oneDNN if it says so."""
    view = measure.View()  # which sets the threads to 1
    torch.set_num_threads(int(os.environ.get("GOLDEN_THREADS", "1")))
    torch.backends.mkldnn.enabled = os.environ.get("GOLDEN_ONEDNN") != "0"
    return measure.measure(view=view)


def measured_in(variant: dict[str, str]) -> dict[str, Any]:
    """Measure in a process of its own, whose libraries read the variant when they start."""
    done = subprocess.run([sys.executable, __file__, "once"], env=os.environ | variant, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured_coarsely(seed: int, coarse: float = COARSE) -> dict[str, Any]:
    """Measure with made-up rounding."""
    with Rounding(seed, coarse):
        return measure_so()


def distances(found: dict[str, Any], usual: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return how far apart two measurements are, by stage and name."""
    return {
        stage: {name: abs(found[stage]["numbers"][name] - value) for name, value in known["numbers"].items()}
        for stage, known in usual.items()
    }


def main() -> None:
    usual = measure_so()
    apart = [distances(measured_in(variant), usual) for variant in VARIANTS.values()]
    apart += [distances(measured_coarsely(seed), usual) for seed in SEEDS]
    spread = {
        stage: {name: float(f"{max(one[stage][name] for one in apart):.1e}") for name in known["numbers"]} for stage, known in usual.items()
    }
    measure.SPREAD.write_text(json.dumps(spread, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["once"]:
        json.dump(measure_so(), sys.stdout)
    else:
        main()
