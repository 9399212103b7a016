"""Trains a small network to tell lying stripes from standing ones, and survives eviction: to be replaced by yours.

The lines that make it a job of the OSPool are those with osgdl_, run and exit_codes. What is trained is decided in
`network` and `main`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import osgdl_jax
import osgdl_job
import stripes
from submit.runtime import exit_codes

BATCH, RATE, MOMENTUM = 50, 0.1, 0.9


def network(key: jax.Array) -> dict[str, jax.Array]:
    """The parameters, drawn."""
    first, last = jax.random.split(key)
    return {
        "filters": jax.random.normal(first, (8, 1, 5, 5)) / 5,
        "bias": jnp.zeros((8, 1, 1)),
        "dense": jax.random.normal(last, (8, 2)) / 3,
        "offset": jnp.zeros(2),
    }


def scores(parameters: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Images N x SIDE x SIDE -> N x 2."""
    features = jax.lax.conv(x[:, None], parameters["filters"], (1, 1), "VALID") + parameters["bias"]
    return jax.nn.relu(features).mean((2, 3)) @ parameters["dense"] + parameters["offset"]


def loss_of(parameters: dict[str, jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(scores(parameters, x)), y[:, None], 1).mean()


@jax.jit
def train_step(state: dict[str, Any], x: jax.Array, y: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    loss, slope = jax.value_and_grad(loss_of)(state["parameters"], x, y)
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v - RATE * g, state["velocity"], slope)
    return {"parameters": jax.tree.map(jnp.add, state["parameters"], velocity), "velocity": velocity}, loss


def main() -> None:
    options = osgdl_job.parser(__doc__).parse_args()
    given = osgdl_job.data(options)
    if about := stripes.made_up(given.folder):
        osgdl_job.require_told(options.data, about, options)
    train, validation = stripes.read(given.folder)

    run = osgdl_jax.Run(
        steps=options.epochs * train.steps(BATCH),
        identity={"seed": options.seed, "epochs": options.epochs},
        intervals=osgdl_job.intervals(options),
    )
    parameters = network(jax.random.key(options.seed))
    state = run.resume({"parameters": parameters, "velocity": jax.tree.map(jnp.zeros_like, parameters)})
    while run.step < run.steps:
        state, loss = train_step(state, *train.batch(BATCH, options.seed, run.step))
        run.done(state, loss=float(loss), epoch=run.step // train.steps(BATCH))
    run.finish(state)

    guessed = np.asarray(scores(state["parameters"], validation.x).argmax(1))
    weights = {name: np.asarray(array) for name, array in state["parameters"].items()}
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez(options.out / "weights.npz", **weights)
    accuracy = float(np.mean(guessed == validation.y))
    digest = osgdl_job.digest(weights)
    osgdl_job.record(options, given, run.device, digest, jax=jax.__version__, synthetic=about, accuracy=accuracy)


if __name__ == "__main__":
    exit_codes.end(exit_codes.run(main))
