"""N devices train as one: the same losses and weights at the same global batch, whatever the framework."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submit.runtime.exit_codes import BadInput
from tests.unet_segmentation import training
from unet_segmentation import backend, scaling

ROOT = Path(__file__).parents[2]
STEPS = 40

# By framework the runs of each process, a run being DEVICES[:split][:measured][:restarted]. JAX takes all in one,
# which saves imports; TensorFlow's collectives know one number of devices a process
RUNS = {
    "jax": [["1", "2", "4", "2:restarted"]],
    "tensorflow": [["1", "4"], ["2", "2:measured:restarted"]],
}
SOAK = {
    "jax": [["1", "2", "4", "8", "2:split", "2:measured:restarted"]],
    "tensorflow": [["1", "8"], ["4", "4:split"], ["2", "2:split", "2:measured:restarted"]],
}

TRAININGS = f"""
import json, sys
from pathlib import Path
import keras
import numpy as np
from unet_segmentation import backend, config, scaling
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import Batches
from unet_segmentation.prepare import Prepared, places
from unet_segmentation.session import Session

folder, *runs = sys.argv[1:]
words = ["model.width=4", "model.levels=2", "train.batch_size=16", "train.patch=48", "train.precision=float32"]
plain = config.load(None, [*words, "train.compile=true"])
where = backend.devices(plain.train)
assert where.replicas == 8
rng = np.random.default_rng(1)
classes = np.zeros((6, 56, 60), np.uint8)
classes[2:4, 10:40, 12:34] = 2
images = (rng.normal(size=(6, 56, 60, 2)) + classes[..., None]).astype(np.float16)
box = ((0, 56), (0, 60), (0, 6))
patients = [Prepared("a", images, classes, box, (56, 60, 6), (1.0, 1.0, 1.0), places(classes))]
batches = [Batches(patients, plain)[step] for step in range({STEPS})]
membership = np.array([[0, 0], [1, 1], [1, 0]], np.float32)
for run in runs:
    count, *how = run.split(":")
    settings = config.load(None, [*words, f"train.split={{2 if 'split' in how else 1}}"])
    objective, some = Objective(settings, 2, membership), where.first(int(count))

    def new():
        keras.utils.set_random_seed(1)
        session = Session(settings, some, objective, 2, {{}}, Path(folder, run))
        session.done.steps = {STEPS}
        return session

    session, losses = new(), []
    assert session.network().batch * some.replicas == settings.train.batch_size
    if "measured" in how:
        Path(folder, "measured.json").write_text(json.dumps(scaling.measure(session, some, objective, 2, patients)))
    for step, batch in enumerate(batches):
        if "restarted" in how and step == {STEPS} // 2:
            session.save()
            session = new()
            assert session.resume()
        session.train_on(session.ahead(batch))
        losses.append(session.settle()["loss"])
    weights = np.concatenate([np.ravel(values) for values in session.averaged().get_weights()])
    np.savez(Path(folder, f"{{run}}.npz"), losses=losses, weights=weights)
"""


def trainings(folder: Path, framework: str, *runs: str) -> tuple[dict[str, tuple[Any, Any]], str]:
    """Losses and final weights of each run, and what was said on standard error."""
    environment = {**os.environ, "KERAS_BACKEND": framework, backend.VIRTUAL: "8"}
    command = [sys.executable, "-c", TRAININGS, str(folder), *runs]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    for run in runs:
        with np.load(folder / f"{run}.npz") as saved:
            found[run] = saved["losses"], saved["weights"]
    return found, done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("scaling")
@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_several_devices_train_as_one(tmp_path: Path, framework: str, request: pytest.FixtureRequest) -> None:
    """Only the order in which float32 numbers are summed differs; a Dice of each device's own would be off by tenths.

    A run that is measured first and restarted in the middle gives the same bytes. With --soak on all counts, and with
    shares computed in parts.
    """
    pytest.importorskip(framework)
    processes = (SOAK if request.config.getoption("--soak") else RUNS)[framework]
    found: dict[str, tuple[Any, Any]] = {}
    for runs in processes:
        more, said = trainings(tmp_path, framework, *runs)
        assert "devices    8 virtual ones of one CPU" in said
        assert ("compile    off: XLA and several devices" in said) == (framework == "tensorflow")
        found |= more
    losses, weights = found["1"]
    assert losses[-5:].mean() < losses[:5].mean() - 0.1
    for run, (others, moved) in found.items():
        apart, drift = np.abs(losses - others), np.abs(weights - moved).max()
        print(f"{framework} {run}: first {apart[0]:.1e}, all {apart.max():.1e}, weights {drift:.1e}")
        assert apart[0] < 1e-6
        assert apart.max() < 1e-5
        assert drift < 1e-3
    for run in found.keys() & {"2:restarted", "2:measured:restarted"}:
        for one, other in zip(found["2"], found[run], strict=True):
            assert (one == other).all()
    if (tmp_path / "measured.json").exists():
        held = json.loads((tmp_path / "measured.json").read_text())
        assert (held["devices"], held["batch_each"], held["virtual"]) == (2, 8, True)
        assert held["efficiency"] == pytest.approx(held["images_per_s_all"] / held["images_per_s_one"] / 2, abs=0.01)


def found(efficiency: float, virtual: bool = False) -> dict[str, Any]:
    one = {"devices": 4, "batch_each": 8, "images_per_s_one": 100.0, "images_per_s_all": 400.0 * efficiency}
    return {**one, "efficiency": efficiency, "virtual": virtual, "seconds": 9.0}


def test_fewer_gpus_are_advised_where_many_bring_little() -> None:
    assert scaling.said(found(0.95)) == [
        "380 images/s on 4 devices, 100 on one alone: 95% of 4 times as fast (measured in 9 s)"
    ]
    (_, advice) = scaling.said(found(0.5))
    assert advice.startswith("4 GPUs do the work of 2.0: fewer would finish more in a GPU hour, jobs of one 2.0 times")
    assert scaling.said(found(0.5, virtual=True))[1:] == ["virtual devices share one CPU: this says nothing of GPUs"]


@pytest.mark.parametrize("held", ["0", "two", "-1", "65", "1.5"])
def test_no_number_of_virtual_devices(held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.VIRTUAL, held)
    with pytest.raises(BadInput, match=f"OSGDL_VIRTUAL_DEVICES: {held}; 1 to 64; unset"):
        backend.virtual()


def test_virtual_devices_are_for_machines_without_a_gpu() -> None:
    with pytest.raises(BadInput, match="OSGDL_VIRTUAL_DEVICES: 2; nothing where there are GPUs, and here are 1; unset"):
        backend.announce_virtual(2, 1)


def test_a_batch_that_does_not_divide(tmp_path: Path) -> None:
    """As the command line says it."""
    pytest.importorskip("tensorflow")
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--set", "train.batch_size=9"]
    done = subprocess.run(
        [sys.executable, "-m", "unet_segmentation", "train", *words],
        cwd=ROOT, env={**os.environ, backend.VIRTUAL: "2"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 65
    assert "train.batch_size: 9; a multiple of 2: 2 devices, 1 parts on each (train.split)" in done.stderr
    assert "--set train.batch_size=10" in done.stderr


@pytest.mark.slow
def test_a_training_on_several_devices_says_what_they_bring(phantoms: Path, tmp_path: Path) -> None:
    """Once: a job that goes on keeps what was measured."""
    command = [sys.executable, "-m", "unet_segmentation", *training.words(phantoms, tmp_path)]
    environment = {**os.environ, backend.VIRTUAL: "2"}
    for more, code, said in [(["--set", "checkpoint.leave_every_steps=6"], 85, 1), ([], 0, 0)]:
        done = subprocess.run([*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert done.stdout.count("images/s on 2 devices") == said
    held = training.result(tmp_path)["scaling"]
    assert held["devices"] == 2 and held["batch_each"] == 2 and held["virtual"]
