"""What a training refuses or does not survive: another run's checkpoint, divergence, a GPU that cannot be used."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submit.runtime.checkpoint import Store
from tests.unet_segmentation.training import result, words
from unet_segmentation import backend, cli


@pytest.mark.parametrize(
    ("change", "what"), [("train.learning_rate=0.01", "configuration"), ("train.precision=float32", "configuration")]
)
def test_a_checkpoint_of_another_run_is_refused(
    trained: Path, phantoms: Path, tmp_path: Path, change: str, what: str, capsys: Any
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    assert cli.main(words(phantoms, out, change)) == 65
    assert f"checkpoint: a checkpoint whose {what} is " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "framework", "message"),
    [
        ("train.split=3", "", "train.batch_size: 4; a multiple of 3: 1 devices, 3 parts on each (train.split); --set"),
        ("data.regions=['liver']", "", "data.regions: 'liver'; some of whole, core, enhancing (labels brats2017-2021)"),
        ("train.seed=1", "torch", "KERAS_BACKEND: torch; tensorflow or jax; export KERAS_BACKEND=tensorflow"),
    ],
    ids=["split", "region", "backend"],
)
def test_what_only_the_training_can_tell_is_refused(
    phantoms: Path, tmp_path: Path, change: str, framework: str, message: str, monkeypatch: Any, capsys: Any
) -> None:
    if framework:
        monkeypatch.setenv("KERAS_BACKEND", framework)
    assert cli.main(words(phantoms, tmp_path / "out", change)) == 65
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


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
