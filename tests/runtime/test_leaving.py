"""When to save and to leave: a clock and ads in, a word out."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from submit.runtime import daly
from submit.runtime.classad import Ad
from submit.runtime.leaving import CATEGORY_SHARE, DEADLINE_S, FIRST_COST, LEAVE, SAVE, Intervals, Leaving, terminated

NOW = 1_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def leaving(wished: Intervals, clock: Clock, state: Any = None, job: Any = None, machine: Any = None) -> Leaving:
    return Leaving(wished, clock.now, state, clock, Ad(job or {}), Ad(machine or {}))


def steps(it: Leaving, clock: Clock, seconds: float, most: int = 10_000) -> list[str]:
    """What steps of so many seconds are told, up to the first one that is told to leave."""
    said: list[str] = []
    while len(said) < most and LEAVE not in said:
        clock.now += seconds
        said.append(it.step())
        if said[-1] == SAVE:
            it.saved()
    return said


def test_two_intervals_kept_apart() -> None:
    clock = Clock()
    said = steps(leaving(Intervals(save_s=10, leave_s=35), clock), clock, 1)
    # leaving is counted from the first step on: the start is no work
    assert [at for at, word in enumerate(said, 1) if word == SAVE] == [10, 20, 30] and len(said) == 36


def test_by_steps() -> None:
    clock = Clock()
    said = steps(leaving(Intervals(save_s=0, save_steps=4, leave_steps=10), clock), clock, 100)
    assert [at for at, word in enumerate(said, 1) if word] == [4, 8, 10]


def test_nothing_is_wished() -> None:
    clock = Clock()
    assert set(steps(leaving(Intervals(save_s=0), clock, machine={"GLIDEIN_ToDie": NOW + 50}), clock, 3600, 30)) == {""}


def test_what_is_work() -> None:
    """The first step compiles: it counts as long as the second. Saving is no work, and what a lost process did after
    its last checkpoint is not in the state."""
    clock = Clock()
    it = leaving(Intervals(save_s=0), clock)
    clock.now += 20
    it.step()
    assert it.useful == 0
    clock.now += 2
    it.step()
    assert it.useful == 4
    clock.now += 7
    it.saved()
    clock.now += 3
    it.step()
    assert it.useful == 7
    again = leaving(Intervals(save_s=0), clock, it.state())
    assert again.useful == 7
    clock.now += 5
    it.over()
    assert it.useful == 12, "scores and pictures are work too"


def test_what_leaving_costs_is_measured_in_the_same_sandbox_alone() -> None:
    clock = Clock()
    here = {"JobCurrentStartDate": NOW - 5, "NumShadowStarts": 1}
    first = leaving(Intervals(leave_s=30, evicted_s=3600), clock, job=here)
    steps(first, clock, 3)
    assert first.start == 8 and first.cost == FIRST_COST * 3  # nothing is known yet
    state = first.state(leaving=True)
    clock.now += 4  # save, transfer, start
    second = leaving(Intervals(leave_s=30, evicted_s=3600), clock, state, here)
    steps(second, clock, 2, most=1)
    assert second.cost == 6 and second.start == 8
    other = leaving(Intervals(leave_s=30), clock, state, {"JobCurrentStartDate": clock.now - 9})
    steps(other, clock, 2, most=1)
    assert other.state()["cost"] is None and other.start == 11
    # a slower one later does not count: it may have waited
    third = leaving(Intervals(leave_s=30), clock, second.state(leaving=True), here)
    steps(third, clock, 100, most=1)
    assert third.cost == 6


def test_the_interval_follows_from_the_cost_and_the_evictions_seen() -> None:
    clock = Clock()
    state = {"useful": 0.0, "cost": 6.0, "start": 8.0, "left": None}
    job = {"JobCurrentStartDate": NOW, "NumShadowStarts": 31, "RemoteWallClockTime": 1800.0}
    wished = Intervals(leave_s=3600, evicted_s=36000)
    it = leaving(wished, clock, state, job)
    assert it.mtbf == pytest.approx(60, rel=0.5)
    assert it.interval == pytest.approx(daly.optimal_interval(6.0, it.mtbf))
    said = steps(it, clock, 1)
    assert len(said) == pytest.approx(it.interval, abs=2)
    calm = leaving(wished, clock, state, {"NumShadowStarts": 1, "JobCurrentStartDate": NOW, "RemoteWallClockTime": 0})
    assert 600 < calm.interval < 3600, "what was guessed at the beginning"
    ran = {"NumShadowStarts": 4, "NumJobCompletions": 3, "RemoteWallClockTime": 9e6}
    assert leaving(wished, clock, state, ran).interval == 3600, "a try that ended by itself is no eviction"


@pytest.mark.parametrize(
    ("job", "ceiling"),
    [
        ({"JobDurationCategory": "Medium"}, CATEGORY_SHARE * 36000),
        ({"JobDurationCategory": "Long"}, CATEGORY_SHARE * 72000),
        ({"JobDurationCategory": "Medium", "AllowedExecuteDuration": 600}, CATEGORY_SHARE * 600),
        ({}, 1e6),
    ],
)
def test_no_longer_than_the_pool_allows(job: dict[str, Any], ceiling: float) -> None:
    assert leaving(Intervals(leave_s=1e6), Clock(), job=job).interval == ceiling


def test_before_the_pilot_ends_and_once() -> None:
    clock = Clock()
    wished, machine = Intervals(save_s=0, leave_s=36000), {"GLIDEIN_ToDie": NOW + 1000}
    it = leaving(wished, clock, machine=machine)
    said = steps(it, clock, 10)
    assert len(said) * 10 == pytest.approx(1000 - DEADLINE_S - 2 * FIRST_COST * 10, abs=10)
    late = leaving(wished, clock, it.state(leaving=True), machine=machine)
    assert LEAVE not in steps(late, clock, 10, most=100), "it was told so already: it goes on until it is lost"


def test_what_is_expected_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    it = leaving(Intervals(leave_s=3600, evicted_s=60), clock, {"useful": 0.0, "cost": 6.0, "start": 8.0, "left": None})
    steps(it, clock, 1, most=3)
    assert capsys.readouterr().err == (
        "leaving    after every 23 s of work: leaving costs 6 s, machines are lost about every 60 s, a start takes "
        "1 s; 61% of the time is work that stays\n"
    )


def test_clocks_that_differ() -> None:
    clock = Clock()
    it = leaving(Intervals(leave_s=60), clock, job={"JobCurrentStartDate": NOW + 5000})
    steps(it, clock, 2, most=1)
    assert it.start == 2
    guessed = leaving(Intervals(evicted_s=60), clock, job={"JobCurrentStartDate": NOW + 5000})
    assert guessed.mtbf == pytest.approx(60)


def test_sigterm_is_noted_and_the_handler_goes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with terminated() as received:
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before
