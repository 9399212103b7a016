"""When a job saves its work, and when it leaves with exit code 85.

Two intervals, kept apart. Saving in the sandbox is cheap and helps against a crash and SIGTERM. Leaving takes the
checkpoint to the access point; only that survives a lost machine, and it costs a transfer and a start. How often to
leave follows from what leaving costs here, which is measured, and from how often machines are lost (`daly`).

What was measured travels in the checkpoint (`Leaving.state`), and in the job's ad as ChirpOsgdlUseful, ...Leave,
...Start, ...Interval, all in seconds.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Callable, Optional

from submit.runtime import chirp, classad, daly
from submit.runtime.classad import Ad

SAVE, LEAVE = "save", "leave"

# Before leaving was tried: the next process starts as this one did, and what was saved must travel
FIRST_COST = 1.0  # times the seconds from this process's start to its first step
# A job without checkpoints is held after twice this: https://portal.osg-htc.org (+JobDurationCategory), facts 4.1
CATEGORY_S = {"medium": 10 * 3600, "long": 20 * 3600}
CATEGORY_SHARE = 0.9  # of it, for a step or a validation that is under way
# Before the pilot's end, beyond twice what leaving costs
DEADLINE_S = 30.0
SHOWN_CHANGE = 0.25  # of the interval, before it is printed again
PUBLISH_EVERY_S = 20.0
LONGEST_START_S = 24 * 3600  # more is no start: the clocks of two machines


@dataclass(frozen=True)
class Intervals:
    """What is wished, by seconds and by steps; 0: never for this reason.

    Attributes:
        save_s, save_steps: save in the sandbox.
        leave_s, leave_steps: leave with 85; the seconds are a ceiling where `evicted_s` is given.
        evicted_s: seconds between two evictions that are expected before the job knows better; 0: `leave_s` is the
            interval.
    """

    save_s: float = 600.0
    save_steps: int = 0
    leave_s: float = 0.0
    leave_steps: int = 0
    evicted_s: float = 0.0


class Leaving:
    """Tells after each step what is due, and measures what leaving costs.

    Args:
        wished: the intervals.
        began: when this process did, by time.time().
        state: what the checkpoint holds of an earlier process; empty: none.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        wished: Intervals,
        began: float,
        state: Optional[Mapping[str, Any]] = None,
        clock: Callable[[], float] = time.time,
        job: Optional[Ad] = None,
        machine: Optional[Ad] = None,
    ) -> None:
        state = state or {}
        self._wished, self._began, self._clock = wished, began, clock
        self._job = classad.job_ad() if job is None else job
        machine = classad.machine_ad() if machine is None else machine
        self._to_die = machine.number("GLIDEIN_ToDie", math.inf)
        # The ad of the job is written when a machine takes it: the same time in it is the same sandbox
        self._sandbox = self._job.number("JobCurrentStartDate")
        self.useful = float(state.get("useful", 0.0))
        self._cost: Optional[float] = state.get("cost")
        self._start: Optional[float] = state.get("start")
        self._left: Mapping[str, Any] = state.get("left") or {}
        self._steps = self._saved_steps = 0  # of this process
        self._lap = self._saved_at = self._published = clock()
        self._first = math.inf  # when the first step was done
        self._own_start = 0.0
        self._shown = 0.0

    def step(self) -> str:
        """A step is done: `SAVE`, `LEAVE` or nothing."""
        now = self._clock()
        lap, self._lap = now - self._lap, now
        self._steps += 1
        if self._steps == 1:
            self._first_step(now)
        else:  # the first step compiles: what it is worth shows at the second
            self.useful += lap * (2 if self._steps == 2 else 1)
        if now - self._published >= PUBLISH_EVERY_S:
            self.publish()
        return self.due()

    def due(self) -> str:
        """As `step`, without one: for a loop that must look again before it goes on."""
        now, wished = self._clock(), self._wished
        if self._steps:
            by_steps = bool(wished.leave_steps) and self._steps >= wished.leave_steps
            if by_steps or now - self._first >= self.interval or self._began < self._deadline <= now:
                return LEAVE
        steps = bool(wished.save_steps) and self._steps - self._saved_steps >= wished.save_steps
        return SAVE if steps or (bool(wished.save_s) and now - self._saved_at >= wished.save_s) else ""

    def saved(self) -> None:
        """A checkpoint is written; the time that this took is no work."""
        self._saved_steps, self._saved_at = self._steps, self._clock()
        self._lap = self._saved_at

    def over(self) -> None:
        """What comes after the last step is done, scores and pictures: work like any other."""
        self.useful += self._clock() - self._lap
        self.publish()

    def state(self, leaving: bool = False) -> dict[str, Any]:
        """For the checkpoint, JSON. `leaving`: this process ends when it is written."""
        left = {"at": self._lap, "sandbox": self._sandbox} if leaving and self._sandbox else None
        return {"useful": self.useful, "cost": self._cost, "start": self._start, "left": left}

    @property
    def cost(self) -> float:
        """Seconds from deciding to leave to the next process's first step: the least that was seen, else a guess."""
        return self._cost if self._cost is not None else FIRST_COST * self._own_start

    @property
    def start(self) -> float:
        """Seconds on a new machine before the first step is done."""
        return self._start if self._start is not None else self._own_start

    @property
    def mtbf(self) -> float:
        """Seconds between two evictions, by the guess and by what the job's ad says.

        NumShadowStarts counts the machines that took the job, NumJobCompletions those that it left by itself.
        """
        evictions = max(0.0, self._job.number("NumShadowStarts") - 1 - self._job.number("NumJobCompletions"))
        here = self._clock() - self._sandbox if self._sandbox else 0.0
        ran = self._job.number("RemoteWallClockTime") + max(0.0, here)
        return daly.mtbf(self._wished.evicted_s, int(evictions), ran)

    @property
    def interval(self) -> float:
        """Seconds of work before this process leaves; infinite: it does not."""
        wished = self._wished
        if not wished.leave_s and not wished.evicted_s:
            return math.inf
        category = CATEGORY_S.get(self._job.text("JobDurationCategory").lower(), math.inf)
        allowed = self._job.number("AllowedExecuteDuration", math.inf)  # held when a process takes longer
        ceiling = min(wished.leave_s or math.inf, CATEGORY_SHARE * min(category, allowed))
        return min(ceiling, daly.optimal_interval(self.cost, self.mtbf)) if wished.evicted_s else ceiling

    @property
    def expected(self) -> float:
        """The goodput that the interval should give."""
        return daly.goodput(self.interval, self.cost, self.start, self.mtbf)

    @property
    def _deadline(self) -> float:
        """When to leave at the latest, for the pilot ends; infinite where the job does not leave at all."""
        leaves = self._wished.leave_s or self._wished.leave_steps or self._wished.evicted_s
        return self._to_die - 2 * self.cost - DEADLINE_S if leaves else math.inf

    def _first_step(self, now: float) -> None:
        self._first, self._own_start = now, now - self._began
        if self._left and self._left.get("sandbox") == self._sandbox:
            cost = now - float(self._left["at"])
            self._cost = cost if self._cost is None else min(self._cost, cost)
        else:  # on a new machine, after the job's own files came
            taken = now - self._sandbox if self._sandbox else math.inf
            self._start = taken if 0 < taken < LONGEST_START_S else self._own_start
        self.publish()
        self.show()

    def show(self) -> None:
        """Prints the interval and what is expected of it, where it has changed."""
        interval = self.interval
        if not self._wished.evicted_s or abs(interval - self._shown) <= SHOWN_CHANGE * self._shown:
            return
        self._shown = interval
        how = "costs" if self._cost is not None else "should cost"
        print(
            f"leaving    after every {_time(interval)} of work: leaving {how} {_time(self.cost)}, machines are lost "
            f"about every {_time(self.mtbf)}, a start takes {_time(self.start)}; {self.expected:.0%} of the time is "
            "work that stays",
            file=sys.stderr,
        )

    def publish(self) -> None:
        """Puts what was measured into the job's ad."""
        self._published = self._clock()
        values = {"Useful": self.useful, "Leave": self._cost, "Start": self._start, "Interval": self.interval}
        for name, value in values.items():
            known = value is not None and math.isfinite(value)
            if known and not chirp.publish(f"ChirpOsgdl{name}", round(float(value), 3)):  # type: ignore[arg-type]
                self._published = math.inf  # no starter answers: not asked again
                return


@contextmanager
def terminated() -> Iterator[list[int]]:
    """A list that SIGTERM makes non-empty, so that a loop can end between two steps instead of in the middle of one."""
    received: list[int] = []

    def note(number: int, frame: Optional[FrameType]) -> None:
        received.append(number)

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
