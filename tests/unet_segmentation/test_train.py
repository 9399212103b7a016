"""Training for real on tiny phantoms: results, restarts, kills and recipes."""

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
from tests.unet_segmentation.training import result, until_done, words
from unet_segmentation import backend, backend_tensorflow, cli
from unet_segmentation.objective import Objective

ROOT = Path(__file__).parents[2]


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
    """Each restart makes a step or two, however short the time is: counted from the first one."""
    assert until_done(phantoms, tmp_path, "train.steps=3", "checkpoint.leave_every_minutes=0.00001") == 1


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
    plain, looked = tmp_path / "plain", tmp_path / "looked"
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
    for every in (14, 15):  # left just before a look, and some steps after it
        parted = tmp_path / f"parted{every}"
        until_done(phantoms, parted, *changes, "train.validate_epochs=1", f"checkpoint.leave_every_steps={every}")
        assert result(parted)["best_validation"] == best
        assert (parted / "history.csv").read_bytes() == (looked / "history.csv").read_bytes()
        for name in ("model.keras", "best.keras"):
            assert weights(parted / name) == weights(looked / name)


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
