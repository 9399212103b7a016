from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmentation import schedule
from unet_segmentation.config import TrainConfig

PLAIN = TrainConfig(learning_rate=0.5)


def test_a_warm_up_and_a_cosine_by_hand() -> None:
    """1000 steps: 50 of warm-up, then half of a cosine over 950."""
    rates = [schedule.rate(step, 1000, PLAIN) for step in (0, 24, 49, 50, 525, 999)]
    assert rates == pytest.approx([0.01, 0.25, 0.5, 0.5, 0.25, 0.0], abs=1e-5)


def test_constant_is_constant() -> None:
    constant = TrainConfig(learning_rate=1e-4, schedule="constant")
    assert {schedule.rate(step, 1000, constant) for step in range(0, 1000, 100)} == {1e-4}


def test_a_warm_up_of_ones_own_has_no_limit() -> None:
    """A tenth of 10,000 steps, where the usual one ends after 100; a constant rate has one too, then."""
    for kind in ("cosine", "constant"):
        longer = TrainConfig(learning_rate=0.5, warm_up=0.1, schedule=kind)
        assert [schedule.rate(step, 10_000, longer) for step in (0, 499, 999)] == pytest.approx([0.0005, 0.25, 0.5])
    assert schedule.rate(9_999, 10_000, longer) == 0.5


def test_a_training_that_diverged_has_a_lower_curve() -> None:
    assert schedule.rate(300, 1000, PLAIN, 0.1) == pytest.approx(0.1 * schedule.rate(300, 1000, PLAIN))


def test_while_the_number_of_steps_is_not_known_it_warms_up() -> None:
    assert schedule.rate(schedule.CALIBRATION - 1, 0, PLAIN) == pytest.approx(0.5 * schedule.CALIBRATION / 100)


@given(st.integers(1, 10**6), st.data())
def test_never_beyond_its_peak_nor_below_zero(steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    assert 0 <= schedule.rate(step, steps, PLAIN) <= 0.5


def test_steps_before_minutes_before_epochs() -> None:
    assert schedule.steps_wanted(TrainConfig(epochs=3), epoch=7) == 21
    assert schedule.steps_wanted(TrainConfig(epochs=3, minutes=1), epoch=7) == 0
    assert schedule.steps_wanted(TrainConfig(steps=5, minutes=1), epoch=7) == 5
    assert schedule.steps_in(10.0, 0.3) == 33
    assert schedule.steps_in(-1.0, 0.3) == 1
