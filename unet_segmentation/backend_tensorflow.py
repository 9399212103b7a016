"""TensorFlow under Keras: devices, determinism, the compiled training step."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime import devices
from submit.runtime.exit_codes import BadInput
from unet_segmentation.backend import (
    announce_virtual,
    dump,
    keras_adam,
    precision,
    require_divisible,
    restore,
    start_up_log,
    virtual,
    without,
)
from unet_segmentation.config import TrainConfig
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import Batch


class Devices:
    """The devices of this process, set up once, before the first operation.

    Attributes:
        gpus: number of GPUs TensorFlow sees.
        replicas: number of devices a batch is split over.
        precision: `float32` or `bfloat16`.
        deterministic: whether the same seed gives the same bytes.
        versions: of the framework, for the provenance.
    """

    def __init__(self, config: TrainConfig) -> None:
        place, wanted = devices.here(), virtual()
        with start_up_log() as log, without("matplotlib"):
            import keras
            import tensorflow as tf

            physical = tf.config.list_physical_devices("GPU")
            for gpu in physical:
                tf.config.experimental.set_memory_growth(gpu, True)
            if place.cpus:  # the slot's share: TensorFlow would take every core of the machine
                tf.config.threading.set_intra_op_parallelism_threads(place.cpus)
                tf.config.threading.set_inter_op_parallelism_threads(place.cpus)
            if wanted and not physical:
                (cpu,) = tf.config.list_physical_devices("CPU")
                parts = [tf.config.LogicalDeviceConfiguration()] * wanted
                tf.config.set_logical_device_configuration(cpu, parts)
            logical = tf.config.list_logical_devices("GPU")
        if len(logical) < place.gpus and not place.simulated:
            print(log[0], file=sys.stderr)
        keras.utils.set_random_seed(config.seed)
        self.gpus = len(physical)
        announce_virtual(wanted, self.gpus)
        self.deterministic = config.deterministic == "on" or (config.deterministic == "auto" and not physical)
        if self.deterministic:
            tf.config.experimental.enable_op_determinism()
        details = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in physical]
        self.precision = precision(config.precision, [major + minor / 10 for major, minor in details], cpu=True)
        keras.config.set_dtype_policy("mixed_bfloat16" if self.precision == "bfloat16" else "float32")
        self.versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
        # by TensorFlow's own names: of the GPUs that CUDA_VISIBLE_DEVICES lists by UUID it sees these alone, from 0
        self.names = [device.name for device in logical or tf.config.list_logical_devices("CPU")]
        self.replicas = len(self.names)
        self.strategy = _strategy(self.names)
        self.compile = config.compile and self.replicas == 1
        if config.compile and not self.compile:  # hangs and crashes: keras-team/keras, issues 20763 and 21366
            print("compile    off: XLA and several devices do not go together on TensorFlow", file=sys.stderr)
        require_divisible(config, self.replicas)

    def first(self, count: int) -> Devices:
        """So many of them, as if there were no others."""
        some = copy(self)
        some.names, some.replicas, some.gpus = self.names[:count], count, min(self.gpus, count)
        some.strategy = _strategy(some.names)
        return some

    def scope(self) -> Any:
        """Where the network and its optimiser must be built."""
        return self.strategy.scope()


def _strategy(names: list[str]) -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def adam(where: Devices, rate: float, average: float) -> Any:
    """Keras's Adam, with the averaged weights it keeps if `average` > 0 (their decay a step). On one device each
    variable's update is one operation of TensorFlow's with the same formula, instead of twenty-five: tracing the step,
    at every start of a job, takes a second less.
    """
    import tensorflow as tf

    plain = keras_adam()

    class Fused(plain):  # type: ignore[misc,valid-type]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            at = self._get_variable_index(variable)
            step = tf.cast(self.iterations.value + 1, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[at].value.handle,
                v=self._velocities[at].value.handle,
                beta1_power=self.beta_1**step,
                beta2_power=self.beta_2**step,
                lr=learning_rate.value,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )

        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            share = 1.0 - self.average_decay()
            for variable, kept in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                difference = kept.value - variable.value
                tf.raw_ops.ResourceApplyGradientDescent(var=kept.value.handle, alpha=share, delta=difference)

    kind = plain if where.replicas > 1 else Fused
    return kind(rate, use_ema=average > 0, ema_momentum=average or 0.99, name="adam")


class TrainingStep:
    """One optimiser step on one batch, compiled; over several devices the batch is split and the gradients summed.

    Where the GPU's memory does not hold a batch, it is computed in parts, one after the other, with the same sums.

    Args:
        where: the devices.
        network: from images to a list of logits; built in `where.scope()`.
        optimizer: Keras optimiser, built.
        objective: inputs and loss.
    """

    def __init__(self, where: Devices, network: Any, optimizer: Any, objective: Objective) -> None:
        import tensorflow as tf

        self._strategy, self._names = where.strategy, where.names
        self._network, self._optimizer = network, optimizer
        self._parts, self._size = objective.config.train.split, objective.config.train.batch_size
        self._compiled, self._compiling = False, threading.Lock()
        self._exhausted = tf.errors.ResourceExhaustedError

        def gradients(images: Any, truth: Any) -> Any:
            with tf.GradientTape() as tape:
                sums = objective.sums(truth, network(images, training=True))
            return tape.gradient(sums["loss"], network.trainable_variables), sums

        def replica(*made: Any) -> Any:
            first, *others = zip(*(tf.split(values, self._parts) for values in made), strict=True)
            slopes, sums = gradients(*first)
            for part in others:
                with tf.control_dependencies(slopes):  # only one of them is in memory
                    slopes, sums = _added(slopes, sums, *gradients(*part))
            optimizer.apply(slopes, network.trainable_variables)
            return sums

        def whole(*made: Any) -> Any:
            sums = where.strategy.run(replica, args=made)
            return {name: where.strategy.reduce("SUM", value, axis=None) for name, value in sums.items()}

        compiled = partial(tf.function, autograph=False, jit_compile=where.compile, reduce_retracing=True)
        self._inputs = compiled(objective.inputs)
        self._whole, self._part = compiled(whole), compiled(gradients)
        self._apply = tf.function(lambda slopes: optimizer.apply(slopes, network.trainable_variables))
        self._cut, self._on = tf.split, tf.device

    def ahead(self, batch: Batch) -> tuple[Any, Any]:
        """The batch as the network takes it, each device's share computed there; from any thread, while another step
        runs: a step leaves the cores of a CPU idle now and then.
        """
        if self._compiled:
            return self._shared_out(batch)
        with self._compiling:  # standard error is the whole process's: one thread at a time may hold it back
            # compiling it, oneDNN complains of float16 on CPUs that lack it, which costs nothing here
            with start_up_log():
                made = self._shared_out(batch)
            self._compiled = True
            return made

    def __call__(self, made: tuple[Any, Any], rate: float) -> dict[str, Any]:
        """`Objective.sums` of a batch that `ahead` made, before the step, as tensors: reading one waits for it."""
        self._optimizer.learning_rate.assign(rate)
        while True:
            try:
                if self._parts == 1 or len(self._names) > 1:
                    return dict(self._whole(*made))
                return self._in_parts(made)
            except self._exhausted as fault:
                self._split_further(fault)

    def sync(self) -> None:
        """Makes the Keras variables current: here they always are."""

    def reload(self) -> None:
        """Takes over Keras variables that were set from outside: nothing to do here."""

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Steps taken inside leave no trace."""
        kept = [(variables, dump(variables)) for variables in (self._network.variables, self._optimizer.variables)]
        try:
            yield
        finally:
            for variables, content in kept:
                restore(variables, content)

    def _in_parts(self, made: tuple[Any, Any]) -> dict[str, Any]:
        first, *others = zip(*(self._cut(values, self._parts) for values in made), strict=True)
        slopes, sums = self._part(*first)
        for part in others:
            slopes, sums = _added(slopes, sums, *self._part(*part))
        self._apply(slopes)
        return dict(sums)

    def _split_further(self, fault: Exception) -> None:
        """
        Raises:
            BadInput: not even one image fits, or several devices share a batch.
        """
        devices = len(self._names)
        share = self._size // devices
        further = next((n for n in range(self._parts + 1, share + 1) if share % n == 0), 0)
        if not further or devices > 1:  # several wait for one another: none can begin anew alone
            held = f"{share // self._parts} images at a time on each of {devices} GPUs" if further else "one image"
            raise BadInput(
                "train.split" if further else "train.patch",
                held,
                "less than the memory of this GPU",
                (f"--set train.split={further}, or " if further else "")
                + "ask for a larger GPU (gpus_minimum_memory; `osgdl gpus --model model.json` says how much), or lower "
                "train.batch_size, train.patch or model.width",
            ) from fault
        self._parts = further
        print(f"memory     the batch does not fit the GPU: computed in {further} parts, same sums", file=sys.stderr)

    def _shared_out(self, batch: Batch) -> tuple[Any, Any]:
        if len(self._names) == 1:
            return tuple(self._inputs(batch))
        shares, size = [], self._size // len(self._names)
        for index, name in enumerate(self._names):
            share = {key: values[index * size :][:size] for key, values in batch.items()}
            with self._on(name):
                shares.append(tuple(self._inputs(share)))
        made = self._strategy.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )
        return tuple(made)


def _added(slopes: list[Any], sums: dict[str, Any], more: list[Any], further: dict[str, Any]) -> tuple[Any, Any]:
    """The gradients and sums of two parts of a batch."""
    return [a + b for a, b in zip(slopes, more, strict=True)], {name: sums[name] + further[name] for name in sums}


def instance_normalization(x: Any, scale: Any, shift: Any, epsilon: float, rectified: bool) -> Any | None:
    """On the CPU: oneDNN's batch normalisation of each image alone, which reads bfloat16 once where the plain formula
    goes over float32 copies: the whole training step is a fifth faster. None on a GPU, where many small kernels are
    slower, and where the size of the batch is not known.
    """
    import tensorflow as tf

    shape = x.shape
    if tf.config.list_logical_devices("GPU") or shape.rank is None or not shape.is_fully_defined():
        return None
    flat = tf.reshape(x, (shape[0], math.prod(shape[1:-2]), *shape[-2:]))
    none = tf.zeros([0])
    images = [
        tf.raw_ops.FusedBatchNormV3(x=image, scale=scale, offset=shift, mean=none, variance=none, epsilon=epsilon)[0]
        for image in tf.split(flat, shape[0])
    ]
    if rectified:  # image by image, where TensorFlow makes one operation of both
        images = [tf.nn.relu(image) for image in images]
    return tf.reshape(tf.concat(images, axis=0), shape)


def forward(model: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Images (n, [z,] x, y, channel) to region probabilities, compiled once for every size."""
    import tensorflow as tf

    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32)]
    compiled = tf.function(lambda images: model(images, training=False), input_signature=signature)
    return lambda images: np.asarray(compiled(images))
