"""Keras: a `model.fit` that goes on where an evicted one was.

    checkpoints = osgdl_keras.Checkpoints(model, epochs=100)
    model.fit(x, y, epochs=100, initial_epoch=checkpoints.step, callbacks=[checkpoints])

Saved are the weights, the seeds of dropout and the like, and the optimiser's state. Where each batch follows from seed
and step, count in steps: then no more than one is repeated, and a resumed training is the same one, bit for bit.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import osgdl_arrays
from submit.runtime import devices, work
from submit.runtime.exit_codes import BadInput
from submit.runtime.leaving import Intervals

HOURLY = Intervals(save_s=600, leave_s=3600, evicted_s=36000)
# TensorFlow complains of data that outlive Python
atexit.register(gc.collect)


class Checkpoints(keras.callbacks.Callback):
    """Saves, and leaves with exit code 85; `step` says where the training begins.

    Args:
        model: compiled and built.
        steps, epochs: how many there are in all; one of the two, which is what is counted.
        identity: settings that a checkpoint must agree with to be resumed.

    Raises:
        BadInput: the checkpoint is of another model or of other settings.
        BadMachine: the job has a GPU and TensorFlow does not see it.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        steps: int = 0,
        epochs: int = 0,
        identity: Mapping[str, Any] | None = None,
        intervals: Intervals = HOURLY,
        folder: Path = Path("checkpoint"),
    ) -> None:
        super().__init__()
        if bool(steps) == bool(epochs):
            raise BadInput("Checkpoints", f"steps={steps}, epochs={epochs}", "one of the two", "leave the other out")
        if not model.built:
            raise BadInput("model", "not built", "its weights", "give it a keras.Input, or call it once")
        if model.steps_per_execution != 1:
            raise BadInput(
                "steps_per_execution", str(model.steps_per_execution), "1: steps are counted", "leave it out"
            )
        self.device = devices.require_gpu(_visible())
        model.optimizer.build(model.trainable_variables)
        self._trained, self._by_steps, self._epoch = model, bool(steps), 0
        self.work = work.Work(steps or epochs, folder, intervals, identity)
        snapshot = self.work.resume()
        if snapshot:
            self._load(snapshot.blobs["variables"])

    @property
    def step(self) -> int:
        """Steps, or epochs, that are done."""
        return self.work.step

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._by_steps:
            self._done(logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch = epoch + 1
        if not self._by_steps:
            self._done(logs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.work.finish(self._save)

    def _done(self, logs: Mapping[str, Any] | None) -> None:
        loss = (logs or {}).get("loss")
        self.work.done(self._save, None if loss is None else float(loss), self._epoch)
        if self.work.step >= self.work.steps:
            self._trained.stop_training = True

    def _variables(self) -> dict[str, Any]:
        # by place: two layers may have the same name
        all_of_them = [*self._trained.variables, *self._trained.optimizer.variables]
        return {f"{number:04d}": variable for number, variable in enumerate(all_of_them)}

    def _save(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in self._variables().items()}
        return {}, {"variables": osgdl_arrays.pack(arrays)}

    def _load(self, blob: bytes) -> None:
        variables = self._variables()
        wanted = [(name, np.dtype(one.dtype), tuple(one.shape)) for name, one in variables.items()]
        for variable, array in zip(variables.values(), osgdl_arrays.restored(blob, wanted), strict=True):
            variable.assign(array)


def _visible() -> int:
    import tensorflow

    return len(tensorflow.config.list_physical_devices("GPU"))
