"""How much GPU memory a network needs to train: an estimate from its counts, and the bound to ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from submit.compatibility import HONEST, data
from submit.errors import KitError, wrong
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
# the CPU the U-Net took 0.80 to 0.83 of its activations in all: 22.4 to 23.1 of 27.9 MiB for an image of 128 x 128, 5.9
# of 7.0 at 64 x 64 (tests/unet_segmentation/test_memory.py). cuDNN's workspaces come on top
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
    batch, precision = net.batch if batch is None else batch, precision or net.precision
    if precision not in BYTES:
        raise KitError(f"precision={precision!r}: unknown; want one of {', '.join(BYTES)}. Try bfloat16.")
    if batch < 1:
        raise KitError(f"batch={batch}: no batch; want 1 or more. Try {max(net.batch, 1)}.")
    copy = 0 if precision == "float32" else BYTES[precision]
    weights = net.parameters * (4 * (2 + net.optimizer_slots) + copy) / MIB
    activations = batch * (net.activations * (1 + BACKWARD) + net.inputs) * BYTES[precision] / MIB
    total = (weights + activations) * (1 + FRAGMENTS) + CONTEXT_MIB
    asked = size(math.ceil(total / 512) * 512)
    return Estimate(batch, precision, weights, activations, CONTEXT_MIB, total, asked)


@dataclass(frozen=True)
class CardMemory:
    """The `gpus_minimum_memory` that takes every card of a name or size, and the models that show less."""

    gpus_minimum_memory: str
    left_out: tuple[str, ...]


def memory(size_or_card: str) -> CardMemory:
    """`40GB`, the number on the box, -> what every card sold as that shows; `A100 40GB` -> what that card shows, in
    whole GB where it was seen.

    Raises:
        KitError: no size with a unit, and no card of the data.
    """
    try:
        asked = int(mebibytes(size_or_card) * HONEST)
    except ValueError as fault:
        if not re.match(r"\s*[A-Za-z]", size_or_card):
            raise KitError(f"memory={size_or_card!r}: {fault}.") from None
        card = _card(size_or_card)
        asked = shown(card) // 1024 * 1024 if "advertised_mb" in card else shown(card)
    return CardMemory(size(asked), left_out(asked))


def honest(marketed: str) -> str:
    """The `gpus_minimum_memory` of `memory`: 40GB -> 37683MB."""
    return memory(marketed).gpus_minimum_memory


def shown(card: Mapping[str, Any]) -> int:
    """MiB that a card advertises as GlobalMemoryMb: as seen, else the least that its name can mean."""
    return int(card.get("advertised_mb", card["memory_gb"] * 1024 * HONEST))


def left_out(asked: int) -> tuple[str, ...]:
    """The models that show less than `asked` MiB."""
    return tuple(card["model"] for card in data()["gpus"] if shown(card) < asked)


def _card(name: str) -> Mapping[str, Any]:
    """The one card of a name, case, spaces and makers' words aside; a name alone stands for no part of its memory."""
    wanted = _plain(name)
    rows: dict[str, Mapping[str, Any]] = {row["model"]: row for row in data()["gpus"]}
    exact = [row for row in rows.values() if wanted in map(_plain, (row["model"], *row["device_names"]))]
    found = exact or [row for row in rows.values() if wanted and _plain(row["model"]).startswith(wanted)]
    if len(found) != 1:
        what, known = ("several cards", [row["model"] for row in found]) if found else ("no such card", list(rows))
        raise KitError(
            wrong("memory", name, what, f"want a size such as 40GB, or one of {', '.join(known)}", f"Try {known[0]}")
        )
    return found[0]


def _plain(name: str) -> str:
    return re.sub(r"nvidia|geforce|tesla|[^a-z0-9.]", "", name.lower())


def of_file(path: Path, batch: int | None = None, precision: str | None = None) -> Estimate:
    """The estimate for a `model.json`. Raises KitError where it is none."""
    try:
        return estimate(network.read(path), batch, precision)
    except Fault as fault:
        raise KitError(str(fault)) from None
