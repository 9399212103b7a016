"""What a training run has done so far: JSON in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progressed:
    """Of all processes of a run together."""

    step: int = 0
    steps: int = 0  # in all; 0 until `train.minutes` has become a number
    attempt: int = 0  # 1 after the training diverged once
    seconds: float = 0.0
    recent: list[dict[str, float]] = field(default_factory=list)  # sums of the steps since the last row
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)  # step and mean Dice of the best validation
    scaling: dict[str, Any] = field(default_factory=dict)  # `scaling.measure`, where there are several devices
