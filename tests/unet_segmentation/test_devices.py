"""Two devices train as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


DEVICES = """
import os, sys
devices, framework, folder, file = int(sys.argv[1]), *sys.argv[2:]
os.environ["KERAS_BACKEND"] = framework
if framework == "jax":
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
from pathlib import Path
import numpy as np
from unet_segmentation import backend, config
settings = config.load(
    None, ["model.width=4", "model.levels=3", "train.batch_size=4", "train.precision=float32", "train.patch=32"]
)
if framework == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
where = backend.devices(settings.train)
if framework == "tensorflow" and devices > 1:
    where.strategy, where.replicas = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)]), devices
assert where.replicas == devices
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import Batches
from unet_segmentation.prepare import Prepared, places
from unet_segmentation.session import Session
rng = np.random.default_rng(1)
classes = np.zeros((6, 40, 44), np.uint8)
classes[2:4, 10:30, 12:24] = 2
images = (rng.normal(size=(6, 40, 44, 2)) + classes[..., None]).astype(np.float16)
box = ((0, 40), (0, 44), (0, 6))
batches = Batches([Prepared("a", images, classes, box, (40, 44, 6), (1.0, 1.0, 1.0), places(classes))], settings)
membership = np.array([[0, 0], [1, 1], [1, 0]], np.float32)
def new():
    session = Session(settings, where, Objective(settings, 2, membership), 2, {}, Path(folder))
    session.done.steps = 30
    return session
session, losses = new(), []
for step in range(30):
    if step == 20:
        session.save()
        session = new()
        assert session.resume()
    session.train_on(session.ahead(batches[step]))
    losses.append(session.settle()["loss"])
weights = np.concatenate([np.ravel(w) for w in session.averaged().get_weights()])
np.savez(file, losses=losses, weights=weights)
"""


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_two_devices_train_as_one(tmp_path: Path, framework: str) -> None:
    """The same global batch on 1 and on 2 (virtual) devices, with a restart in between; only the order of sums
    differs.
    """
    pytest.importorskip(framework)
    runs = []
    for devices in (1, 2):
        file = tmp_path / f"{devices}.npz"
        command = [sys.executable, "-c", DEVICES, str(devices), framework, str(tmp_path / str(devices)), str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(file) as saved:
            runs.append((saved["losses"], saved["weights"]))
    (losses, weights), (other_losses, other_weights) = runs
    assert losses[-1] < losses[0]
    assert np.abs(losses - other_losses).max() < 2e-3
    assert np.abs(weights - other_weights).max() < 2e-2
