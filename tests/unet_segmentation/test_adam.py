"""The fused Adam is Keras's, and its averaged weights begin with the first step's."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from unet_segmentation import backend
from unet_segmentation.config import TrainConfig

keras = pytest.importorskip("keras")
STEPS = 20


def step_on(optimizer: Any, variable: Any, slope: Any) -> None:
    optimizer.apply([slope], [variable])


@pytest.mark.skipif(backend.name() != "tensorflow", reason="TensorFlow's alone is fused")
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_fused_update_is_the_formula_of_keras(average: float) -> None:
    import tensorflow as tf

    random = np.random.default_rng(1)
    start = random.normal(size=(7, 3)).astype(np.float32)
    ours, theirs = keras.Variable(start), keras.Variable(start)
    where = backend.devices(TrainConfig(batch_size=4, precision="float32"))
    fused = backend.adam(where, 0.01, average)
    plain = backend.keras_adam()(0.01, use_ema=average > 0, ema_momentum=average or 0.99)
    assert type(fused) is not type(plain)
    for optimizer, variable in ((fused, ours), (plain, theirs)):
        optimizer.build([variable])
        apply = tf.function(partial(step_on, optimizer, variable))
        slopes = np.random.default_rng(2)
        for step in range(STEPS):
            optimizer.learning_rate.assign(0.01 / (1 + step))
            apply(tf.constant(slopes.normal(size=start.shape).astype(np.float32)))
    for one, other in zip([ours, *fused.variables], [theirs, *plain.variables], strict=True):
        np.testing.assert_allclose(np.asarray(one.value), np.asarray(other.value), rtol=1e-5, atol=1e-7)
    assert np.abs(np.asarray(ours.value) - start).max() > 0.02


@pytest.mark.parametrize("average", [0.5, 0.99])
def test_the_average_of_the_first_steps(average: float) -> None:
    """After n steps the decay is n / (n + 9), then the one that was set; beside it the recursion in NumPy."""
    variable = keras.Variable(np.full(5, 3.0, np.float32))
    where = backend.devices(TrainConfig(batch_size=4, precision="float32"))
    optimizer = backend.adam(where, 0.1, average)
    optimizer.build([variable])
    wanted = np.zeros(5)
    for step in range(STEPS):
        optimizer.apply([keras.ops.ones(5)], [variable])
        decay = min(average, step / (step + 9))
        wanted = decay * wanted + (1 - decay) * np.asarray(variable.value)
        (kept,) = optimizer._model_variables_moving_average
        np.testing.assert_allclose(np.asarray(kept.value), wanted, rtol=1e-6)
