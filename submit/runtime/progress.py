"""How far the work is: a bar on a terminal, a plain line now and then in a log file, and live attributes in the job's
ad.

`osgdl watch` shows what is published, from the access point; so does `condor_q -af ChirpOsgdlStep ChirpOsgdlSteps`:

    Epoch, Step, Steps, Loss, and what the caller measures besides, such as Dice
    Left        seconds to the last step, by this process's own speed
    At          when all this was so, seconds since the epoch
    Rate, Unit  with a unit: how many of what in a second
    GpuUse      share of the last minute in which the GPUs were busy (gpu_use.py)
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Callable, Optional, TextIO, Union

from submit.runtime import chirp
from submit.runtime.gpu_use import GpuUse

BAR_EVERY_S = 0.1
LINE_EVERY_S = 10.0
PUBLISH_EVERY_S = 5.0
PUBLISH_AGAIN_S = 60.0  # after a starter that did not answer
_BAR = 24  # characters


class Progress:
    """Progress of one task on stderr.

    Args:
        total: number of steps of the whole task.
        label: a word in front of the bar.
        first: steps done before this process began (a resumed run); the time left is reckoned from this process's own
            speed.
        publish: also put the progress into the job's ad.
        unit: what is counted besides steps, such as `photons`: how many of them a second is shown and published.
        per_step: how many of them a step is.
    """

    def __init__(
        self,
        total: int,
        label: str,
        first: int = 0,
        publish: bool = False,
        unit: str = "",
        per_step: float = 1.0,
        stream: Optional[TextIO] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._label, self._first, self._publish = total, label, first, publish
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = self._drawn = clock()
        self._published = -math.inf
        self._gpu_use = GpuUse()
        self._terminal = self._stream.isatty()
        self._unit, self._per_step = unit, per_step
        self._timed: Optional[tuple[float, int]] = None  # the first update: what came before it compiled

    def update(
        self,
        step: int,
        note: str = "",
        epoch: Optional[int] = None,
        loss: Optional[float] = None,
        measured: Optional[Mapping[str, float]] = None,
    ) -> None:
        """`step` steps are done; cheap enough to be called for each.

        `measured`: what else is known now, to be published: {"Dice": 0.8} as ChirpOsgdlDice.
        """
        now = self._clock()
        self._timed = self._timed or (now, step)
        if now - self._drawn >= (BAR_EVERY_S if self._terminal else LINE_EVERY_S):
            self._drawn = now
            self._draw(step, note, now)
        if self._publish and now - self._published >= PUBLISH_EVERY_S:
            self._published = now
            self._send(step, epoch, loss, measured or {})

    def close(
        self,
        step: int,
        note: str = "",
        epoch: Optional[int] = None,
        loss: Optional[float] = None,
        measured: Optional[Mapping[str, float]] = None,
    ) -> None:
        """The last state, whenever the last update was."""
        self._draw(step, note, self._clock())
        if self._terminal:
            self._stream.write("\n")
        if self._publish:
            self._send(step, epoch, loss, measured or {})

    def rate(self, step: int) -> Optional[float]:
        """Units a second since the first update; None where that is not known yet."""
        began, first = self._timed or (math.inf, step)
        took = self._clock() - began
        return (step - first) * self._per_step / took if self._unit and took > 0 and step > first else None

    def _draw(self, step: int, note: str, now: float) -> None:
        done = step / self._total if self._total else 1.0
        left = "?" if (seconds := self._left(step, now)) is None else duration(seconds)
        tail = (
            f"{step}/{self._total}  {left} left"
            if step < self._total
            else f"{step}/{self._total}  {duration(now - self._began)}"
        )
        rate = self.rate(step)
        if rate is not None:
            tail += f"  {rate:.3g} {self._unit}/s"
        if self._terminal:
            filled = int(done * _BAR)
            line = f"{self._label} {'━' * filled}{'╌' * (_BAR - filled)} {tail}  {note}"
            self._stream.write(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}")
        else:
            self._stream.write(f"{self._label} {tail}  {note}".rstrip() + "\n")
        self._stream.flush()

    def _left(self, step: int, now: float) -> Optional[float]:
        """Seconds to the last step; None before this process's first."""
        here = step - self._first
        return (now - self._began) / here * max(0, self._total - step) if here > 0 else None

    def _send(self, step: int, epoch: Optional[int], loss: Optional[float], measured: Mapping[str, float]) -> None:
        rate, left, use = self.rate(step), self._left(step, self._clock()), self._gpu_use.share()
        values: dict[str, Union[int, float, str, None]] = {"Epoch": epoch, "Step": step, "Steps": self._total}
        values.update({"Loss": loss, **measured})
        values.update({"Rate": rate and round(rate, 3), "Unit": self._unit or None})
        values.update({"GpuUse": use if use is None else round(use, 3), "Left": left if left is None else round(left)})
        values["At"] = int(time.time())
        for name, value in values.items():
            if value is not None and not chirp.publish(f"ChirpOsgdl{name}", value):
                self._published = self._clock() + PUBLISH_AGAIN_S - PUBLISH_EVERY_S
                return


def duration(seconds: float) -> str:
    """`75` becomes `1:15`, `3725` becomes `1:02:05`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
