"""What a training run shows while it runs: the bar, history.csv, curves.png, an overlay, TensorBoard's event files."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from submit.runtime.files import write_atomic
from submit.runtime.progress import Progress
from unet_segmentation import backend

FIRST = ("step", "loss", "dice", "rate", "found")
DRAW_EVERY_S = 60.0  # history.csv and curves.png: a look now and then must not slow the training down


class Live:
    """Shows one run.

    Args:
        out: folder of the run.
        steps: in all.
        first: steps done before this process began.
        batch_size: images a step.
    """

    def __init__(self, out: Path, steps: int, first: int, batch_size: int) -> None:
        self._out, self._first, self._batch_size = out, first, batch_size
        self._counted: dict[str, Any] = {"publish": True, "unit": "images", "per_step": batch_size}
        self.progress = Progress(steps, "training", first=first, **self._counted)
        self._began = self._drawn = time.monotonic()
        self._waited = 0.0
        self._paused = 0.0
        self._dice = ""
        self._measured: dict[str, float] = {}  # of the batches, and of the held-out patients
        self._events = _events(out / "tensorboard")
        self._speeds: list[dict[str, float]] = []  # one for each row of history
        self._logged = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent waiting for input."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is no training: validation, pictures."""
        began = time.monotonic()
        yield
        self._paused += time.monotonic() - began

    @property
    def seconds(self) -> float:
        """Of training, by this process."""
        return time.monotonic() - self._began - self._paused

    def speed(self, step: int) -> float:
        """Images a second of training, by this process."""
        return (step - self._first) * self._batch_size / max(self.seconds, 1e-9)

    def step(self, step: int, epoch: int, sums: Mapping[str, float]) -> None:
        """A step is done; cheap."""
        share = self._waited / max(self.seconds, 1e-9)
        note = f"loss {sums['loss']:.4f}  Dice {sums['dice']:.3f}  input {share:.0%}"
        self._measured["Dice"] = round(float(sums["dice"]), 4)
        self.progress.update(step, note + self._dice, epoch=epoch, loss=sums["loss"], measured=self._measured)

    def expect(self, steps: int, step: int) -> None:
        """The number of steps in all is known now."""
        self.progress = Progress(steps, "training", first=step, **self._counted)

    def history(self, rows: list[dict[str, float]]) -> None:
        """Writes history.csv, curves.png and the event files, now and then."""
        self._note(rows)
        if time.monotonic() - self._drawn >= DRAW_EVERY_S:
            self._write(rows, picture=True)
            self._drawn = time.monotonic()

    def _write(self, rows: list[dict[str, float]], picture: bool) -> None:
        self._note(rows)
        shown = [{**row, **speed} for row, speed in zip(rows, self._speeds, strict=True)]
        with self.paused():
            write_history(self._out / "history.csv", rows)
            for row in shown[self._logged :]:
                self._events(row)
            self._logged = len(shown)
            if picture and shown:
                from unet_segmentation import curves

                curves.draw(self._out / "curves.png", shown)

    def _note(self, rows: list[dict[str, float]]) -> None:
        """The speed at which new rows were made; that of an earlier process's is not known."""
        for row in rows[len(self._speeds) :]:
            ours = "loss" in row and row["step"] > self._first
            self._speeds.append({"images_per_s": self.speed(int(row["step"]))} if ours else {})

    def validated(self, dice: Mapping[str, float]) -> None:
        """Shows the held-out patients' Dice behind the bar from now on."""
        self._dice = "  validation " + " ".join(f"{value:.3f}" for value in dice.values())
        if dice:
            self._measured["ValidationDice"] = round(float(sum(dice.values()) / len(dice)), 4)

    def close(self, rows: list[dict[str, float]], step: int, epoch: int, picture: bool = False) -> None:
        """The last state. Without the picture where there is no time to lose: it takes a second."""
        self._write(rows, picture)
        self.progress.close(step, self._dice.strip(), epoch=epoch, measured=self._measured)


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """A row every few steps and one for each validation; what does not apply is empty."""
    names = [*FIRST, *sorted({name for row in rows for name in row} - set(FIRST))]
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def _events(folder: Path) -> Any:
    """A function that logs a row for TensorBoard. Only TensorFlow can write its files; with JAX there are none."""
    if backend.name() != "tensorflow":
        return lambda row: None
    import tensorflow as tf

    proto = tf.compat.v1.SummaryMetadata
    about = proto(plugin_data=proto.PluginData(plugin_name="scalars"))
    about.data_class = 1  # DATA_CLASS_SCALAR in summary.proto
    writer = tf.summary.create_file_writer(str(folder))

    def log(row: Mapping[str, float]) -> None:
        with writer.as_default():
            for name, value in row.items():
                if name != "step":
                    tf.summary.write(name, tf.constant(value, tf.float32), step=int(row["step"]), metadata=about)
        writer.flush()

    return log
