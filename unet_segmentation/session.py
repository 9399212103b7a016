"""The state of a training run: network, optimiser, step, history; all of it in a checkpoint, so that a restarted run
is the run.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from submit.runtime.checkpoint import Snapshot, Store
from submit.runtime.exit_codes import BadInput
from submit.runtime.network import Network
from unet_segmentation import backend, schedule
from unet_segmentation.config import Config
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import Batch
from unet_segmentation.progressed import Progressed

HISTORY_EVERY = 20  # steps a row of history.csv
COLLAPSED_ROWS = 10  # rows of history in which the network marks nothing that is there
COLLAPSED = 0.01  # share of the first region's pixels found, below which nothing is
LOWER = 0.1  # learning rate after a training that diverged, as a share of the one before


class Diverged(Exception):
    """The training is lost: what was seen, and at which step."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(what)
        self.step = step


class Session:
    """A network in training.

    Args:
        config: of the run.
        where: devices to train on, `backend.devices`.
        objective: inputs and loss.
        channels: of the network's input.
        identity: what a checkpoint must agree with to be resumed, such as the hashes of configuration and data; name
            to value.
        folder: of the checkpoints.
        start: another one, whose newest is gone on from where `folder` holds none.
    """

    def __init__(
        self,
        config: Config,
        where: Any,
        objective: Objective,
        channels: int,
        identity: Mapping[str, Any],
        folder: Path,
        start: Path | None = None,
    ) -> None:
        from unet_segmentation.model import build_unet, in_training

        self.regions = int(objective.membership.shape[1])
        self._channels, self._config, self._identity = channels, config, dict(identity)
        with where.scope():
            self.model = build_unet(channels, self.regions, config.model)
            self._network = in_training(self.model, self.regions, config.model)
            self.optimizer = backend.adam(where, config.train.learning_rate, config.train.average)
            self.optimizer.build(self._network.trainable_variables)
        self._initial = backend.dump(self._network.variables), backend.dump(self.optimizer.variables)
        self._step = backend.training_step(where, self._network, self.optimizer, objective)
        self._store, self._start = Store(folder), start
        self.left: Mapping[str, Any] = {}  # of `Leaving`
        self._replicas = where.replicas
        self._arithmetic = {"precision": where.precision, "backend": backend.name()}
        self._unread: deque[dict[str, Any]] = deque()
        self._best = b""
        self.done = Progressed(steps=config.train.steps)

    def ahead(self, batch: Batch) -> Any:
        """The batch as `train_on` takes it; from any thread."""
        return self._step.ahead(batch)

    def train_on(self, made: Any) -> dict[str, float] | None:
        """One step on a batch that `ahead` made; returns what the step before it gave (`Objective.sums`), for this one
        may still be computing.

        Raises:
            Diverged: the loss is not finite, or nothing of what is there has been found for long.
        """
        scale = LOWER if self.done.attempt else 1.0
        rate = schedule.rate(self.done.step, self.done.steps, self._config.train, scale)
        self._unread.append({**self._step(made, rate), "rate": rate})
        self.done.step += 1
        return self._read() if len(self._unread) > 1 else None

    def settle(self) -> dict[str, float] | None:
        """Waits for the last step; returns what it gave."""
        return self._read() if self._unread else None

    def _read(self) -> dict[str, float]:
        sums = {name: float(value) for name, value in self._unread.popleft().items()}
        step = self.done.step - len(self._unread)
        if not math.isfinite(sums["loss"]):
            raise Diverged(f"loss {sums['loss']}", step)
        self.done.recent.append(sums)
        if step % HISTORY_EVERY == 0:
            self.done.history.append(self._row(step))
            self.done.recent.clear()
            rows = [row for row in self.done.history if "found" in row][-COLLAPSED_ROWS:]
            if len(rows) == COLLAPSED_ROWS and max(row["found"] for row in rows) < COLLAPSED:
                raise Diverged(f"nothing found for {COLLAPSED_ROWS * HISTORY_EVERY} steps", step)
        return sums

    def _row(self, step: int) -> dict[str, float]:
        recent = self.done.recent
        there = sum(sums["there"] for sums in recent)
        row = {"step": step, **{k: float(np.mean([sums[k] for sums in recent])) for k in ("loss", "dice", "rate")}}
        return {**row, "found": sum(sums["found"] for sums in recent) / there} if there else row

    @property
    def looked(self) -> bool:
        """Whether the held-out patients were scored at this step."""
        return any(row["step"] == self.done.step and "loss" not in row for row in self.done.history[-2:])

    def validated(self, dice: Mapping[str, float]) -> bool:
        """Notes the held-out patients' mean Dice of each region; True if it is the best so far."""
        mean = float(np.mean(list(dice.values())))
        self.done.history.append(
            {"step": self.done.step, **{f"validation_{name}": value for name, value in dice.items()}}
        )
        better = not self.done.best or mean > self.done.best["dice"]
        if better:
            self.done.best = {"step": self.done.step, "dice": mean}
            self._best = backend.dump(self.averaged().variables)
        return better

    def save(self, left: Mapping[str, Any] | None = None, store: Store | None = None) -> None:
        """Writes a checkpoint; atomic.

        Args:
            left: `Leaving.state`; None: as before.
            store: another than the run's.

        Raises:
            Diverged: a weight is not finite: the checkpoint before this one is better.
        """
        self.settle()
        self._step.sync()
        if not self._finite():
            raise Diverged("a weight that is no number", self.done.step)
        blobs = {"weights.npz": backend.dump(self._network.variables)}
        blobs["optimizer.npz"] = backend.dump(self.optimizer.variables)
        if self._best:
            blobs["best.npz"] = self._best
        self.left = self.left if left is None else left
        about = {"identity": self._identity, **self._arithmetic, "leaving": dict(self.left)}
        (store or self._store).save({**about, "progress": vars(self.done)}, blobs)

    def resume(self) -> bool:
        """Goes on from the newest whole checkpoint, if there is one.

        Raises:
            BadInput: the checkpoint belongs to another configuration or other data, or `start` holds none.
        """
        snapshot = self._store.load() or self._beginning()
        if snapshot is None:
            return False
        saved = snapshot.state.get("identity", {})
        for name, value in self._identity.items():
            if saved.get(name) != value:
                raise BadInput(
                    self._store.folder,
                    f"a checkpoint whose {name} is {_short(saved.get(name))}",
                    f"{_short(value)}, that of this run",
                    f"give the run its own --out, undo the change, or start anew: rm -r {self._store.folder}",
                )
        for name, here in self._arithmetic.items():
            if snapshot.state[name] != here:
                # Going on is worth more than the same bytes: a GPU without bfloat16 would otherwise stop a run that
                # began on one with it
                print(
                    f"{name:10} was {snapshot.state[name]}, is {here} on this machine: "
                    "the result differs a little from that of a run never moved",
                    file=sys.stderr,
                )
        self._restore(snapshot)
        return True

    def _beginning(self) -> Snapshot | None:
        snapshot = Store(self._start).load() if self._start else None
        if self._start and snapshot is None:
            raise BadInput(
                "checkpoint.start",
                f"no whole checkpoint in {self._start}",
                "what a job left as handed-on",
                "name it in transfer_input_files, or leave the setting out to start anew",
            )
        return snapshot

    def roll_back(self) -> bool:
        """After `Diverged`: back to the newest checkpoint, or the start where there is no sound one, with a lower rate
        and other batches. Once: False if that was done before.
        """
        if self.done.attempt:
            return False
        self._unread.clear()
        snapshot = self._store.load()
        if snapshot is not None:
            self._restore(snapshot)
        if snapshot is None or not self._finite():
            backend.restore(self._network.variables, self._initial[0])
            backend.restore(self.optimizer.variables, self._initial[1])
            self._step.reload()
            self.done = Progressed(steps=self.done.steps, scaling=self.done.scaling)
        self.done.attempt = 1
        self.save()
        return True

    def _finite(self) -> bool:
        return all(np.isfinite(np.asarray(v.value)).all() for v in self._network.trainable_variables)

    def _restore(self, snapshot: Snapshot) -> None:
        backend.restore(self._network.variables, snapshot.blobs["weights.npz"])
        backend.restore(self.optimizer.variables, snapshot.blobs["optimizer.npz"])
        self._step.reload()
        self._best = snapshot.blobs.get("best.npz", b"")
        self.left = snapshot.state.get("leaving", {})
        self.done = Progressed(**snapshot.state["progress"])

    def averaged(self) -> Any:
        """A network of its own with the averaged weights, where the optimiser keeps them, else with the last. The same
        object at every call, so that what is compiled for it serves again.
        """
        self.settle()
        self._step.sync()
        averages = (
            dict(
                zip(
                    map(id, self._network.trainable_variables),
                    self.optimizer._model_variables_moving_average,
                    strict=True,
                )
            )
            if self.optimizer.use_ema
            else {}
        )
        for target, source in zip(self._averaged.variables, self.model.variables, strict=True):
            target.assign(averages.get(id(source), source).value)
        return self._averaged

    def best(self) -> Any | None:
        """A network with the weights that did best on the held-out patients; None if they were never scored."""
        if not self._best:
            return None
        model = self._copy()
        backend.restore(model.variables, self._best)
        return model

    @cached_property
    def _averaged(self) -> Any:
        return self._copy()

    def _copy(self) -> Any:
        from unet_segmentation.model import build_unet

        return build_unet(self._channels, self.regions, self._config.model)

    def network(self) -> Network:
        """What this training costs in memory, for model.json."""
        from unet_segmentation.model import size

        train, model = self._config.train, self._config.model
        sides = (train.patch,) * 2 if model.dimensions == 2 else (train.depth, train.patch, train.patch)
        return Network(
            name="unet",
            **size(self.model, sides),
            optimizer_slots=2 + self.optimizer.use_ema,  # Adam's two moments, and the average
            batch=train.batch_size // self._replicas,  # on each GPU
            precision=self._arithmetic["precision"],
        )


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if len(text) == 64 else text
