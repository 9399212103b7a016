from __future__ import annotations

import io
import re
import time
from typing import Any

from submit.runtime.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def drive(stream: io.StringIO, seconds_a_step: float, **arguments: Any) -> Progress:
    clock = Clock()
    progress = Progress(100, "training", stream=stream, clock=clock, **arguments)
    for step in range(1, 101):
        clock.now += seconds_a_step
        progress.update(step, f"loss {1 / step:.2f}", epoch=step // 10, loss=1 / step)
    return progress


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    stream = io.StringIO()
    drive(stream, 1.0).close(100)
    assert stream.getvalue().split("\n")[0] == "training 10/100  1:30 left  loss 0.10"
    assert len(stream.getvalue().splitlines()) == 11
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_a_bar_on_one_line() -> None:
    stream = Terminal()
    drive(stream, 1.0).close(100)
    assert stream.getvalue().count("\n") == 1
    drawn = stream.getvalue().split("\r\033[K")
    assert re.match("training ━{12}╌{12} 50/100  0:50 left", drawn[50])


def test_a_resumed_run_reckons_with_its_own_speed() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(100, "training", first=50, stream=stream, clock=clock)
    clock.now = 10
    progress.update(60)
    assert stream.getvalue() == "training 60/100  0:40 left\n"


def test_the_queue_sees_the_progress(starter: Any) -> None:
    before = time.time()
    drive(io.StringIO(), 0.01, publish=True).close(100, epoch=10, loss=0.25, measured={"Dice": 0.5})
    assert before - 1 <= int(starter.attributes.pop("ChirpOsgdlAt")) <= time.time()
    assert starter.attributes == {
        "ChirpOsgdlEpoch": "10",
        "ChirpOsgdlStep": "100",
        "ChirpOsgdlSteps": "100",
        "ChirpOsgdlLoss": "0.25",
        "ChirpOsgdlDice": "0.5",
        "ChirpOsgdlLeft": "0",
    }


def test_the_time_left_is_published_by_this_process_s_own_speed(starter: Any) -> None:
    clock = Clock()
    progress = Progress(100, "training", first=50, publish=True, stream=io.StringIO(), clock=clock)
    clock.now = 10
    progress.update(60)
    assert starter.attributes["ChirpOsgdlLeft"] == "40"


def test_no_steps_at_all() -> None:
    stream = Terminal()
    Progress(0, "nothing", stream=stream).close(0)
    assert "0/0" in stream.getvalue()


def test_durations() -> None:
    assert [duration(s) for s in (0, 59.6, 75, 3725)] == ["0:00", "1:00", "1:15", "1:02:05"]


def test_what_is_counted_has_a_rate_which_leaves_out_what_came_before_the_first_step(starter: Any) -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(
        8, "photons", first=2, publish=True, unit="photons", per_step=1000.0, stream=stream, clock=clock
    )
    clock.now = 100.0  # it compiled
    progress.update(3)
    assert progress.rate(3) is None and "photons/s" not in stream.getvalue()
    clock.now = 110.0
    progress.update(8)
    assert stream.getvalue().splitlines()[-1] == "photons 8/8  1:50  500 photons/s"
    assert starter.attributes["ChirpOsgdlRate"] == "500.0" and starter.attributes["ChirpOsgdlUnit"] == '"photons"'
