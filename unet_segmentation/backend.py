"""Which framework lies under Keras: TensorFlow unless KERAS_BACKEND says jax. What differs between the two stands in
`backend_tensorflow` and `backend_jax`, each with `Devices`, `TrainingStep` and `forward`; here is what does not.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from unet_segmentation.config import TrainConfig

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

BFLOAT16_CAPABILITY = 8.0  # NVIDIA Ampere; older GPUs emulate it
BACKENDS = ("tensorflow", "jax")
VIRTUAL = "OSGDL_VIRTUAL_DEVICES"  # so many devices of one CPU: to see on a laptop what several GPUs would compute
MOST_VIRTUAL = 64


def name() -> str:
    """Of the framework.

    Raises:
        BadInput: KERAS_BACKEND names one that the trainer does not know.
    """
    chosen = os.environ["KERAS_BACKEND"]
    if chosen not in BACKENDS:
        raise BadInput("KERAS_BACKEND", chosen, " or ".join(BACKENDS), f"export KERAS_BACKEND={BACKENDS[0]}")
    return chosen


def _module() -> ModuleType:
    return importlib.import_module(f"unet_segmentation.backend_{name()}")


def devices(config: TrainConfig | None = None) -> Any:
    """The devices of this process, set up once, before the first operation: an object with `gpus`, `replicas`,
    `precision`, `deterministic`, `versions` and `scope()`.

    Raises:
        BadInput: the batch does not divide over the devices.
    """
    return _module().Devices(config or TrainConfig(batch_size=0))


def adam(where: Any, rate: float, average: float) -> Any:
    """Keras's Adam, with the averaged weights it keeps if `average` > 0 (their decay a step); for `where.scope()`."""
    return _module().adam(where, rate, average)


def keras_adam() -> Any:
    """Keras's Adam, whose averaged weights begin with the first step's: after n steps the decay is n / (n + 9), until
    it is the one that was set, as of TensorFlow's ExponentialMovingAverage with num_updates. Keras's own holds 30 % of
    the first step after 120 steps at 0.99, and a short training would answer with that.
    """
    import keras

    class Adam(keras.optimizers.Adam):  # type: ignore[misc]
        def average_decay(self) -> Any:
            steps = keras.ops.cast(self.iterations, "float32")
            return keras.ops.minimum(self.ema_momentum, steps / (steps + 9.0))

        def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
            decay = self.average_decay()
            for variable, kept in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                kept.assign(decay * kept + (1.0 - decay) * variable)

    return Adam


def training_step(where: Any, network: Any, optimizer: Any, objective: Any) -> Any:
    """One optimiser step, compiled; see `backend_tensorflow.TrainingStep`."""
    return _module().TrainingStep(where, network, optimizer, objective)


def forward(model: Any) -> Any:
    """Images to region probabilities, NumPy in and out, compiled; any number and size of images."""
    return _module().forward(model)


def instance_normalization(x: Any, scale: Any, shift: Any, epsilon: float, rectified: bool) -> Any | None:
    """x (batch, ..., maps), each map of each image normalised, times `scale` plus `shift` (maps), then through a ReLU
    if `rectified`; None where this backend has no faster way on this device than the plain formula.
    """
    return _module().instance_normalization(x, scale, shift, epsilon, rectified)


def load_model(path: Path) -> Any:
    """The Keras model in a file that `train` wrote."""
    import keras

    from unet_segmentation import model  # noqa: F401 (registers our layers)

    return keras.saving.load_model(path, compile=False)


def dump(variables: list[Any]) -> bytes:
    """The values of Keras variables in order, as an .npz without pickles."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{f"{index:05d}": np.asarray(v.value) for index, v in enumerate(variables)})
    return file.getvalue()


def load(content: bytes) -> list[NDArray[Any]]:
    """What `dump` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as saved:
        return [saved[f"{index:05d}"] for index in range(len(saved.files))]


def restore(variables: list[Any], content: bytes) -> None:
    """Sets the variables from `dump`'s bytes.

    Raises:
        ValueError: number or shape does not fit; the content belongs to another network.
    """
    values = load(content)
    if len(values) != len(variables):
        raise ValueError(f"{len(values)} variables saved, {len(variables)} wanted")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


@contextmanager
def start_up_log() -> Iterator[list[str]]:
    """Takes what the frameworks' libraries write to file descriptor 2 while they load: a dozen lines about CUDA on a
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


@contextmanager
def without(module: str) -> Iterator[None]:
    """Lets an import believe that a module is not installed: Keras loads matplotlib for galleries of images, a quarter
    of the time that TensorFlow itself takes, at every restart of a job.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def precision(wanted: str, capabilities: list[float], cpu: bool) -> str:
    """bfloat16 where the hardware multiplies it: 1.4 to 1.7 times as fast there (measured with AVX-512 BF16), far
    slower where emulated.

    Args:
        wanted: `auto`, `float32` or `bfloat16`.
        capabilities: compute capability of each GPU; empty: the CPU computes.
        cpu: whether the framework makes use of a CPU's bfloat16.
    """
    if wanted != "auto":
        return wanted
    if capabilities:
        return "bfloat16" if min(capabilities) >= BFLOAT16_CAPABILITY else "float32"
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            flags = file.read(8192)
    except OSError:
        return "float32"
    return "bfloat16" if cpu and ("avx512_bf16" in flags or "amx_bf16" in flags) else "float32"


def virtual() -> int:
    """How many devices the CPU is to be cut into; 0: it is one, as always.

    Raises:
        BadInput: the variable holds no such number.
    """
    held = os.environ.get(VIRTUAL, "")
    if held and not (held.isascii() and held.isdecimal() and 1 <= int(held) <= MOST_VIRTUAL):
        raise BadInput(VIRTUAL, held, f"1 to {MOST_VIRTUAL}", f"unset {VIRTUAL}, or e.g. export {VIRTUAL}=2")
    return int(held or 0)


def announce_virtual(wanted: int, gpus: int) -> None:
    """Says that the devices are not real ones.

    Raises:
        BadInput: there is a GPU, which would stand idle.
    """
    if wanted and gpus:
        raise BadInput(VIRTUAL, str(wanted), f"nothing where there are GPUs, and here are {gpus}", f"unset {VIRTUAL}")
    if wanted:
        print(f"devices    {wanted} virtual ones of one CPU: for what they compute, not for speed", file=sys.stderr)


def require_divisible(config: TrainConfig, replicas: int) -> None:
    """Every device gets an equal part of a batch.

    Raises:
        BadInput: it does not.
    """
    parts = replicas * config.split
    if config.batch_size % parts:
        raise BadInput(
            "train.batch_size",
            str(config.batch_size),
            f"a multiple of {parts}: {replicas} devices, {config.split} parts on each (train.split)",
            f"--set train.batch_size={-(-config.batch_size // parts) * parts}",
        )
