"""`model.json`: what a network costs in memory, written by the trainer, read where a GPU is asked for.

    {"format": 1, "name": "unet", "parameters": 2160000, "activations": 31457280, "inputs": 65536,
     "optimizer_slots": 2, "batch": 8, "precision": "float32"}

`activations` and `inputs` are numbers of elements for one sample: what the forward pass makes and the backward pass
needs. `optimizer_slots`: numbers that the optimiser keeps for each parameter (Adam: 2), an average of the weights
included.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json

FORMAT = 1
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Network:
    """The fields of `model.json`; see above."""

    name: str
    parameters: int
    activations: int
    inputs: int
    optimizer_slots: int
    batch: int
    precision: str

    def write(self, path: Path) -> None:
        """Writes the file in one step."""
        write_json(path, {"format": FORMAT, **asdict(self)})


def read(path: Path) -> Network:
    """Raises BadInput, which names the field, where the file is no model.json."""
    wanted = "a model.json that the trainer wrote"
    mend = "train for a step, it lies beside model.keras; or write the fields by hand (submit/runtime/network.py)"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise BadInput(path, str(getattr(fault, "strerror", None) or "not JSON"), wanted, mend) from None
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise BadInput(path, f"no format {FORMAT}", wanted, mend)
    values: dict[str, Any] = {}
    for field in fields(Network):
        value = held.get(field.name)
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= (field.name == "batch")
        if not (isinstance(value, str) if field.name in ("name", "precision") else whole):
            raise BadInput(f"{path}: {field.name}", repr(value)[:40], wanted, mend)
        values[field.name] = value
    if values["precision"] not in PRECISIONS:
        raise BadInput(f"{path}: precision", repr(values["precision"]), f"one of {', '.join(PRECISIONS)}", mend)
    return Network(**values)
