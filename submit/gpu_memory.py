"""How much GPU memory a network needs to train: an estimate from its counts, and the bound to ask for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from submit.compatibility import HONEST
from submit.errors import KitError
from submit.runtime import network
from submit.runtime.exit_codes import Fault
from submit.runtime.network import Network
from submit.units import mebibytes, size

MIB = 2**20
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# The CUDA context with cuDNN, cuBLAS and the framework's kernels. Not measured by this project (no GPU): 500 to 900 MiB
# are what such processes show before the first batch, and more is asked than too little
CONTEXT_MIB = 1024
# Beside the activations: gradients that live while the backward pass goes through them, and room for convolutions. On
# the CPU the U-Net took 0.92 of its activations in all, 25.8 MiB for an image of 128 x 128 (tests/unet_segmentation);
# cuDNN's workspaces come on top
BACKWARD = 0.25
# of the whole, for what the allocator cannot use
FRAGMENTS = 0.1


@dataclass(frozen=True)
class Estimate:
    """Parts in MiB for one training step, and the `gpus_minimum_memory` that holds them."""

    batch: int
    precision: str
    weights: float
    activations: float
    context: float
    total: float
    gpus_minimum_memory: str

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.total:.0f} MiB for a batch of {self.batch} in {self.precision}: weights, gradients and optimiser "
            f"{self.weights:.0f}, activations {self.activations:.0f}, CUDA and framework {self.context:.0f} (assumed)"
        )


def estimate(net: Network, batch: int | None = None, precision: str | None = None) -> Estimate:
    """The memory of a training step with `batch` samples; by default those of the network's own training.

    Weights, gradients and what the optimiser keeps are float32 in mixed precision too (Micikevicius et al. 2018), which
    keeps one more copy of the weights in half precision.
    """
    batch, precision = batch or net.batch, precision or net.precision
    if precision not in BYTES:
        raise KitError(f"precision={precision!r}: unknown; want one of {', '.join(BYTES)}. Try bfloat16.")
    if batch < 1:
        raise KitError(f"batch={batch}: no batch; want 1 or more. Try {net.batch}.")
    copy = 0 if precision == "float32" else BYTES[precision]
    weights = net.parameters * (4 * (2 + net.optimizer_slots) + copy) / MIB
    activations = batch * (net.activations * (1 + BACKWARD) + net.inputs) * BYTES[precision] / MIB
    total = (weights + activations) * (1 + FRAGMENTS) + CONTEXT_MIB
    asked = size(math.ceil(total / 512) * 512)
    return Estimate(batch, precision, weights, activations, CONTEXT_MIB, total, asked)


def honest(marketed: str) -> str:
    """`40GB` -> the most that every card sold as 40 GB shows: `37682MB`. Raises KitError where it is no size."""
    try:
        return size(int(mebibytes(marketed) * HONEST))
    except ValueError as fault:
        raise KitError(f"memory={marketed!r}: {fault}.") from None


def of_file(path: Path, batch: int | None = None, precision: str | None = None) -> Estimate:
    """The estimate for a `model.json`. Raises KitError where it is none."""
    try:
        return estimate(network.read(path), batch, precision)
    except Fault as fault:
        raise KitError(str(fault)) from None
