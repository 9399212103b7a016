"""The rendered training-job in each framework: left and come back it is the undisturbed run, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.templates.conftest import render

pytestmark = pytest.mark.slow
FRAMEWORKS = {"keras": "tensorflow", "pytorch": "torch", "jax": "jax"}


@pytest.fixture(params=FRAMEWORKS)
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project with made-up data."""
    pytest.importorskip(FRAMEWORKS[request.param], reason="its framework is an extra: pip install '.[train,bench]'")
    folder = render(tmp_path, "training-job", framework=request.param)
    code, said = ended(started(folder, "job/stripes.py", "data"))
    assert code == 0, said
    return folder


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": "job", "KERAS_BACKEND": "tensorflow"}
    return subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def trained(folder: Path, out: str, *words: str) -> tuple[int, str]:
    """Of a training of 3 epochs of 20 steps."""
    return ended(started(folder, "train.py", "--epochs", "3", "--out", out, *words))


def weights(folder: Path, out: str) -> str:
    return str(json.loads((folder / out / "metrics.json").read_text())["weights_sha256"])


def test_left_and_come_back_it_is_the_same_training(job: Path) -> None:
    code, said = trained(job, "whole")
    assert code == 0, said
    (job / "checkpoint").rename(job / "checkpoint-whole")
    # 23 is no multiple of an epoch's steps
    for leaves in ("step 23 of 60 saved", "step 46 of 60 saved"):
        code, said = trained(job, "parts", "--leave-steps", "23")
        assert code == 85 and leaves in said, said
        assert not (job / "parts").exists()
    code, said = trained(job, "parts", "--leave-steps", "23")
    assert code == 0, said
    assert weights(job, "parts") == weights(job, "whole")


def test_sigterm_saves_and_a_checkpoint_of_other_settings_is_refused(job: Path) -> None:
    # far more epochs than there is time for
    process = started(job, "train.py", "--epochs", "9999", "--save-minutes", "0.0001")
    while not (job / "checkpoint").is_dir() or not list((job / "checkpoint").iterdir()):
        assert process.poll() is None, ended(process)[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert code == 85 and "of 199980 saved" in said, said
    code, said = trained(job, "out", "--seed", "2")
    assert code == 65 and "checkpoint: a checkpoint with another epochs, seed; one of this run; " in said, said


def test_what_trained_stands_beside_the_results(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same words in each framework: on a slot of the local pool the CPU, and the GPU that it stands for."""
    ad = tmp_path / ".machine.ad"
    ad.write_text('OsgdlSimulatedGPU = True\nGPUs_DeviceName = "Tesla V100-SXM2-16GB"\n')
    monkeypatch.setenv("_CONDOR_MACHINE_AD", str(ad))
    monkeypatch.setenv("_CONDOR_AssignedGPUs", "GPU-aaaa0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa0")
    code, said = trained(job, "out")
    assert code == 0, said
    assert said.count("simulated GPU (Tesla V100-SXM2-16GB): computing on the CPU") == 1
    made_from = json.loads((job / "out/metrics.json").read_text())["made_from"]
    assert made_from["device"] == "cpu (simulated GPU: Tesla V100-SXM2-16GB)"


KINDS = """
import numpy as np, osgdl_arrays
from submit.runtime.exit_codes import BadInput

blob = osgdl_arrays.pack({"count": np.arange(3, dtype=np.float32)})
assert osgdl_arrays.restored(blob, [("count", np.float32, (3,))])[0].tolist() == [0, 1, 2]
for wanted in (("count", np.int32, (3,)), ("count", np.float32, (4,)), ("other", np.float32, (3,))):
    try:
        osgdl_arrays.restored(blob, [wanted])
    except BadInput as fault:
        assert "arrays that do not fit the model, such as " in str(fault), fault
    else:
        raise AssertionError(wanted)
"""


@pytest.mark.parametrize("job", ["jax"], indirect=True)
def test_arrays_of_another_model_are_refused(job: Path) -> None:
    """Four bytes of a float are no integer."""
    code, said = ended(started(job, "-c", KINDS))
    assert code == 0, said


WRONG = """
import keras, osgdl_keras
from submit.runtime.exit_codes import BadInput

def said(layers, *, per=1, **counted):
    model = keras.Sequential(layers)
    model.compile("sgd", "mse", steps_per_execution=per)
    try:
        osgdl_keras.Checkpoints(model, **counted)
    except BadInput as fault:
        return str(fault)

dense, shape = keras.layers.Dense, keras.Input((1,))
both = said([shape, dense(1)], steps=1, epochs=1)
assert both == "Checkpoints: steps=1, epochs=1; one of the two; leave the other out"
assert said([shape, dense(1)]).startswith("Checkpoints: steps=0, epochs=0; one of the two;")
assert said([dense(1)], steps=1) == "model: not built; its weights; give it a keras.Input, or call it once"
assert said([shape, dense(1)], steps=1, per=2) == "steps_per_execution: 2; 1: steps are counted; leave it out"
"""


@pytest.mark.parametrize("job", ["keras"], indirect=True)
def test_what_the_callback_cannot_count_is_refused(job: Path) -> None:
    code, said = ended(started(job, "-c", WRONG))
    assert code == 0, said
