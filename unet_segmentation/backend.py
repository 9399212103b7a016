"""The only module that knows which framework lies under Keras: devices, determinism, the compiled step. TensorFlow
for now.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime import devices
from submit.runtime.exit_codes import BadInput
from unet_segmentation.config import TrainConfig

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

BFLOAT16_CAPABILITY = 8  # NVIDIA Ampere; older GPUs emulate it


class Devices:
    """The devices of this process, set up once, before the first operation.

    Attributes:
        gpus: number of GPUs TensorFlow sees.
        precision: `float32` or `bfloat16`.
        versions: of the framework, for the provenance.
    """

    def __init__(self, config: TrainConfig) -> None:
        place = devices.here()
        with _start_up_log() as log:
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
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.gpus = len(physical)
        self.precision = _precision(config.precision, tf, physical)
        keras.config.set_dtype_policy("mixed_bfloat16" if self.precision == "bfloat16" else "float32")
        self.versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
        logical = tf.config.list_logical_devices("GPU")
        self.strategy = (
            tf.distribute.MirroredStrategy([d.name for d in logical])
            if len(logical) > 1
            else tf.distribute.get_strategy()
        )
        self.replicas = int(self.strategy.num_replicas_in_sync)
        if config.batch_size % self.replicas:
            raise BadInput(
                "train.batch_size",
                str(config.batch_size),
                f"a multiple of the {self.replicas} GPUs",
                f"--set train.batch_size={-(-config.batch_size // self.replicas) * self.replicas}",
            )


class TrainingStep:
    """One optimiser step on one batch, compiled; over several devices the batch is split and the gradients summed.

    Args:
        where: the devices.
        network: from images to logits; built in the scope of `where.strategy`.
        optimizer: Keras optimiser, built.
        loss: (classes, logits) to the loss of each image, (batch,).
        batch_size: images a step over all devices.
    """

    def __init__(
        self, where: Devices, network: Any, optimizer: Any, loss: Callable[[Any, Any], Any], batch_size: int
    ) -> None:
        import tensorflow as tf

        self._strategy = where.strategy
        self._replicas = where.replicas

        def one(images: Any, classes: Any) -> Any:
            with tf.GradientTape() as tape:
                # divided by the whole batch, not by this device's part: the sum over devices is then the mean over
                # the batch
                value = tf.reduce_sum(loss(classes, network(images, training=True))) / batch_size
            variables = network.trainable_variables
            optimizer.apply(tape.gradient(value, variables), variables)
            return value

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(images: Any, classes: Any) -> Any:
            return where.strategy.reduce("SUM", where.strategy.run(one, args=(images, classes)), axis=None)

        self._step = step

    def __call__(self, images: NDArray[np.float32], classes: NDArray[np.int32]) -> float:
        """The batch's loss before the step. images (batch, x, y, channel), classes (batch, x, y)."""
        return float(self._step(self._split(images), self._split(classes)))

    def _split(self, values: NDArray[Any]) -> Any:
        if self._replicas == 1:
            return values
        parts = np.split(values, self._replicas)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )


@contextmanager
def _start_up_log() -> Iterator[list[str]]:
    """Takes what TensorFlow's libraries write to file descriptor 2 while they load: a dozen lines about CUDA on a
    machine without a GPU, which hide the one line that matters, and the only clue where a GPU is missing. Shown if
    loading fails."""
    log: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    failed = True
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield log
            failed = False
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            log.append(file.read().decode(errors="replace"))
            if failed:
                print(log[0], file=sys.stderr)


def forward(model: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Images (batch, x, y, channel) to class probabilities, compiled once for every size."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, None, None, model.inputs[0].shape[-1]], tf.float32)]
    compiled = tf.function(lambda images: model(images, training=False), input_signature=signature)
    return lambda images: np.asarray(compiled(images))


def dump(variables: list[Any]) -> bytes:
    """The values of Keras variables in order, as an .npz without pickles."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{f"{index:05d}": np.asarray(v.value) for index, v in enumerate(variables)})
    return file.getvalue()


def restore(variables: list[Any], content: bytes) -> None:
    """Sets the variables from `dump`'s bytes.

    Raises:
        ValueError: number or shape does not fit; the content belongs to another network.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as saved:
        if len(saved.files) != len(variables):
            raise ValueError(f"{len(saved.files)} variables saved, {len(variables)} wanted")
        for index, variable in enumerate(variables):
            variable.assign(saved[f"{index:05d}"])


def _precision(wanted: str, tf: Any, gpus: list[Any]) -> str:
    """bfloat16 where the hardware multiplies it: 1.4 to 1.7 times as fast there (measured with AVX-512 BF16), far
    slower where emulated.
    """
    if wanted != "auto":
        return wanted
    if gpus:
        capabilities = [
            tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus
        ]
        return "bfloat16" if min(capabilities)[0] >= BFLOAT16_CAPABILITY else "float32"
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            flags = file.read(8192)
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
