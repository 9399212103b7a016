"""Training for real on tiny phantoms: results, restarts, kills, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest

from submit.runtime.checkpoint import Store
from unet_segmentation import backend, backend_tensorflow, cli
from unet_segmentation.objective import Objective

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
    assert metrics["mean_dice"] == pytest.approx(metrics["dice"]["Phantom_00003"], abs=1e-5)
    assert metrics["pictures"] == ["overlays/Phantom_00003.png"]
    assert (trained / metrics["pictures"][0]).read_bytes().startswith(b"\x89PNG")
    origin = metrics["provenance"]
    assert origin["device"] == "cpu" and origin["seed"] == 1
    assert set(origin["versions"]) >= {"python", backend.name(), "keras", "numpy"}
    assert json.loads((trained / "dataset.json").read_text())["sha256"] == origin["dataset_sha256"]
    model = json.loads((trained / "model.json").read_text())
    assert model["modalities"] == ["flair", "t1", "t1c", "t2"] and model["convention"]["name"] == "brats2017-2021"
    assert model["regions"] == ["whole", "core", "enhancing"] and model["channels"] == 4
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
    assert rows[0] == "step,loss,dice,rate,found" and [row.split(",")[0] for row in rows[1:]] == ["20", "40", "60"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.stat().st_size for path in (tmp_path / "tensorboard").iterdir()] > [1000]
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
    monkeypatch.setattr(backend_tensorflow, "precision", lambda *arguments, **keywords: "bfloat16")
    assert cli.main(words(phantoms, tmp_path, "checkpoint.leave_every_steps=4")) == 85
    monkeypatch.setattr(backend_tensorflow, "precision", lambda *arguments, **keywords: "float32")
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


def test_saving_by_the_clock(phantoms: Path, tmp_path: Path) -> None:
    """Whatever a step takes: the store's numbers tell how often it saved."""
    assert cli.main(words(phantoms, tmp_path, "checkpoint.every_steps=0", "checkpoint.every_minutes=0.00001")) == 0
    assert max(int(path.name) for path in (tmp_path / "checkpoint").iterdir()) == 12
    assert len(list((tmp_path / "checkpoint").iterdir())) == 2


def test_as_many_steps_as_fit_into_the_minutes(phantoms: Path, tmp_path: Path) -> None:
    """The number follows from the speed of the first steps, is in the checkpoint from then on, and holds after a
    restart.
    """
    changes = ("train.steps=0", "train.minutes=0.05")
    assert cli.main(words(phantoms, tmp_path, *changes, "checkpoint.leave_every_steps=40")) in (0, 85)
    snapshot = Store(tmp_path / "checkpoint").load()
    assert snapshot is not None
    steps = snapshot.state["progress"]["steps"]
    assert steps > 30
    assert until_done(phantoms, tmp_path, *changes, "checkpoint.leave_every_steps=100000") == 0
    assert result(tmp_path)["steps"] == steps
    assert result(tmp_path)["training_s"] < 12


def test_held_out_patients_are_scored_on_the_way(phantoms: Path, tmp_path: Path) -> None:
    """Looking does not change the training, and the best is kept, also over a restart."""
    changes = ("train.steps=40", "train.learning_rate=0.01")
    plain, looked, parted = tmp_path / "plain", tmp_path / "looked", tmp_path / "parted"
    assert cli.main(words(phantoms, plain, *changes, "train.validate_epochs=0")) == 0
    assert cli.main(words(phantoms, looked, *changes, "train.validate_epochs=1")) == 0
    assert result(looked)["weights_sha256"] == result(plain)["weights_sha256"]
    assert not (plain / "best.keras").exists() and not result(plain)["best_validation"]
    assert (looked / "live.png").read_bytes().startswith(b"\x89PNG")
    with (looked / "history.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["validation_whole"]]
    assert [row["step"] for row in rows] == ["14", "28"]  # 54 slices, 4 a step
    best = result(looked)["best_validation"]
    means = [np.mean([float(row[f"validation_{name}"]) for name in ("whole", "core", "enhancing")]) for row in rows]
    assert best["dice"] == pytest.approx(max(means)) and best["step"] == 14 * (1 + int(np.argmax(means)))
    until_done(phantoms, parted, *changes, "train.validate_epochs=1", "checkpoint.leave_every_steps=15")
    assert result(parted)["best_validation"] == best
    assert [weights(parted / name) for name in ("model.keras", "best.keras")] == [
        weights(looked / name) for name in ("model.keras", "best.keras")
    ]


def weights(model: Path) -> str:
    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        digest = hashlib.sha256()
        file.visititems(
            lambda name, item: digest.update(item[()].tobytes()) if isinstance(item, h5py.Dataset) else None
        )
    return digest.hexdigest()


def test_sigterm_in_the_middle(phantoms: Path, tmp_path: Path) -> None:
    """What a user or another scheduler sees; that nothing changes is test_exactness.py's."""
    command = [sys.executable, "-m", "unet_segmentation", *words(phantoms, tmp_path, "train.steps=100000")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "checkpoint" / "00000002").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    error = process.communicate()[1]
    assert process.returncode == 85, error
    assert "of 100000 saved (exit code 85: run the same command again to go on)" in error
    assert not (tmp_path / "metrics.json").exists()


# Recipes


@pytest.mark.parametrize(
    "changes",
    [
        ("model.context=1", "augment.elastic=2", "augment.drop_modality=0.3"),
        ("model.dimensions=3", "train.depth=8", "train.batch_size=2"),
        ("model.levels=3", "model.deep_supervision=true", "train.split=2"),
        ("data.regions=['core']", "train.loss=dice", "train.average=0", "train.schedule=constant"),
    ],
    ids=["2.5-D", "3-D", "deep supervision in parts", "one region"],
)
def test_other_networks_train_predict_and_resume(phantoms: Path, tmp_path: Path, changes: tuple[str, ...]) -> None:
    assert cli.main(words(phantoms, tmp_path / "whole", *changes, "train.steps=6")) == 0
    until_done(phantoms, tmp_path / "parts", *changes, "train.steps=6", "checkpoint.leave_every_steps=3")
    assert result(tmp_path / "whole")["weights_sha256"] == result(tmp_path / "parts")["weights_sha256"]
    arguments = ["--model", str(tmp_path / "whole" / "model.keras"), "--data", str(phantoms / "validation")]
    assert cli.main(["predict", *arguments, "--out", str(tmp_path / "again")]) == 0
    name = "Phantom_00003.nii.gz"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / "predictions" / name).read_bytes()


def test_a_batch_in_parts_has_the_same_sums(phantoms: Path, tmp_path: Path) -> None:
    """Not the same bytes: sums are rounded in another order."""
    losses = []
    for parts in (1, 4):
        out = tmp_path / str(parts)
        changes = ("train.steps=20", f"train.split={parts}", "train.precision=float32")
        assert cli.main(words(phantoms, out, *changes)) == 0
        losses.append(float((out / "history.csv").read_text().splitlines()[1].split(",")[1]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_gpu_too_small_for_the_batch_computes_it_in_parts(
    phantoms: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """A stand-in for the GPU's memory: parts of more than two images, later of any, do not fit."""
    import tensorflow as tf

    room = 2
    sums = Objective.sums

    def within(self: Any, truth: Any, outputs: Any) -> Any:
        if truth.shape[0] > room:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return sums(self, truth, outputs)

    monkeypatch.setattr(Objective, "sums", within)
    assert cli.main(words(phantoms, tmp_path / "two")) == 0
    assert "memory     the batch does not fit the GPU: computed in 2 parts, same sums" in capsys.readouterr().err
    room = 0
    assert cli.main(words(phantoms, tmp_path / "none")) == 65
    assert "train.patch: one image; less than the memory of this GPU; ask for a larger GPU" in capsys.readouterr().err


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


class Spoiled:
    """A training step that works, but for what it reports from some step on."""

    def __init__(self, step: Any, since: int, **sums: float) -> None:
        self._step, self._since, self._sums, self._count = step, since, sums, 0

    def __call__(self, *arguments: Any) -> dict[str, Any]:
        self._count += 1
        return {**self._step(*arguments), **(self._sums if self._count > self._since else {})}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)


def spoil(monkeypatch: Any, since: int, **sums: float) -> None:
    real = backend.training_step
    monkeypatch.setattr(backend, "training_step", lambda *arguments: Spoiled(real(*arguments), since, **sums))


def test_a_training_that_diverges_twice_names_the_patients(
    phantoms: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    spoil(monkeypatch, 7, loss=float("nan"))
    assert cli.main(words(phantoms, tmp_path)) == 1
    error = capsys.readouterr().err
    assert "diverged   loss nan at step 8, in a batch of Phantom_0000" in error
    assert "; once more from step 5, the learning rate times 0.1" in error
    assert "loss: loss nan at step 6, in a batch of Phantom_0000" in error
    assert "for the second time; a loss that falls; lower train.learning_rate (0.001), or look at these" in error
    assert "Traceback" not in error
    snapshot = Store(tmp_path / "checkpoint").load()
    assert snapshot is not None and snapshot.state["progress"]["step"] == 5
    spoil(monkeypatch, 2, loss=float("nan"))
    assert cli.main(words(phantoms, tmp_path)) == 1  # it remembers that there was a first time
    assert "once more" not in capsys.readouterr().err


def test_a_network_that_finds_nothing_for_long_has_collapsed(
    phantoms: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    spoil(monkeypatch, 0, found=0.0)
    assert cli.main(words(phantoms, tmp_path, "train.steps=1000", "checkpoint.every_steps=50")) == 1
    assert "diverged   nothing found for 200 steps at step 200" in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_not_saved_and_not_gone_back_to(
    phantoms: Path, tmp_path: Path, capsys: Any
) -> None:
    """A checkpoint that is whole but useless: the training starts anew, with the lower rate."""
    assert cli.main(words(phantoms, tmp_path, "checkpoint.leave_every_steps=4")) == 85
    store = Store(tmp_path / "checkpoint")
    snapshot = store.load()
    assert snapshot is not None
    with np.load(io.BytesIO(snapshot.blobs["weights.npz"])) as saved:
        values = {name: np.full_like(saved[name], np.inf) for name in saved.files}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **values)
    store.save(snapshot.state, {**snapshot.blobs, "weights.npz": file.getvalue()})
    assert cli.main(words(phantoms, tmp_path)) == 0
    assert "loss nan at step 5, in a batch of Phantom_00001, Phantom_00002; once more from step 0" in (
        capsys.readouterr().err
    )


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
    assert model["modalities"] == ["flair", "t1c"] and model["convention"]["name"] == "brats2013-2015"
    digest = hashlib.sha256((tmp_path / "predictions" / "brats_2013_pat0003_1.nii.gz").read_bytes())
    assert digest.hexdigest()
