"""What one step of PCIM costs beside the network itself: time and peak memory over a bare forward and input-backward pass.

``python benchmarks/step.py [--quick] [--write]``, from the repository's root; some minutes on one core. On a GPU it measures
ResNets of size 18 and 50 at 224 x 224 under bfloat16 and writes step_gpu.json; without one, a small CNN and a small ResNet.
"""

from __future__ import annotations

from harness import Row, options, paired_ratio, report
from speed import DEVICE, Work, peak_bytes

TIME_BAR = {"cuda": 1.05, "cpu": 1.10}
MEMORY_BAR = 1.10
ON = {
    "cuda": (("ResNet-18 size", 64, (224,)), ("ResNet-50 size", 64, (224,))),
    "cpu": (("small CNN", 8, (64, 128, 224)), ("small ResNet", 8, (64, 128, 224))),
}


def synchronised(work: object) -> object:
    """Wait for the device before and after, so that time is the work's own."""
    if DEVICE == "cpu":
        return work
    import torch

    def run() -> None:
        work()  # type: ignore[operator]
        torch.cuda.synchronize()

    return run


def main(*, quick: bool, write: bool) -> None:
    """Measure every network at every size; the quick form takes the smallest size and fewer turns."""
    rows = []
    for name, batch, sides in ON[DEVICE]:
        for side in sides[:1] if quick else sides:
            work = Work.of(name, batch, side)
            ratio = paired_ratio(synchronised(work.step()), synchronised(work.bare()), 3 if quick else 21)
            place = f"{name}, {side} x {side}, batch {batch}"
            rows.append(Row(f"{place}: a step / the bare pass, time", ratio, "x", TIME_BAR[DEVICE], "lower"))
            memory = peak_bytes("step", name, 4 * batch, side) / peak_bytes("bare", name, 4 * batch, side)
            rows.append(Row(f"{place}: a step / the bare pass, peak memory", memory, "x", MEMORY_BAR, "lower"))
    report("step" if DEVICE == "cpu" else "step_gpu", rows, quick, write)


if __name__ == "__main__":
    main(**vars(options(__doc__)))
