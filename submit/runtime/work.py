"""The frame of a training loop of one's own: resumes, counts steps, shows progress, saves, leaves with exit code 85.

    def main() -> None:
        run = work.Work(steps=1000)
        snapshot = run.resume()
        if snapshot:
            load(snapshot.blobs["weights"])
        while run.step < run.steps:
            loss = train_one_step(run.step)
            run.done(save, loss=loss)
        run.finish(save)

    exit_codes.end(exit_codes.run(main))

`save` gives what a checkpoint holds: JSON values, and named bytes. Framework-free; the templates' Keras callback and
PyTorch helper stand on it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Optional

from submit.runtime import devices
from submit.runtime.checkpoint import Snapshot, Store
from submit.runtime.exit_codes import BadInput, Checkpointed
from submit.runtime.leaving import LEAVE, Intervals, Leaving
from submit.runtime.progress import Progress

Save = Callable[[], "tuple[Mapping[str, Any], Mapping[str, bytes]]"]
_BEGAN = time.time()  # imported first thing, this is when the process began


class Work:
    """One training, in as many processes as it takes.

    Args:
        steps: in all.
        folder: of the checkpoints: what `transfer_checkpoint_files` of the submit file names.
        intervals: when to save and to leave.
        identity: what a checkpoint must agree with to be resumed, such as a hash of the settings; JSON values by name.
        label: in front of the progress bar.
        unit, per_step: what is counted besides steps, and how many of them a step is: `Progress`.
    """

    def __init__(
        self,
        steps: int,
        folder: Path = Path("checkpoint"),
        intervals: Intervals = Intervals(save_s=600.0, leave_s=3600.0, evicted_s=36000.0),  # noqa: B008 (frozen)
        identity: Optional[Mapping[str, Any]] = None,
        label: str = "training",
        unit: str = "",
        per_step: float = 1.0,
    ) -> None:
        if steps < 1:
            raise BadInput("steps", str(steps), "1 or more", "give the number of steps in all")
        self.steps, self.step = steps, 0
        self._store, self._intervals, self._identity = Store(folder), intervals, dict(identity or {})
        self._counted: dict[str, Any] = {"label": label, "unit": unit, "per_step": per_step}
        self._terminated = False
        self._leaving = Leaving(intervals, _BEGAN)
        self._progress = Progress(steps, publish=True, **self._counted)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self._terminated = True

    def resume(self) -> Optional[Snapshot]:
        """The newest whole checkpoint, `step` set to where it stands; None at the beginning.

        Raises:
            BadInput: the checkpoint belongs to a run with another identity.
        """
        snapshot = self._store.load()
        if snapshot is None:
            return None
        saved = snapshot.state["identity"]
        if saved != self._identity:
            names = sorted(name for name in {*saved, *self._identity} if saved.get(name) != self._identity.get(name))
            folder = self._store.folder
            raise BadInput(
                folder,
                f"a checkpoint with another {', '.join(names)}",
                "one of this run",
                f"undo the change, or start anew: rm -r {folder}",
            )
        self.step = int(snapshot.state["step"])
        self._leaving = Leaving(self._intervals, _BEGAN, snapshot.state["leaving"])
        self._progress = Progress(self.steps, first=self.step, publish=True, **self._counted)
        return Snapshot(snapshot.state["state"], snapshot.blobs)

    def done(self, save: Save, loss: Optional[float] = None, epoch: Optional[int] = None) -> None:
        """A step is done. Saves when that is due.

        Raises:
            Checkpointed: it is time to leave; all work is saved.
            RuntimeError: a bad site of the local pool lost its simulated GPU (`devices.still_there`).
        """
        devices.still_there()
        self.step += 1
        due = self._leaving.step()
        note = "" if loss is None else f"loss {loss:.4f}"
        self._progress.update(self.step, note, epoch=epoch, loss=loss)
        if self.step >= self.steps or not (due or self._terminated):
            return
        leaving = due == LEAVE or self._terminated
        self._write(save, leaving)
        if leaving:
            self._progress.close(self.step, note, epoch=epoch, loss=loss)
            raise Checkpointed(f"step {self.step} of {self.steps} saved")

    def finish(self, save: Save) -> None:
        """The last step is done: one more checkpoint, so that a job that dies from here on repeats nothing."""
        self._write(save, leaving=False)
        self._progress.close(self.step)

    def _write(self, save: Save, leaving: bool) -> None:
        state, blobs = save()
        about = {"identity": self._identity, "step": self.step, "leaving": self._leaving.state(leaving)}
        self._store.save({**about, "state": dict(state)}, blobs)
        self._leaving.saved()
        self._leaving.publish()
