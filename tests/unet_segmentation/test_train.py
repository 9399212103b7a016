"""Training for real on tiny phantoms: results, restarts, kills, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from submit.runtime.checkpoint import Store
from unet_segmentation import backend, cli

ROOT = Path(__file__).parents[2]
# a network and images as small as the real thing allows: seconds to train
TINY = (
    "model.width=4",
    "model.levels=2",
    "train.patch=32",
    "train.batch_size=4",
    "train.steps=12",
    "checkpoint.every_steps=5",
)


def words(data: Path, out: Path, *changes: str) -> list[str]:
    settings = [word for change in (*TINY, *changes) for word in ("--set", change)]
    return ["train", "--data", str(data), "--out", str(out), *settings]


def result(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def until_done(data: Path, out: Path, *changes: str) -> int:
    """Runs the command again as long as it leaves with 85, as HTCondor does; returns the number of restarts."""
    for restarts in range(50):
        code = cli.main(words(data, out, *changes))
        if code != 85:
            assert code == 0
            return restarts
    raise AssertionError("it never ends")


@pytest.fixture(scope="module")
def trained(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    assert cli.main(words(phantoms, out)) == 0
    return out


# Results


def test_everything_is_there(trained: Path, phantoms: Path) -> None:
    metrics = result(trained)
    assert metrics["steps"] == 12
    assert set(metrics["dice"]) == {"Phantom_00003"}
    assert set(metrics["dice"]["Phantom_00003"]) == {"whole", "core", "enhancing"}
    assert metrics["mean_dice"] == metrics["dice"]["Phantom_00003"]
    assert metrics["pictures"] == ["overlays/Phantom_00003.png"]
    assert (trained / metrics["pictures"][0]).read_bytes().startswith(b"\x89PNG")
    origin = metrics["provenance"]
    assert origin["device"] == "cpu" and origin["seed"] == 1
    assert set(origin["versions"]) >= {"python", "tensorflow", "keras", "numpy"}
    assert json.loads((trained / "dataset.json").read_text())["sha256"] == origin["dataset_sha256"]
    model = json.loads((trained / "model.json").read_text())
    assert model["modalities"] == ["flair", "t1", "t1c", "t2"] and model["convention"] == "brats2017-2021"
    assert model["parameters"] > 0 and model["activations"] > 0
    source = nibabel.load(phantoms / "validation" / "Phantom_00003" / "Phantom_00003_flair.nii.gz")
    written = nibabel.load(trained / "predictions" / "Phantom_00003.nii.gz")
    assert (written.affine == source.affine).all() and written.shape == source.shape
    assert set(np.unique(np.asarray(written.dataobj))) <= {0, 1, 2, 4}


def test_predict_and_evaluate_agree_with_training(trained: Path, phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    data, out = str(phantoms / "validation"), tmp_path / "predictions"
    assert cli.main(["predict", "--model", str(trained / "model.keras"), "--data", data, "--out", str(out)]) == 0
    name = "Phantom_00003.nii.gz"
    assert (out / name).read_bytes() == (trained / "predictions" / name).read_bytes()
    assert cli.main(["evaluate", "--predictions", str(out), "--data", data, "--out", str(tmp_path / "scores")]) == 0
    assert result(tmp_path / "scores")["dice"] == result(trained)["dice"]
    assert "Phantom_00003" in capsys.readouterr().out


def test_the_finished_run_again_changes_nothing(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    assert cli.main(words(phantoms, out)) == 0
    assert result(out)["weights_sha256"] == result(trained)["weights_sha256"]


def test_a_loss_that_falls(phantoms: Path, tmp_path: Path) -> None:
    assert cli.main(words(phantoms, tmp_path, "train.steps=60", "train.learning_rate=0.01")) == 0
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert rows[0] == "step,loss" and [row.split(",")[0] for row in rows[1:]] == ["20", "40", "60"]
    losses = [float(row.split(",")[1]) for row in rows[1:]]
    assert losses[2] < losses[0] * 0.8


# Restarts


@pytest.mark.parametrize(("every", "precision"), [(1, "float32"), (5, "bfloat16")])
def test_a_run_that_left_and_came_back_is_the_run(phantoms: Path, tmp_path: Path, precision: str, every: int) -> None:
    steps = ("train.steps=6" if every == 1 else "train.steps=12", f"train.precision={precision}")
    assert until_done(phantoms, tmp_path / "whole", *steps) == 0
    assert until_done(phantoms, tmp_path / "parts", *steps, f"checkpoint.leave_every_steps={every}") == (
        5 if every == 1 else 2
    )
    whole, parts = result(tmp_path / "whole"), result(tmp_path / "parts")
    assert whole["weights_sha256"] == parts["weights_sha256"]
    assert whole["dice"] == parts["dice"]
    for name in ("history.csv", "predictions/Phantom_00003.nii.gz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_machine_without_bfloat16_goes_on_and_says_so(
    phantoms: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """`auto` finds what the hardware has; the second machine here is one that has less."""
    monkeypatch.setattr(backend, "_precision", lambda wanted, tf, gpus: "bfloat16")
    assert cli.main(words(phantoms, tmp_path, "checkpoint.leave_every_steps=4")) == 85
    monkeypatch.setattr(backend, "_precision", lambda wanted, tf, gpus: "float32")
    assert cli.main(words(phantoms, tmp_path)) == 0
    assert "precision  was bfloat16, is float32 on this machine" in capsys.readouterr().err
    assert result(tmp_path)["provenance"]["precision"] == "float32"


def test_another_seed_is_another_run(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    assert cli.main(words(phantoms, tmp_path, "train.seed=2")) == 0
    assert result(tmp_path)["weights_sha256"] != result(trained)["weights_sha256"]


def test_a_torn_checkpoint_costs_steps_not_the_run(trained: Path, phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    for _ in range(2):
        assert cli.main(words(phantoms, tmp_path, "checkpoint.leave_every_steps=4")) == 85
    newest = max((tmp_path / "checkpoint").iterdir()) / "optimizer.npz"
    newest.write_bytes(newest.read_bytes()[:100])
    assert cli.main(words(phantoms, tmp_path)) == 0
    out, err = capsys.readouterr()
    assert "is damaged" in err and "resumed    at step 4 of 12" in out
    assert result(tmp_path)["weights_sha256"] == result(trained)["weights_sha256"]


def test_leaving_after_minutes(phantoms: Path, tmp_path: Path) -> None:
    """Each restart makes at least one step, however late it is."""
    assert until_done(phantoms, tmp_path, "train.steps=2", "checkpoint.leave_every_minutes=0.00001") == 1


def launch(data: Path, out: Path, *changes: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "unet_segmentation", *words(data, out, *changes)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str], number: int) -> None:
    for _ in range(1200):
        if (folder / f"{number:08d}").exists() or process.poll() is not None:
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint in a minute")


LONG = ("train.steps=150", "checkpoint.every_steps=10")


@pytest.fixture(scope="module")
def undisturbed(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of a run of `LONG` that nobody stops."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert cli.main(words(phantoms, out, *LONG)) == 0
    return str(result(out)["weights_sha256"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_the_middle(phantoms: Path, tmp_path: Path, number: signal.Signals, undisturbed: str) -> None:
    process = launch(phantoms, tmp_path, *LONG)
    wait_for_checkpoint(tmp_path / "checkpoint", process, 2)
    process.send_signal(number)
    error = process.communicate()[1]
    if number == signal.SIGTERM:
        assert process.returncode == 85, error
        assert "of 150 saved (exit code 85: run the same command again to go on)" in error
    else:
        assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "metrics.json").exists()
    assert cli.main(words(phantoms, tmp_path, *LONG)) == 0
    assert result(tmp_path)["weights_sha256"] == undisturbed


@pytest.mark.slow
def test_killed_at_many_moments(phantoms: Path, tmp_path: Path, undisturbed: str) -> None:
    """SIGKILL at random moments, in the loop and in the middle of saving, until the run is through."""
    changes = (*LONG, "checkpoint.every_steps=1")
    rng = np.random.default_rng(1)
    for _ in range(8):
        process = launch(phantoms, tmp_path, *changes)
        generations = [int(path.name) for path in (tmp_path / "checkpoint").glob("0*")]
        wait_for_checkpoint(tmp_path / "checkpoint", process, max(generations, default=0) + 1)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
    assert cli.main(words(phantoms, tmp_path, *changes)) == 0
    assert result(tmp_path)["weights_sha256"] == undisturbed


# Refusals


@pytest.mark.parametrize(
    ("change", "what"), [("train.learning_rate=0.01", "configuration"), ("train.precision=float32", "configuration")]
)
def test_a_checkpoint_of_another_run_is_refused(
    trained: Path, phantoms: Path, tmp_path: Path, change: str, what: str, capsys: Any
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    assert cli.main(words(phantoms, out, change)) == 65
    assert f"checkpoint: a checkpoint whose {what} is " in capsys.readouterr().err


def test_a_checkpoint_of_other_data_is_refused(trained: Path, data: Path, tmp_path: Path, capsys: Any) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    shutil.rmtree(data / "train" / "Phantom_00002")
    assert cli.main(words(data, out)) == 65
    assert "checkpoint: a checkpoint whose data is " in capsys.readouterr().err


def test_a_loss_that_is_no_number_names_the_patients(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(words(phantoms, tmp_path, "checkpoint.leave_every_steps=4")) == 85
    store = Store(tmp_path / "checkpoint")
    snapshot = store.load()
    assert snapshot is not None
    with np.load(io.BytesIO(snapshot.blobs["weights.npz"])) as saved:
        weights = {name: np.full_like(saved[name], np.inf) for name in saved.files}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **weights)
    store.save(snapshot.state, {**snapshot.blobs, "weights.npz": file.getvalue()})
    before = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert cli.main(words(phantoms, tmp_path)) == 1
    error = capsys.readouterr().err
    assert (
        "loss: nan at step 5, in a batch of Phantom_00001, Phantom_00002; a number; lower train.learning_rate" in error
    )
    assert "Traceback" not in error
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == before


SLOT = 'Machine = "gpu07.unl.example"\nGPUs_DeviceName = "NVIDIA H100 80GB HBM3"\n'


def test_a_gpu_that_cannot_be_used_fails_at_once(phantoms: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "machine").write_text(SLOT)
    monkeypatch.setenv("_CONDOR_MACHINE_AD", str(tmp_path / "machine"))
    monkeypatch.setenv("_CONDOR_AssignedGPUs", "GPU-aaaa0")
    assert cli.main(words(phantoms, tmp_path / "out")) == 75
    assert "GPU: 0 visible, 1 assigned (NVIDIA H100 80GB HBM3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_simulated_gpu_is_said_and_recorded(phantoms: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "machine").write_text(SLOT + "OsgdlSimulatedGPU = True\n")
    monkeypatch.setenv("_CONDOR_MACHINE_AD", str(tmp_path / "machine"))
    monkeypatch.setenv("_CONDOR_AssignedGPUs", "GPU-aaaa0")
    assert cli.main(words(phantoms, tmp_path / "out", "train.steps=1")) == 0
    origin = result(tmp_path / "out")["provenance"]
    assert origin["device"] == "cpu (simulated GPU: NVIDIA H100 80GB HBM3)"
    assert (origin["machine"], origin["gpu"]) == ("gpu07.unl.example", "NVIDIA H100 80GB HBM3")
    assert "computing on the CPU of the local pool" in capsys.readouterr().err


# Two devices


MIRRORED = """
import sys, types
from pathlib import Path
import numpy as np
import tensorflow as tf
devices = int(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
import keras
from unet_segmentation import config
from unet_segmentation.labels import conventions
from unet_segmentation.session import Session
keras.utils.set_random_seed(1)
names = [f"CPU:{i}" for i in range(devices)]
strategy = tf.distribute.MirroredStrategy(names) if devices > 1 else tf.distribute.get_strategy()
where = types.SimpleNamespace(strategy=strategy, replicas=devices, precision="float32")
settings = config.load(None, ["model.width=4", "model.levels=3", "train.batch_size=4"])
def new():
    return Session(settings, where, 2, conventions()["brats2017-2021"], 30, {}, Path(sys.argv[2]))
rng, losses, session = np.random.default_rng(1), [], new()
for step in range(30):
    if step == 20:
        session.save()
        session = new()
        assert session.resume()
    images, classes = rng.normal(size=(4, 32, 32, 2)), rng.integers(0, 4, (4, 32, 32))
    losses.append(session.train_on(images.astype(np.float32), classes.astype(np.int32)))
weights = np.concatenate([np.ravel(w) for w in session.finish().get_weights()])
np.savez(sys.argv[3], losses=losses, weights=weights)
"""


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path: Path) -> None:
    """The same global batch on 1 and on 2 (virtual) devices, with a restart in between; only the order of sums
    differs.
    """
    runs = []
    for devices in (1, 2):
        file = tmp_path / f"{devices}.npz"
        command = [sys.executable, "-c", MIRRORED, str(devices), str(tmp_path / str(devices)), str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(file) as saved:
            runs.append((saved["losses"], saved["weights"]))
    (losses, weights), (other_losses, other_weights) = runs
    assert np.abs(losses - other_losses).max() < 2e-3
    assert np.abs(weights - other_weights).max() < 2e-2


# Real patients


@pytest.mark.slow
def test_real_patients(brats2015: Path, tmp_path: Path) -> None:
    """A few steps on the sample: its own layout, labels and masks from end to end; the quality is measured elsewhere,
    it takes minutes.
    """
    settings = ["train.steps=30", "model.width=8", "model.levels=3", "train.patch=64", "train.batch_size=4"]
    arguments = [word for change in settings for word in ("--set", change)]
    assert cli.main(["train", "--data", str(brats2015), "--out", str(tmp_path), *arguments]) == 0
    metrics = result(tmp_path)
    assert sorted(metrics["dice"]) == ["brats_2013_pat0003_1", "brats_2013_pat0004_1"]
    model = json.loads((tmp_path / "model.json").read_text())
    assert model["modalities"] == ["flair", "t1c"] and model["convention"] == "brats2013-2015"
    digest = hashlib.sha256((tmp_path / "predictions" / "brats_2013_pat0003_1.nii.gz").read_bytes())
    assert digest.hexdigest()
