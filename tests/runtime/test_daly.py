"""The interval and the goodput, against a simulation, a search and known limits."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.runtime import daly

SECONDS = st.floats(0.01, 1e6)


@given(SECONDS, SECONDS, SECONDS)
def test_no_other_interval_is_better(cost: float, restart: float, mtbf: float) -> None:
    best = daly.optimal_interval(cost, mtbf)
    assert 0 < best < mtbf * 1.000001
    highest = daly.goodput(best, cost, restart, mtbf)
    assert 0 <= highest <= 1
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert daly.goodput(best * factor, cost, restart, mtbf) <= highest * (1 + 1e-9)


def test_youngs_formula_where_the_cost_is_small() -> None:
    assert daly.optimal_interval(1.0, 1e6) == pytest.approx(math.sqrt(2e6), rel=1e-3)


def test_nothing_is_safe_without_work_or_in_a_piece_that_never_ends() -> None:
    assert daly.goodput(0.0, 1.0, 1.0, 60.0) == 0.0
    assert daly.goodput(1e6, 1.0, 1.0, 60.0) == 0.0
    assert daly.optimal_interval(0.0, 60.0) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("interval", "cost", "restart", "mtbf"), [(25.0, 6.0, 8.0, 60.0), (400.0, 20.0, 60.0, 3600.0)])
def test_goodput_is_what_a_simulation_gives(interval: float, cost: float, restart: float, mtbf: float) -> None:
    chance, spent, pieces = random.Random(1), 0.0, 20_000
    for _ in range(pieces):
        left = chance.expovariate(1 / mtbf)  # until the machine is lost: without memory, so drawn anew for each piece
        wanted = interval + cost
        while left < wanted:
            spent += left
            left, wanted = chance.expovariate(1 / mtbf), restart + interval + cost
        spent += wanted
    assert pieces * interval / spent == pytest.approx(daly.goodput(interval, cost, restart, mtbf), rel=0.03)


@given(SECONDS, st.integers(0, 100), st.floats(0, 1e7))
def test_a_mean_time_is_one(guess: float, losses: int, seconds: float) -> None:
    found = daly.mtbf(guess, losses, seconds)
    assert found > 0 and math.isfinite(found)
    assert daly.mtbf(guess, losses + 1, seconds) <= found, "one more loss is no better sign"
    assert daly.mtbf(guess, losses, seconds * 2 + 1) >= found * 0.999999, "nor is more time without one a worse"


def test_a_guess_holds_until_something_is_seen_and_not_longer() -> None:
    assert daly.mtbf(60, 0, 0) == pytest.approx(60)
    assert 60 < daly.mtbf(60, 0, 30) < 150
    assert daly.mtbf(36000, 3, 180) < 500
    assert daly.mtbf(36000, 10, 600) < 100
    assert daly.mtbf(36000, 30, 1800) == pytest.approx(60, rel=0.25)
    assert daly.mtbf(36000, 0, 360_000) > 200_000
