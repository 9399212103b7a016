"""Our side of every comparison: a worker around the trainer's own parts, with its defaults.

python -m benchmarks.ours step --normalisation none
python -m benchmarks.ours loop --data DIR
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pairs import BUILD
from unet_segmentation import backend, config
from unet_segmentation.config import Config
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import Batches
from unet_segmentation.session import Session

WARM_UP = 5  # steps: the first ones compile
CHANNELS, REGIONS = 2, 3


class Given(Objective):
    """Images and truth as the batch has them: the step alone, without the augmentation that is otherwise part of it."""

    def inputs(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        return batch["images"], batch["truth"]


def step(options: argparse.Namespace) -> dict[str, Any]:
    """One batch again and again."""
    settings = config.load(None, [f"model.normalisation={options.normalisation}"])
    where = backend.devices(settings.train)
    objective = Given(settings, CHANNELS, np.ones((1, REGIONS), np.float32))
    session = Session(settings, where, objective, CHANNELS, {}, BUILD / "ours" / "step")
    session.done.steps = 10**6
    rng = np.random.default_rng(1)
    side = settings.train.patch
    batch = {
        "images": rng.standard_normal((settings.train.batch_size, side, side, CHANNELS), np.float32),
        "truth": (rng.random((settings.train.batch_size, side, side, REGIONS)) < 0.1).astype(np.uint8),
    }
    times: list[float] = []
    for number in range(10**6):
        began = time.perf_counter()
        session.train_on(session.ahead(batch))
        session.settle()
        if number >= WARM_UP:
            times.append(time.perf_counter() - began)
        if sum(times) >= options.seconds:
            break
    speed = settings.train.batch_size / statistics.median(times)
    return {"images_per_s": speed, "parameters": int(session.model.count_params()), "steps": len(times), **about(where)}


def about(where: Any) -> dict[str, Any]:
    """How it was computed."""
    return {"backend": backend.name(), "precision": where.precision, "deterministic": where.deterministic}


def prepared(settings: Config, root: Path) -> Any:
    """The data of a run, prepared; kept for the next worker."""
    from unet_segmentation import train

    return train.load_data(settings, root, BUILD / "ours")


def in_training(settings: Config, root: Path, kind: type[Objective] = Objective) -> tuple[Any, Batches, Session]:
    """Devices, batches and a fresh session, as `train` makes them."""
    from unet_segmentation import train

    where = backend.devices(settings.train)
    data = prepared(settings, root)
    objective = kind(settings, len(data.modalities), data.convention.membership(data.regions))
    channels = train.describe(settings, data)["channels"]
    folder = BUILD / "ours" / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    session = Session(settings, where, objective, channels, {}, folder)
    session.done.steps = 10**6
    return where, Batches(data.training, settings), session


def run(session: Session, batches: Iterable[Any], seconds: float, warm_up: int = WARM_UP) -> tuple[int, float]:
    """Trains for some seconds after the warm-up; steps and seconds."""
    began, count = time.perf_counter(), -warm_up
    for batch in batches:
        session.train_on(batch)
        count += 1
        if count == 0:
            session.settle()
            began = time.perf_counter()
        if count > 0 and time.perf_counter() - began >= seconds:
            break
    session.settle()
    return count, time.perf_counter() - began


def loop(options: argparse.Namespace) -> dict[str, Any]:
    """Training from the cache on the disk to the weights, augmentation on."""
    settings = config.load(None, [])
    where, batches, session = in_training(settings, options.data)
    with closing(batches.since(0, session.ahead)) as made:
        count, spent = run(session, made, options.seconds)
    speed = count * settings.train.batch_size / spent
    return {"images_per_s": speed, "parameters": int(session.model.count_params()), "steps": count, **about(where)}


def inputs(options: argparse.Namespace) -> dict[str, Any]:
    """The input pipeline alone: what the host does (`host_images_per_s`), and with the augmentation that the device
    does inside the training step, compiled for itself (`images_per_s`).
    """
    import tensorflow as tf

    settings = config.load(None, [])
    backend.devices(settings.train)
    data = prepared(settings, options.data)
    batches = Batches(data.training, settings)
    objective = Objective(settings, len(data.modalities), data.convention.membership(data.regions))
    vary = tf.function(objective.inputs, reduce_retracing=True)
    speeds = {}
    for name, consume in (("images_per_s", vary), ("host_images_per_s", lambda batch: batch)):
        with closing(batches.since(0)) as made:
            for _ in range(WARM_UP):
                consume(next(made))
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < options.seconds / 2:
                consume(next(made))
                count += 1
            speeds[name] = count * settings.train.batch_size / (time.perf_counter() - began)
    return speeds


def checkpoint(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step and of a save, the default interval, bytes of a checkpoint."""
    settings = config.load(None, [])
    _, batches, session = in_training(settings, options.data)
    with closing(batches.since(0, session.ahead)) as made:
        count, spent = run(session, made, options.seconds)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        session.save()
        times.append(time.perf_counter() - began)
    folder = max((BUILD / "ours" / "checkpoint").iterdir())
    limits = (settings.checkpoint.every_steps * spent / count, settings.checkpoint.every_minutes * 60)
    return {
        "step_s": spent / count,
        "save_s": statistics.median(times),
        "interval_s": min(limit for limit in limits if limit),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
    }


def train(options: argparse.Namespace) -> dict[str, Any]:
    """The whole command, as it comes. The held-out patients are scored at the end alone: the time of a look at them
    in between would not count as training.
    """
    from unet_segmentation import cli

    settings = [f"train.minutes={options.minutes}", f"train.seed={options.seed}", "train.validate_epochs=0"]
    words = [word for change in (*settings, *options.set) for word in ("--set", change)]
    code = cli.main(["train", "--data", str(options.data), "--out", str(options.out), *words])
    if code:
        raise SystemExit(code)
    metrics = json.loads((options.out / "metrics.json").read_text())
    return {key: metrics[key] for key in ("dice", "steps", "images_per_s", "training_s")}


def main() -> None:
    parser = argparse.ArgumentParser(description="Our side of the benches.")
    workers = parser.add_subparsers(required=True)
    for name, worker in (
        ("step", step),
        ("loop", loop),
        ("input", inputs),
        ("checkpoint", checkpoint),
        ("train", train),
    ):
        one = workers.add_parser(name)
        one.set_defaults(run=worker)
        one.add_argument("--data", type=Path, help="folder with train/ and validation/")
        one.add_argument("--seconds", type=float, default=6.0)
        one.add_argument("--normalisation", default="instance", choices=("instance", "none"))
        one.add_argument("--minutes", type=float, default=6.0)
        one.add_argument("--seed", type=int, default=1)
        one.add_argument("--out", type=Path)
        one.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    print(json.dumps(options.run(options)))


if __name__ == "__main__":
    main()
