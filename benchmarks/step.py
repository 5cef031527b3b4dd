"""What one step of PCIM costs beside the network itself: time and peak memory over a bare forward and input-backward pass.

``python benchmarks/step.py [--quick] [--write]``, from the repository's root; some minutes on one core. On a GPU it measures
ResNets of size 18 and 50 at 224 x 224 under bfloat16 and writes step_gpu.json; without one, a small CNN and a small ResNet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Row, options, paired_ratio, report
from speed import DEVICE, Work, peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

TIME_BAR = {"cuda": 1.05, "cpu": 1.10}
MEMORY_BAR = 1.10
ON = {
    "cuda": (("ResNet-18 size", 224, 64), ("ResNet-50 size", 224, 64)),
    # As many pixels a batch at every size; and a batch so small that calling the operations is what it costs.
    "cpu": tuple((name, side, batch) for name in ("small CNN", "small ResNet") for side, batch in ((64, 8), (64, 64), (128, 16), (224, 8))),
}


def synchronised(work: Callable[[], object]) -> Callable[[], object]:
    """Wait for the device after the work, so that its time is all of it."""
    if DEVICE == "cpu":
        return work
    import torch

    def run() -> None:
        work()
        torch.cuda.synchronize()

    return run


def main(*, quick: bool, write: bool) -> None:
    """Measure every network at every size; the quick form takes two of them and fewer turns."""
    rows = []
    for name, side, batch in ON[DEVICE][:2] if quick else ON[DEVICE]:
        work = Work.of(name, batch, side)
        ratio = paired_ratio(synchronised(work.step()), synchronised(work.bare()), 3 if quick else 21)
        place = f"{name}, {side} x {side}, batch {batch}"
        rows.append(Row(f"{place}: a step / the bare pass, time", ratio, "x", TIME_BAR[DEVICE], "lower"))
        if side == 224:  # noqa: PLR2004 - below it what the process itself holds hides the difference
            memory = peak_bytes("step", name, 4 * batch, side) / peak_bytes("bare", name, 4 * batch, side)
            rows.append(Row(f"{name}, {side} x {side}, batch {4 * batch}: peak memory", memory, "x", MEMORY_BAR, "lower"))
    report("step" if DEVICE == "cpu" else "step_gpu", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
