"""JAX under Keras: devices, determinism, the compiled training step.

The state of training lives in arrays that each step takes and gives back; `sync` writes it into the Keras variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_segmentation.backend import announce_virtual, keras_adam, precision, require_divisible, start_up_log, virtual
from unet_segmentation.config import TrainConfig
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import Batch


class Devices:
    """As `backend_tensorflow.Devices`."""

    def __init__(self, config: TrainConfig) -> None:
        wanted = virtual()
        if config.deterministic == "on":  # read once, when the devices are first asked for
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        with start_up_log():
            import jax
            import keras

            if wanted:
                jax.config.update("jax_num_cpu_devices", wanted)
            keras.utils.set_random_seed(config.seed)  # loads TensorFlow too, where it is installed
        self.devices = [device for device in jax.devices() if device.platform == "gpu"]
        self.gpus = len(self.devices)
        announce_virtual(wanted, self.gpus)
        self.devices = self.devices or jax.devices("cpu")
        self.replicas = len(self.devices)
        self.deterministic = config.deterministic == "on" or (config.deterministic == "auto" and not self.gpus)
        capabilities = [float(device.compute_capability) for device in self.devices[: self.gpus]]
        self.precision = precision(config.precision, capabilities, cpu=False)
        keras.config.set_dtype_policy("mixed_bfloat16" if self.precision == "bfloat16" else "float32")
        self.versions = {"jax": jax.__version__, "keras": keras.__version__}
        require_divisible(config, self.replicas)

    def first(self, count: int) -> Devices:
        """So many of them, as if there were no others."""
        some = copy(self)
        some.devices, some.replicas, some.gpus = self.devices[:count], count, min(self.gpus, count)
        return some

    def scope(self) -> AbstractContextManager[None]:
        """Where the network and its optimiser must be built: anywhere."""
        return nullcontext()


def adam(where: Devices, rate: float, average: float) -> Any:
    """Keras's Adam, with the averaged weights it keeps if `average` > 0 (their decay a step)."""
    return keras_adam()(rate, use_ema=average > 0, ema_momentum=average or 0.99, name="adam")


class TrainingStep:
    """As `backend_tensorflow.TrainingStep`; a batch that does not fit the GPU needs `train.split`."""

    def __init__(self, where: Devices, network: Any, optimizer: Any, objective: Objective) -> None:
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        self._network, self._optimizer = network, optimizer
        mesh = Mesh(np.array(where.devices), ("batch",))
        self._split = NamedSharding(mesh, PartitionSpec("batch"))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._put = jax.device_put
        self._copied = partial(jax.tree.map, jax.numpy.copy)
        rate_at = next(i for i, v in enumerate(optimizer.variables) if v is optimizer.learning_rate)
        parts = objective.config.train.split

        def gradients(trainable: Any, fixed: Any, batch: Any) -> Any:
            images, truth = objective.inputs(batch)

            def loss(values: Any) -> Any:
                outputs, _ = network.stateless_call(values, fixed, images, training=True)
                sums = objective.sums(truth, outputs)
                return sums["loss"], sums

            (_, sums), slopes = jax.value_and_grad(loss, has_aux=True)(trainable)
            return slopes, sums

        def in_parts(values: Any) -> Any:
            """Every part has an equal share of what lies on each device."""
            cut = values.reshape(where.replicas, parts, -1, *values.shape[1:]).swapaxes(0, 1)
            cut = cut.reshape(parts, -1, *values.shape[1:])
            return jax.lax.with_sharding_constraint(cut, NamedSharding(mesh, PartitionSpec(None, "batch")))

        def step(state: Any, batch: Any, rate: Any) -> Any:
            trainable, fixed, slots = state
            if parts == 1:
                slopes, sums = gradients(trainable, fixed, batch)
            else:  # one part after the other, so that only one is in memory
                cut = jax.tree.map(in_parts, batch)
                slopes, sums = jax.tree.map(
                    lambda values: values.sum(0), jax.lax.map(lambda part: gradients(trainable, fixed, part), cut)
                )
            slots = [rate if index == rate_at else value for index, value in enumerate(slots)]
            trainable, slots = optimizer.stateless_apply(slots, slopes, trainable)
            return (trainable, fixed, slots), sums

        self._step = jax.jit(step, donate_argnums=0)
        self._state: tuple[list[Any], ...] = ()
        self.reload()

    def ahead(self, batch: Batch) -> Any:
        """The batch on the devices; the rest is part of the step."""
        return self._put(batch, self._split)

    def __call__(self, made: Any, rate: float) -> dict[str, Any]:
        """`Objective.sums` of a batch that `ahead` made, before the step, as arrays: reading one waits for it."""
        self._state, sums = self._step(self._state, made, np.float32(rate))
        return dict(sums)

    def sync(self) -> None:
        """Makes the Keras variables current."""
        for variables, values in zip(self._variables(), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(np.asarray(value))

    def reload(self) -> None:
        """Takes over Keras variables that were set from outside."""
        # copies: the arrays of a step are given up to the next one, and the variables' own must stay
        self._state = tuple(
            [self._put(np.array(variable.value), self._everywhere) for variable in variables]
            for variables in self._variables()
        )

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Steps taken inside leave no trace."""
        kept = self._copied(self._state)
        try:
            yield
        finally:
            self._state = kept

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        return self._network.trainable_variables, self._network.non_trainable_variables, self._optimizer.variables


def instance_normalization(x: Any, scale: Any, shift: Any, epsilon: float, rectified: bool) -> None:
    """XLA makes one kernel of the plain formula."""


def forward(model: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Images (n, [z,] x, y, channel) to region probabilities, compiled for each size."""
    import jax

    compiled = jax.jit(lambda state, images: model.stateless_call(*state, images, training=False)[0])

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        state = [[v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)]
        return np.asarray(compiled(state, images))

    return run
