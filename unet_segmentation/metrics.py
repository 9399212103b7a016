"""Scores of a whole patient volume, never of slices: a mean over slices counts empty ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_segmentation.labels import REGIONS, Convention

EMPTY_CONVENTION = "both empty: 1; one empty: 0 (as BraTS 2023)"


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice (1945) of two masks of any one shape, 0 to 1: twice the overlap over the sum of sizes. Both empty: 1; one
    empty: 0.
    """
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def region_dice(predicted: NDArray[Any], truth: NDArray[Any], convention: Convention) -> dict[str, float]:
    """Dice of whole tumour, core and enhancing tumour, from label values of any one shape."""
    return {
        name: round(dice(convention.region(predicted, name), convention.region(truth, name)), 6) for name in REGIONS
    }


def mean(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean over patients of each region."""
    return (
        {name: round(float(np.mean([score[name] for score in scores.values()])), 6) for name in REGIONS}
        if scores
        else {}
    )
