"""The training loop, and when it saves, looks up and leaves."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from types import FrameType

from submit.runtime import devices
from submit.runtime.exit_codes import Checkpointed, Fault
from unet_segmentation import schedule
from unet_segmentation.config import CheckpointConfig, Config
from unet_segmentation.live import Live
from unet_segmentation.pipeline import Batches
from unet_segmentation.session import LOWER, Diverged, Session

Validate = Callable[[Session], Mapping[str, float]]


def fit(session: Session, batches: Batches, config: Config, out: Path, began: float, validate: Validate | None) -> None:
    """Trains from where the session stands to its end, leaving a checkpoint of the last step.

    A training that diverges goes back to the last checkpoint with a lower rate and other batches, once.

    Args:
        session: to train.
        batches: of the first attempt; another is made for the second.
        config: of the run.
        out: folder for what is shown.
        began: when the process did, by time.monotonic().
        validate: gives the mean Dice of the held-out patients by region; None where there are none.

    Raises:
        Checkpointed: it was time to leave, or SIGTERM came; all work is saved.
        Fault: the training diverged for the second time. The checkpoint before it stays.
    """
    while True:
        batches = batches.again(session.done.attempt)
        try:
            return _fit(session, batches, config, out, began, validate)
        except Diverged as fault:
            names = ", ".join(batches.patients_of(fault.step - 1))
            if not session.roll_back():
                raise _diverged(fault, names, config) from fault
            print(
                f"diverged   {fault} at step {fault.step}, in a batch of {names}; once more from step "
                f"{session.done.step}, the learning rate times {LOWER:g}",
                file=sys.stderr,
            )


def _fit(
    session: Session, batches: Batches, config: Config, out: Path, began: float, validate: Validate | None
) -> None:
    done, epoch = session.done, batches.epoch
    live = Live(out, done.steps or schedule.CALIBRATION, done.step, config.train.batch_size)
    clock = _Clock(config.checkpoint, done.step, began)
    every = config.train.validate_epochs * epoch
    with _terminated() as signalled, closing(batches.since(done.step, session.ahead)) as made:
        while not done.steps or done.step < done.steps:
            devices.still_there()
            # before the next step, not after the last: a run that left in between looks when it comes back
            if validate and every and done.step and done.step % every == 0 and not session.looked:
                with live.paused():
                    dice = validate(session)
                    session.validated(dice)
                live.validated(dice)
                clock.lap()
            with live.waiting():
                batch = next(made)
            sums = session.train_on(batch)
            if sums:
                live.step(done.step, done.step // epoch, sums)
            done.seconds += clock.lap()
            if not done.steps and done.step >= schedule.CALIBRATION and clock.timed:
                done.steps = done.step + schedule.steps_in(config.train.minutes * 60 - done.seconds, clock.step_s)
                live.expect(done.steps, done.step)
            leaving = clock.leave(done.step) or bool(signalled)
            if leaving or clock.save(done.step) or done.step == done.steps:
                session.save()
                clock.saved(done.step)
            if leaving and done.step != done.steps:
                live.close(done.history, done.step, done.step // epoch)
                raise Checkpointed(f"step {done.step} of {done.steps or 'an unknown number'} saved")
            live.history(done.history)
    live.close(done.history, done.step, done.step // epoch, picture=True)


class _Clock:
    """When to save and when to leave."""

    def __init__(self, config: CheckpointConfig, step: int, began: float) -> None:
        self._config = config
        self._first = self._saved_step = step
        self._began = began
        self._lap = self._saved = time.monotonic()
        self._laps: deque[float] = deque(maxlen=schedule.TIMED)

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._lap = self._lap, time.monotonic()
        self._laps.append(self._lap - before)
        return self._lap - before

    @property
    def timed(self) -> bool:
        """Whether enough steps were timed to reckon with."""
        return len(self._laps) == schedule.TIMED

    @property
    def step_s(self) -> float:
        """Seconds a step, the median of the last ones."""
        return median(self._laps)

    def leave(self, step: int) -> bool:
        steps, minutes = self._config.leave_every_steps, self._config.leave_every_minutes
        late = bool(minutes) and time.monotonic() - self._began >= minutes * 60
        return late or (bool(steps) and step - self._first >= steps)

    def save(self, step: int) -> bool:
        steps, minutes = self._config.every_steps, self._config.every_minutes
        late = bool(minutes) and time.monotonic() - self._saved >= minutes * 60
        return late or (bool(steps) and step - self._saved_step >= steps)

    def saved(self, step: int) -> None:
        self._saved_step, self._saved = step, time.monotonic()


@contextmanager
def _terminated() -> Iterator[list[int]]:
    """A list that SIGTERM makes non-empty, so that the loop can end between two steps instead of in the middle of
    one.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)


def _diverged(fault: Diverged, names: str, config: Config) -> Fault:
    """Neither 65 nor 75: the data passed its checks, and a diverging optimiser looks the same as a GPU that
    miscounts. As a bug (1) it is run again from the last good checkpoint, elsewhere, and held after the third time
    with this line as the reason.
    """
    return Fault(
        "loss",
        f"{fault} at step {fault.step}, in a batch of {names}, for the second time",
        "a loss that falls",
        f"lower train.learning_rate ({config.train.learning_rate:g}), or look at these patients",
    )
