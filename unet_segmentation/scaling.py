"""What several devices bring: a few steps on one of them and on all, before the training begins."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from unet_segmentation import backend
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import AHEAD, Batches
from unet_segmentation.prepare import Prepared
from unet_segmentation.progressed import Progressed
from unet_segmentation.session import Session

FIRST = AHEAD + 2  # steps not timed: they compile, and use up the batches that were made meanwhile
LEAST, MOST = 5, 50  # steps timed
SECONDS = 2.0  # that they take, if that is more than the least
# 8 A100 over 1 in NVIDIA's nnU-Net for TensorFlow, 2-D, 32 images each: 6.72 of 8. Less is worth a word
USUAL = 0.84


def measure(
    session: Session, where: Any, objective: Objective, channels: int, patients: Sequence[Prepared]
) -> dict[str, Any]:
    """Images a second on one device and on all, each with the same share of a batch; says what it found.

    With everything that a step needs: making the batch on the host, which all devices share, too. The session is left
    as it was, bit for bit.

    Args:
        session: on all devices, before its first step.
        where: these, several.
        objective: of the session.
        channels: of the network's input.
        patients: to train on.

    Returns:
        `devices`, `batch_each` (images), `images_per_s_one`, `images_per_s_all`, `efficiency` (1: as many times as
        fast as there are devices), `virtual` (whether the devices share one CPU, which makes all this meaningless),
        `seconds` that measuring took.
    """
    began, whole = time.monotonic(), objective.config
    size, devices = whole.train.batch_size, int(where.replicas)
    share = replace(whole, train=replace(whole.train, batch_size=size // devices))
    with tempfile.TemporaryDirectory() as folder:
        alone = Session(share, where.first(1), replace(objective, config=share), channels, {}, Path(folder))
        one = size / devices / _step_s(alone, Batches(patients, share))
    del alone
    kept, session.done = session.done, Progressed(steps=session.done.steps)
    with session._step.undone():
        every = size / _step_s(session, Batches(patients, whole))
    session.done = kept
    found = {
        "devices": devices,
        "batch_each": size // devices,
        "images_per_s_one": round(one, 2),
        "images_per_s_all": round(every, 2),
        "efficiency": round(every / one / devices, 3),
        "virtual": bool(backend.virtual()),
        "seconds": round(time.monotonic() - began, 1),
    }
    print("\n".join(f"scaling    {line}" for line in said(found)))
    return found


def said(found: dict[str, Any]) -> list[str]:
    """What `measure` found, in words."""
    devices, efficiency = found["devices"], found["efficiency"]
    lines = [
        f"{found['images_per_s_all']:g} images/s on {devices} devices, {found['images_per_s_one']:g} on one alone: "
        f"{efficiency:.0%} of {devices} times as fast (measured in {found['seconds']:g} s)"
    ]
    if found["virtual"]:
        lines.append("virtual devices share one CPU: this says nothing of GPUs")
    elif efficiency < USUAL:
        lines.append(
            f"{devices} GPUs do the work of {efficiency * devices:.1f}: fewer would finish more in a GPU hour, jobs of "
            f"one {1 / efficiency:.1f} times as much (osgdl scale --gpus 1); a larger train.batch_size helps, too"
        )
    return lines


def _step_s(session: Session, batches: Batches) -> float:
    """Seconds a step."""
    with closing(batches.since(0, session.ahead)) as made:
        for _ in range(FIRST):
            session.train_on(next(made))
        session.settle()
        began, steps = time.monotonic(), 0
        while steps < LEAST or (steps < MOST and time.monotonic() - began < SECONDS):
            session.train_on(next(made))
            steps += 1
        session.settle()
        return (time.monotonic() - began) / steps
