"""The training loop, and when it saves, looks up and leaves."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from statistics import median

from submit.runtime import devices
from submit.runtime.exit_codes import Checkpointed, Fault
from submit.runtime.leaving import LEAVE, Intervals, Leaving, terminated
from unet_segmentation import schedule
from unet_segmentation.config import CheckpointConfig, Config
from unet_segmentation.live import Live
from unet_segmentation.pipeline import Batches
from unet_segmentation.session import LOWER, Diverged, Session

Validate = Callable[[Session], Mapping[str, float]]


def fit(
    session: Session, batches: Batches, config: Config, out: Path, began: float, validate: Validate | None
) -> Leaving:
    """Trains from where the session stands to its end, or to `checkpoint.until`, leaving a checkpoint of the last step;
    returns what counts the work.

    A training that diverges goes back to the last checkpoint with a lower rate and other batches, once.

    Args:
        session: to train.
        batches: of the first attempt; another is made for the second.
        config: of the run.
        out: folder for what is shown.
        began: when the process did, by time.time().
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
) -> Leaving:
    done, epoch = session.done, batches.epoch
    live = Live(out, done.steps or schedule.CALIBRATION, done.step, config.train.batch_size)
    leaving, laps = Leaving(_intervals(config.checkpoint), began, session.left), _Laps()
    every = config.train.validate_epochs * epoch
    with terminated() as signalled, closing(batches.since(done.step, session.ahead)) as made:
        while not done.steps or done.step < last(done.steps, config.checkpoint.until):
            devices.still_there()
            # before the next step, not after the last: a run that left in between looks when it comes back
            if validate and every and done.step and done.step % every == 0 and not session.looked:
                with live.paused():
                    dice = validate(session)
                    session.validated(dice)
                live.validated(dice)
                laps.lap()
            with live.waiting():
                batch = next(made)
            sums = session.train_on(batch)
            if sums:
                live.step(done.step, done.step // epoch, sums)
            done.seconds += laps.lap()
            if not done.steps and done.step >= schedule.CALIBRATION and laps.timed:
                done.steps = done.step + schedule.steps_in(config.train.minutes * 60 - done.seconds, laps.step_s)
                live.expect(done.steps, done.step)
            due = leaving.step()
            due = LEAVE if signalled else due
            over = bool(done.steps) and done.step == last(done.steps, config.checkpoint.until)
            if due or over:
                session.save(leaving.state(due == LEAVE))
                leaving.saved()
            if due == LEAVE and not over:
                live.close(done.history, done.step, done.step // epoch)
                leaving.publish()
                raise Checkpointed(f"step {done.step} of {done.steps or 'an unknown number'} saved")
            live.history(done.history)
    leaving.publish()
    live.close(done.history, done.step, done.step // epoch, picture=True)
    return leaving


def _intervals(wished: CheckpointConfig) -> Intervals:
    return Intervals(
        save_s=wished.every_minutes * 60,
        save_steps=wished.every_steps,
        leave_s=wished.leave_every_minutes * 60,
        leave_steps=wished.leave_every_steps,
        evicted_s=wished.evicted_every_minutes * 60,
    )


def last(steps: int, until: float) -> int:
    """The step after which a job ends, where it is to end at a share of all steps."""
    return max(1, round(steps * until))


class _Laps:
    """Seconds of the last steps."""

    def __init__(self) -> None:
        self._lap = time.monotonic()
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
