"""The state of a training run: network, optimiser, step, history; all of it in a checkpoint, so that a restarted run
is the run.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from submit.runtime.checkpoint import Store
from submit.runtime.exit_codes import BadInput
from submit.runtime.network import Network
from unet_segmentation.backend import Devices, TrainingStep, dump, restore
from unet_segmentation.config import Config
from unet_segmentation.labels import Convention

HISTORY_EVERY = 20  # steps a row of history.csv
WARM_UP = 0.05  # share of the steps in which the learning rate rises: Adam's second moments are noise at first


@dataclass
class Progressed:
    """What a run has done so far: JSON in the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # since the last row
    history: list[dict[str, float]] = field(default_factory=list)


class Session:
    """A network in training.

    Args:
        config: of the run.
        where: devices to train on.
        channels: number of modalities.
        convention: of the labels.
        steps: optimiser steps in all.
        identity: what a checkpoint must agree with to be resumed, such as the hashes of configuration and data; name
            to value.
        folder: of the checkpoints.
    """

    def __init__(
        self,
        config: Config,
        where: Devices,
        channels: int,
        convention: Convention,
        steps: int,
        identity: dict[str, Any],
        folder: Path,
    ) -> None:
        import keras

        from unet_segmentation.losses import dice_cross_entropy
        from unet_segmentation.model import build_unet, logits_of

        membership = convention.membership()
        warm_up = max(1, round(steps * WARM_UP))
        with where.strategy.scope():
            self.model = build_unet(channels, len(convention.values), config.model)
            network = logits_of(self.model)
            rate = keras.optimizers.schedules.CosineDecay(
                0.0, max(1, steps - warm_up), warmup_target=config.train.learning_rate, warmup_steps=warm_up
            )
            average = config.train.average
            self.optimizer = keras.optimizers.Adam(rate, use_ema=average > 0, ema_momentum=average or 0.99)
            self.optimizer.build(network.trainable_variables)
        self._step = TrainingStep(
            where,
            network,
            self.optimizer,
            lambda classes, logits: dice_cross_entropy(classes, logits, membership),
            config.train.batch_size,
        )
        self._store = Store(folder)
        self._identity = identity
        self._config = config
        self._precision = where.precision
        self.done = Progressed()

    def train_on(self, images: Any, classes: Any) -> float:
        """One step; the loss of the batch before it."""
        loss = self._step(images, classes)
        self.done.step += 1
        self.done.losses.append(loss)
        if self.done.step % HISTORY_EVERY == 0:
            self.done.history.append({"step": self.done.step, "loss": float(np.mean(self.done.losses))})
            self.done.losses.clear()
        return loss

    def save(self) -> None:
        """Writes a checkpoint; atomic."""
        blobs = {"weights.npz": dump(self.model.variables), "optimizer.npz": dump(self.optimizer.variables)}
        self._store.save({"identity": self._identity, "precision": self._precision, "progress": vars(self.done)}, blobs)

    def resume(self) -> bool:
        """Goes on from the newest whole checkpoint, if there is one.

        Raises:
            BadInput: the checkpoint belongs to another configuration or other data.
        """
        snapshot = self._store.load()
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
        if snapshot.state["precision"] != self._precision:
            # Going on is worth more than the same bytes: a GPU without bfloat16 would otherwise stop a run that began
            # on one with it
            print(
                f"precision  was {snapshot.state['precision']}, is {self._precision} on this machine: "
                "the result differs a little from that of a run never moved",
                file=sys.stderr,
            )
        restore(self.model.variables, snapshot.blobs["weights.npz"])
        restore(self.optimizer.variables, snapshot.blobs["optimizer.npz"])
        self.done = Progressed(**snapshot.state["progress"])
        return True

    def network(self) -> Network:
        """What this training costs in memory, for model.json."""
        from unet_segmentation.model import size

        train = self._config.train
        return Network(
            name="unet",
            **size(self.model, train.patch),
            optimizer_slots=2 + self.optimizer.use_ema,  # Adam's two moments, and the average
            batch=train.batch_size,
            precision=self._precision,
        )

    def finish(self) -> Any:
        """The trained network: the averaged weights where the optimiser keeps them."""
        if self.optimizer.use_ema:
            self.optimizer.finalize_variable_values(self.model.trainable_variables)
        return self.model


def weights_sha256(model: Any) -> str:
    """SHA-256 of the weights, as little-endian float32 in the model's own order."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights, "<f4").tobytes())
    return digest.hexdigest()


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
