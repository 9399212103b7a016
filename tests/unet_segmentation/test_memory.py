"""The estimate of GPU memory against what training steps take, on the CPU: memory for each further image of a batch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from submit import gpu_memory
from submit.runtime.network import Network

pytestmark = pytest.mark.slow

STEP = """
import sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
from unet_segmentation.config import ModelConfig
from unet_segmentation.losses import region_loss
from unet_segmentation.model import build_unet, in_training, size
batch, patch = map(int, sys.argv[1:])
config = ModelConfig(width=16)
model = build_unet(2, 3, config)
network, optimizer = in_training(model, 3, config), keras.optimizers.Adam()
optimizer.build(network.trainable_variables)
@tf.function
def step(images, truth):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(region_loss(truth, network(images, training=True), "dice+cross-entropy")["loss"])
    optimizer.apply(tape.gradient(loss, network.trainable_variables))
for _ in range(3):
    step(np.zeros((batch, patch, patch, 2), "float32"), np.zeros((batch, patch, patch, 3), "float32"))
counts = size(model, (patch, patch))
# of this program alone: ru_maxrss begins with what the process that started it had, the worker of a long test run
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(int(line.split()[1]) / 1024, *counts.values())
"""


def peak(batch: int) -> tuple[float, Network]:
    """MiB of the whole process at its peak, and the network's counts."""
    done = subprocess.run([sys.executable, "-c", STEP, str(batch), "128"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    words = done.stdout.split()
    parameters, activations, inputs = map(int, words[1:])
    return float(words[0]), Network("unet", parameters, activations, inputs, 2, batch, "float32")


def test_a_further_image_takes_what_the_estimate_says() -> None:
    """Never less than measured, and not more than twice, by what runs beside: cuDNN's workspaces are not there on a
    CPU.
    """
    small, network = peak(8)
    large, _ = peak(24)
    measured = (large - small) / 16
    estimated = (gpu_memory.estimate(network, 24).activations - gpu_memory.estimate(network, 8).activations) / 16
    print(f"{measured:.1f} MiB measured, {estimated:.1f} estimated for an image")
    assert measured < estimated < 2 * measured
