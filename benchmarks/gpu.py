"""On a machine with one GPU: training images/s, augmentation on, in bfloat16, against PyTorch in its best setting.

    make bench BENCH=gpu             python -m benchmarks.gpu [--rounds N] [--seconds S]

Two networks, each of 4 modalities and 3 regions, trained by our loop with Keras on JAX and on TensorFlow, and by
PyTorch with torch.compile, channels-last, bf16 autocast and augmentation on the device (gpu_torch.py):
    dong    the paper's, 64 to 1024 maps, 240 x 240, batch 10, no normalisation
    unet    32 to 1024 maps on 6 levels, 192 x 160, batch 64, instance normalisation
Goal: the better of our two 1.1 times PyTorch. The rows' details hold the share of the GPU's peak (the arithmetic
counted from the network, three times the forward pass, over the dense bfloat16 peak of NVIDIA's data sheets) and the
share of time in which the GPU was busy, by nvidia-smi's samples. Where there is no GPU, the rows say "not measured".

A backend that is not installed with CUDA is left out, and said so.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.pairs import equal, measure, medians, summary, worker
from benchmarks.results import Result, report

# Dense bfloat16 FLOP/s by a part of the name that nvidia-smi gives, from NVIDIA's data sheets; the first that fits
# counts. H100 without PCIe in its name is the SXM card
PEAK = {
    "H200": 989.4e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989.4e12,
    "A100": 312e12,
    "L40S": 362e12,
}


@dataclass(frozen=True)
class Case:
    """A network and what it is trained on.

    Attributes:
        width, levels, normalisation: of the U-Net.
        sides: of an image, pixels.
        batch: images a step.
    """

    width: int
    levels: int
    normalisation: str
    sides: tuple[int, int]
    batch: int
    channels: int = 4
    regions: int = 3

    def words(self) -> list[object]:
        """For a worker's command line."""
        return [
            *("--width", self.width, "--levels", self.levels, "--normalisation", self.normalisation),
            *("--sides", *self.sides, "--batch", self.batch),
        ]

    def flop(self) -> int:
        """Floating-point operations of training on one image: multiplications and additions of all convolutions, once
        forward and twice backward (for the inputs and for the weights).
        """
        pixels = self.sides[0] * self.sides[1]
        maps = [self.width * 2**level for level in range(self.levels)]
        products, before = 0, self.channels
        for level, after in enumerate(maps):
            here = pixels // 4**level
            products += here * 9 * (before * after + after * after)
            if level < self.levels - 1:  # the way up: a deconvolution of the coarser pixels, then 2 * after to after
                products += (here // 4) * 9 * 2 * after * after
                products += here * 9 * (2 * after * after + after * after)
            before = after
        products += pixels * self.width * self.regions
        return 3 * 2 * products


CASES = {
    "dong, 240x240, batch 10": Case(64, 5, "none", (240, 240), 10),
    "unet, 192x160, batch 64": Case(32, 6, "instance", (192, 160), 64),
}
BACKENDS, PEER = ("jax", "tensorflow"), "pytorch"
GOAL, BUSY_GOAL = 1.1, 95.0
COMMAND = "make bench BENCH=gpu"


class Busy:
    """Samples the GPU's busy share, in percent, while a block runs."""

    def __enter__(self) -> Busy:
        self.samples: list[int] = []
        command = [
            "nvidia-smi",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
            "-lms",
            "100",
            "-i",
            "0",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line.strip().isdigit():
                self.samples.append(int(line))

    def __exit__(self, *fault: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join(5)

    def over(self, seconds: float) -> float | None:
        """Mean of the last so many seconds."""
        last = self.samples[-max(1, int(seconds * 10)) :]
        return statistics.fmean(last) if last else None


def gpu() -> str | None:
    """The first GPU's name."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "-i", "0"]
    done = subprocess.run(asked, capture_output=True, text=True)
    name = done.stdout.strip()
    return name if done.returncode == 0 and name else None


def once(name: str, command: Sequence[str], variables: dict[str, str], seconds: float) -> dict[str, Any] | None:
    """A side's numbers with the busy share over its timed part; None if it does not run here."""
    with Busy() as busy:
        try:
            found = measure(command, **variables)
        except SystemExit as fault:
            print(f"  {name}: not measured: {fault}")
            return None
    found["busy"] = busy.over(seconds)  # the worker ends within a second of its last step
    print(f"  {name:12} {summary(found)}", flush=True)
    return found


def compare(name: str, case: Case, device: str, rounds: int, seconds: float) -> Result:
    """Ours on every backend that is there against PyTorch."""
    print(f"gpu: {name} on {device}", flush=True)
    common = [*case.words(), "--seconds", seconds]
    sides = {b: (worker("gpu_keras", *common), {"KERAS_BACKEND": b}) for b in BACKENDS}
    sides[PEER] = (worker("gpu_torch", *common), {})
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for side, (command, variables) in sides.items():
            if one := once(side, command, variables, seconds):
                found.setdefault(side, []).append(one)
    mine = {side: value for side, value in medians(found).items() if side in BACKENDS}
    if not mine or PEER not in found:
        return missing(name, f"not measured: ran only {', '.join(found) or 'nothing'}")
    count = equal(found)
    best, peer = max(mine, key=lambda side: mine[side]), medians(found)[PEER]
    peak = next((value for part, value in PEAK.items() if part in device), None)
    busy = {side: [one["busy"] for one in all_of if one["busy"] is not None] for side, all_of in found.items()}
    details = {
        "gpu": device,
        "backend": best,
        "parameters": count,
        "gflop_per_image": round(case.flop() / 1e9, 1),
        "share_of_peak": {s: round(v * case.flop() / peak, 3) for s, v in medians(found).items()} if peak else None,
        "busy_percent": {side: round(statistics.median(shares), 1) for side, shares in busy.items() if shares},
        "busy_goal_percent": BUSY_GOAL,
        "images_per_s": {side: round(value, 1) for side, value in medians(found).items()},
    }
    return Result(title(name), mine[best], peer, mine[best] / peer, GOAL, "images/s", COMMAND, details)


def title(name: str) -> str:
    return f"training on a GPU, {name}: PyTorch compiled"


def missing(name: str, note: str) -> Result:
    """The row of what could not be measured."""
    return Result(title(name), None, None, None, GOAL, "images/s", COMMAND, {"note": note})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of timed training a process")
    options = parser.parse_args()
    device = gpu()
    for name, case in CASES.items():
        if device is None:
            report(missing(name, "not measured: no GPU"))
        else:
            report(compare(name, case, device, options.rounds, options.seconds))


if __name__ == "__main__":
    main()
