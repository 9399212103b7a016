"""Trains the U-Net, resumes where it left, and scores it on the validation patients.

    python -m unet_segmentation train --data data --out out
    python -m unet_segmentation train --data data --out out --config my.toml --set train.steps=2000

Running the same command again resumes. SIGTERM saves a checkpoint and leaves with exit code 85, "run me again": that
is what it means on a laptop or under another scheduler, and under HTCondor the code of an evicted job is not looked
at. (What survives an eviction there is what left with the last 85 of `checkpoint.leave_every_minutes`; `pool.md`,
trap 10.)
"""

from __future__ import annotations

import csv
import io
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from submit.runtime import devices, network
from submit.runtime.exit_codes import Checkpointed, Fault
from submit.runtime.files import write_atomic, write_json
from submit.runtime.progress import Progress
from unet_segmentation import evaluate, layouts, predict, provenance, verify
from unet_segmentation.backend import Devices
from unet_segmentation.config import CheckpointConfig, Config
from unet_segmentation.labels import Convention
from unet_segmentation.pipeline import Batches
from unet_segmentation.prepare import Prepared
from unet_segmentation.session import Session, weights_sha256


@dataclass(frozen=True)
class Data:
    """The verified, prepared patients of a run."""

    training: list[Prepared]
    validation: list[Prepared]
    patients: dict[str, layouts.Patient]
    modalities: tuple[str, ...]
    layout: layouts.Layout
    facts: dict[str, Any]  # becomes dataset.json

    @property
    def convention(self) -> Convention:
        return self.layout.convention


def train(config: Config, root: Path, out: Path) -> dict[str, Any]:
    """Trains from where the last run of this command left, scores, and writes everything into `out`; returns what
    metrics.json holds.

    Raises:
        BadInput: the data or the configuration is wrong, or the checkpoint belongs to another run.
        BadMachine: a GPU was asked for and is not usable.
        Checkpointed: left early with the work saved.
        Fault: the loss is no longer a number.
    """
    began = time.monotonic()
    where = Devices(config.train)
    device = devices.require_gpu(where.gpus)
    data = load_data(config, root)
    write_json(out / "dataset.json", data.facts)
    batches = Batches(data.training, config.train, config.augment)
    steps = config.train.steps or config.train.epochs * math.ceil(batches.slices / config.train.batch_size)
    print(f"labels     {data.convention.describe()}")
    print(f"channels   {', '.join(data.modalities)}")
    print(f"patients   {len(data.training)} to train on ({batches.slices} slices), {len(data.validation)} to score")

    identity = {"configuration": config.hash(), "data": data.facts["sha256"]}
    folder = Path(config.checkpoint.folder) if config.checkpoint.folder else out / "checkpoint"
    session = Session(config, where, len(data.modalities), data.convention, steps, identity, folder)
    if session.resume():
        print(f"resumed    at step {session.done.step} of {steps}")
    fit(session, batches, steps, config, began)

    model = session.finish()
    about = {
        "modalities": list(data.modalities),
        "convention": data.convention.name,
        "layout": data.layout.name,
        "slice_multiple": 2 ** (config.model.levels - 1),
        "normalisation": "z-score inside the brain, background 0, cropped to the brain",
        "config": config.as_dict(),
    }
    predict.save_model(out / "model.keras", model, about)
    write_json(out / "model.json", {**asdict(session.network()), "format": network.FORMAT, **about})
    _write_history(out / "history.csv", session.done.history)
    scores, pictures = evaluate.predict_and_score(model, data.validation, data.patients, about, out)
    metrics = {
        "steps": session.done.step,
        "weights_sha256": weights_sha256(model),
        "dice": scores,
        "pictures": pictures,
        "images_per_s": round(session.done.step * config.train.batch_size / max(session.done.seconds, 1e-9), 2),
        "training_s": round(session.done.seconds, 1),
        "provenance": provenance.collect(where.versions, device, where.precision, config, data.facts["sha256"]),
    }
    evaluate.write_metrics(out / "metrics.json", metrics)
    return metrics


def load_data(config: Config, root: Path) -> Data:
    """Finds, verifies and prepares all patients.

    Raises:
        BadInput: the first fault.
    """
    training, validation = layouts.split(root, config.data, config.train.seed)
    modalities = layouts.channels((training, validation), config.data.modalities)
    reports = [verify.verify(part, modalities, need_truth=True) for part in (training, validation)]
    everyone = [*reports[0], *reports[1]]
    verify.require(everyone)
    facts = {
        "sha256": verify.dataset_hash(everyone),
        "layout": training.layout.name,
        "convention": training.layout.convention.name,
        "modalities": list(modalities),
        "training": [report.patient.name for report in reports[0]],
        "validation": [report.patient.name for report in reports[1]],
        "patients": {r.patient.name: {**r.facts, "files": r.files, "warnings": r.warnings} for r in everyone},
    }
    return Data(
        training=verify.require(reports[0]),
        validation=verify.require(reports[1]),
        patients={report.patient.name: report.patient for report in everyone},
        modalities=modalities,
        layout=training.layout,
        facts=facts,
    )


def fit(session: Session, batches: Batches, steps: int, config: Config, began: float) -> None:
    """The training loop: from the session's step to `steps`, leaving a checkpoint of the last one.

    Raises:
        Checkpointed: it was time to leave, or SIGTERM came; all work is saved.
        Fault: the loss is not finite. The checkpoint before it stays.
    """
    first = session.done.step
    clock = _Clock(config.checkpoint, first, began)
    progress = Progress(steps, "training", first=first, publish=True)
    per_epoch = max(1, math.ceil(batches.slices / config.train.batch_size))
    loss = math.nan
    with _terminated() as signalled:
        for images, classes in batches.between(first, steps):
            devices.still_there()
            loss = session.train_on(images, classes)
            session.done.seconds += clock.lap()
            step = session.done.step
            if not math.isfinite(loss):
                raise _diverged(loss, step, batches, config)
            speed = (step - first) * config.train.batch_size / (time.monotonic() - clock.started)
            progress.update(step, f"loss {loss:.4f}  {speed:.1f} images/s", epoch=step // per_epoch, loss=loss)
            leaving = clock.leave(step) or bool(signalled)
            if leaving or clock.save(step) or step == steps:
                session.save()
                clock.saved(step)
            if leaving and step < steps:
                progress.close(step, f"loss {loss:.4f}")
                raise Checkpointed(f"step {step} of {steps} saved")
    progress.close(session.done.step, f"loss {loss:.4f}" if first < steps else "", epoch=steps // per_epoch)


class _Clock:
    """When to save and when to leave."""

    def __init__(self, config: CheckpointConfig, step: int, began: float) -> None:
        self._config = config
        self._first = self._saved_step = step
        self._began = began
        self.started = self._lap = self._saved = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._lap = self._lap, time.monotonic()
        return self._lap - before

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


def _diverged(loss: float, step: int, batches: Batches, config: Config) -> Fault:
    """Neither 65 nor 75: the data passed its checks, and a diverging optimiser looks the same as a GPU that
    miscounts. As a bug (1) it is run again from the last good checkpoint, elsewhere, and held after the third time
    with this line as the reason.
    """
    names = ", ".join(batches.patients_of(step - 1))
    return Fault(
        "loss",
        f"{loss} at step {step}, in a batch of {names}",
        "a number",
        f"lower train.learning_rate ({config.train.learning_rate:g}), or look at these patients",
    )


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["step", "loss"])
    writer.writeheader()
    writer.writerows(history)
    write_atomic(path, text.getvalue().encode())
