"""Trains a small network to tell lying stripes from standing ones, and survives eviction: to be replaced by yours.

The lines that make it a job of the OSPool are those with osgdl_ and exit_codes. What is trained is decided in `network`
and `main`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import keras
import numpy as np

import osgdl_job
import osgdl_keras
import stripes
from submit.runtime import exit_codes

BATCH = 50


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((stripes.SIDE, stripes.SIDE, 1)),
            keras.layers.Conv2D(8, 5, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(2),
        ]
    )


def main() -> None:
    options = osgdl_job.parser(__doc__).parse_args()
    given = osgdl_job.data(options)
    if about := stripes.made_up(given.folder):
        osgdl_job.require_told(options.data, about, options)
    train, validation = stripes.read(given.folder)

    keras.utils.set_random_seed(options.seed)
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])

    per_epoch = train.steps(BATCH)
    checkpoints = osgdl_keras.Checkpoints(
        model,
        steps=options.epochs * per_epoch,
        identity={"seed": options.seed, "epochs": options.epochs},
        intervals=osgdl_job.intervals(options),
    )

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for step in itertools.count(checkpoints.step):
            x, y = train.batch(BATCH, options.seed, step)
            yield x[..., None], y

    model.fit(
        batches(),
        steps_per_epoch=per_epoch,
        epochs=options.epochs,
        initial_epoch=checkpoints.step // per_epoch,
        callbacks=[checkpoints],
        shuffle=False,
        verbose=0,
    )

    options.out.mkdir(parents=True, exist_ok=True)
    model.save(options.out / "model.keras")
    scores = model.evaluate(validation.x[..., None], validation.y, verbose=0, return_dict=True)
    weights = {str(number): array for number, array in enumerate(model.get_weights())}
    digest = osgdl_job.digest(weights)
    osgdl_job.record(options, given, checkpoints.device, digest, keras=keras.__version__, synthetic=about, **scores)


if __name__ == "__main__":
    exit_codes.end(exit_codes.run(main))
