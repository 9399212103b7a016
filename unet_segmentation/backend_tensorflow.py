"""TensorFlow under Keras: devices, determinism, the compiled training step."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime import devices
from submit.runtime.exit_codes import BadInput
from unet_segmentation.backend import precision, require_divisible, start_up_log
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
        place = devices.here()
        with start_up_log() as log:
            import keras
            import tensorflow as tf

            physical = tf.config.list_physical_devices("GPU")
            for gpu in physical:
                tf.config.experimental.set_memory_growth(gpu, True)
            if place.cpus:  # the slot's share: TensorFlow would take every core of the machine
                tf.config.threading.set_intra_op_parallelism_threads(place.cpus)
                tf.config.threading.set_inter_op_parallelism_threads(place.cpus)
            logical = tf.config.list_logical_devices("GPU")
        if len(logical) < place.gpus and not place.simulated:
            print(log[0], file=sys.stderr)
        keras.utils.set_random_seed(config.seed)
        self.gpus = len(physical)
        self.deterministic = config.deterministic == "on" or (config.deterministic == "auto" and not physical)
        if self.deterministic:
            tf.config.experimental.enable_op_determinism()
        details = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in physical]
        self.precision = precision(config.precision, [major + minor / 10 for major, minor in details], cpu=True)
        keras.config.set_dtype_policy("mixed_bfloat16" if self.precision == "bfloat16" else "float32")
        self.versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
        self.compile = config.compile
        self.strategy = (
            tf.distribute.MirroredStrategy([d.name for d in logical])
            if len(logical) > 1
            else tf.distribute.get_strategy()
        )
        self.replicas = int(self.strategy.num_replicas_in_sync)
        require_divisible(config, self.replicas)

    def scope(self) -> Any:
        """Where the network and its optimiser must be built."""
        return self.strategy.scope()


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

        self._strategy, self._replicas = where.strategy, where.replicas
        self._optimizer = optimizer
        self._parts, self._size = objective.config.train.split, objective.config.train.batch_size
        self._compiled, self._compiling = False, threading.Lock()
        self._exhausted = tf.errors.ResourceExhaustedError

        def gradients(images: Any, truth: Any) -> Any:
            with tf.GradientTape() as tape:
                sums = objective.sums(truth, network(images, training=True))
            return tape.gradient(sums["loss"], network.trainable_variables), sums

        def one(images: Any, truth: Any) -> Any:
            slopes, sums = gradients(images, truth)
            optimizer.apply(slopes, network.trainable_variables)
            return sums

        def whole(*made: Any) -> Any:
            sums = where.strategy.run(one, args=made)
            return {name: where.strategy.reduce("SUM", value, axis=None) for name, value in sums.items()}

        compiled = partial(tf.function, jit_compile=where.compile, reduce_retracing=True)
        self._inputs = compiled(objective.inputs)
        self._whole, self._part = compiled(whole), compiled(gradients)
        self._apply = tf.function(lambda slopes: optimizer.apply(slopes, network.trainable_variables))
        self._cut = tf.split

    def ahead(self, batch: Batch) -> tuple[Any, Any]:
        """The batch as the network takes it, computed on the device; from any thread, while another step runs: a step
        leaves the cores of a CPU idle now and then.
        """
        if self._compiled:
            return tuple(self._inputs(batch))
        with self._compiling:  # standard error is the whole process's: one thread at a time may hold it back
            # compiling it, oneDNN complains of float16 on CPUs that lack it, which costs nothing here
            with start_up_log():
                made = tuple(self._inputs(batch))
            self._compiled = True
            return made

    def __call__(self, made: tuple[Any, Any], rate: float) -> dict[str, Any]:
        """`Objective.sums` of a batch that `ahead` made, before the step, as tensors: reading one waits for it."""
        self._optimizer.learning_rate.assign(rate)
        while True:
            try:
                if self._parts == 1 or self._replicas > 1:
                    return dict(self._whole(*self._shared_out(made)))
                return self._in_parts(made)
            except self._exhausted as fault:
                self._split_further(fault)

    def sync(self) -> None:
        """Makes the Keras variables current: here they always are."""

    def reload(self) -> None:
        """Takes over Keras variables that were set from outside: nothing to do here."""

    def _in_parts(self, made: tuple[Any, Any]) -> dict[str, Any]:
        first, *others = zip(*(self._cut(values, self._parts) for values in made), strict=True)
        slopes, sums = self._part(*first)
        for part in others:
            more, further = self._part(*part)
            slopes = [a + b for a, b in zip(slopes, more, strict=True)]
            sums = {name: sums[name] + further[name] for name in sums}
        self._apply(slopes)
        return dict(sums)

    def _split_further(self, fault: Exception) -> None:
        """
        Raises:
            BadInput: not even one image fits, or several devices share a batch.
        """
        further = next((n for n in range(self._parts + 1, self._size + 1) if self._size % n == 0), 0)
        if not further or self._replicas > 1:
            raise BadInput(
                "train.batch_size" if self._replicas > 1 else "train.patch",
                f"{self._size} images over {self._replicas} GPUs" if self._replicas > 1 else "one image",
                "less than the memory of this GPU",
                "ask for a larger GPU (gpus_minimum_memory; `osgdl gpus --model model.json` says how much), or lower "
                "train.batch_size, train.patch or model.width",
            ) from fault
        self._parts = further
        print(f"memory     the batch does not fit the GPU: computed in {further} parts, same sums", file=sys.stderr)

    def _shared_out(self, made: tuple[Any, Any]) -> Any:
        if self._replicas == 1:
            return made
        shares = list(zip(*(self._cut(values, self._replicas) for values in made), strict=True))
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )


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
