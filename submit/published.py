"""What a job publishes of itself in its ad, read back on the access point (submit/runtime/progress.py writes it)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

MOST_UNIT = 20  # characters of the word for what a job counts


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a job says of itself (submit/runtime/progress.py); None where it says nothing.

    Attributes:
        left: seconds to its last step, at the moment `at` (seconds since the epoch).
        dice, validation_dice: of the last batches, of held-out patients.
        rate: so many `unit` a second.
        gpu_use: share of the time in which its GPUs were busy; HTCondor's own average where the job says nothing.
    """

    epoch: int | None = None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    dice: float | None = None
    validation_dice: float | None = None
    rate: float | None = None
    unit: str | None = None
    gpu_use: float | None = None
    left: float | None = None
    at: int | None = None

    @property
    def share(self) -> float | None:
        """Of the steps that are done, 0 to 1."""
        return min(1.0, max(0.0, self.step / self.steps)) if self.step is not None and self.steps else None

    def as_dict(self) -> dict[str, Any]:
        """Without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


ATTRIBUTES = {
    one.name: "ChirpOsgdl" + "".join(word.title() for word in one.name.split("_")) for one in fields(Published)
}
AVERAGE_USE = "GPUsAverageUsage"


def of_ad(ad: Mapping[str, Any]) -> Published:
    """Of a job's ad; what is no number there is not known."""
    values: dict[str, Any] = {name: number(ad.get(attribute)) for name, attribute in ATTRIBUTES.items()}
    for name in ("epoch", "step", "steps", "at"):
        values[name] = None if values[name] is None else int(values[name])
    unit = ad.get(ATTRIBUTES["unit"])
    values["unit"] = unit if isinstance(unit, str) and unit.isprintable() and len(unit) <= MOST_UNIT else None
    if values["gpu_use"] is None:
        values["gpu_use"] = number(ad.get(AVERAGE_USE))
    return Published(**values)


def number(value: object) -> float | None:
    """A finite number of an ad; None for all else."""
    try:
        return float(value) if type(value) in (int, float) and math.isfinite(value) else None  # type: ignore[arg-type]
    except OverflowError:
        return None
