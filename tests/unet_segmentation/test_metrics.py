from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from unet_segmentation import metrics
from unet_segmentation.labels import conventions

BRATS = conventions()["brats2017-2021"]
MASK = arrays.arrays(np.bool_, (3, 4, 5))


def test_by_hand() -> None:
    truth = np.array([0, 0, 1, 2, 2, 4, 4, 4])
    predicted = np.array([0, 2, 1, 2, 4, 4, 4, 0])
    # whole: 6 and 6 voxels, 5 common; core: 4 and 4, 3 common; enhancing: 3 and 3, 2 common
    scores = metrics.region_dice(predicted, truth, BRATS)
    assert scores == {"whole": round(10 / 12, 6), "core": 0.75, "enhancing": round(4 / 6, 6)}


def test_empty_regions() -> None:
    none, some = np.zeros(4, bool), np.ones(4, bool)
    assert metrics.dice(none, none) == 1
    assert metrics.dice(none, some) == metrics.dice(some, none) == 0


@given(MASK, MASK)
def test_dice_is_symmetric_and_the_harmonic_mean_of_precision_and_recall(one: np.ndarray, other: np.ndarray) -> None:
    value = metrics.dice(one, other)
    assert 0 <= value <= 1 and value == metrics.dice(other, one)
    assert metrics.dice(one, one) == 1
    common = (one & other).sum()
    if common:
        precision, recall = common / one.sum(), common / other.sum()
        assert value == pytest.approx(2 * precision * recall / (precision + recall))


def test_mean() -> None:
    scores = {"a": {"whole": 0.5, "core": 1, "enhancing": 0}, "b": {"whole": 1, "core": 0, "enhancing": 0}}
    assert metrics.mean(scores) == {"whole": 0.75, "core": 0.5, "enhancing": 0}
    assert metrics.mean({}) == {}
