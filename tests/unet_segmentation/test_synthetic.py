"""Phantoms say what they are, and nobody trains on them unawares."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import pytest

from submit.runtime import inputs
from tests.unet_segmentation import training
from unet_segmentation import cli, config, intake, layouts, phantom, synthetic, verify, volumes

REAL = '_CONDOR_ScratchDir = "/srv"\nMachine = "gpu-1.example.edu"\nGLIDEIN_Site = "Example"\n'
LOCAL = 'Machine = "slot1@laptop"\nOsgdlSimulatedGPU = True\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    phantom.write(folder, {"": 3}, seed=3, size=(40, 48, 32))
    return folder


@pytest.fixture
def mixed(made: Path, tmp_path: Path) -> Path:
    """Three patients, the first without a mark: what a real one looks like."""
    data = Path(shutil.copytree(made, tmp_path / "mixed"))
    unmark(data / "Phantom_00001")
    return data


def unmark(folder: Path) -> None:
    for path in folder.glob("*.nii.gz"):
        image = nibabel.load(path)
        image.header["descrip"] = b"FreeSurfer"
        path.write_bytes(volumes.compressed(image))


def on(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slot that a job runs in."""
    ad = tmp_path / "machine.ad"
    ad.write_text(machine)
    monkeypatch.setenv("_CONDOR_MACHINE_AD", str(ad))


@pytest.mark.parametrize("layout", ["brats2015", "brats2021", "brats2024", "msd-task01", "deepmedic2015"])
def test_every_file_of_a_phantom_says_so(tmp_path: Path, layout: str) -> None:
    if layout == "brats2015":
        pytest.importorskip("SimpleITK")
    phantom.write(tmp_path, {"": 1}, 1, layout, (32, 32, 32))
    files = [path for path in tmp_path.rglob("*") if path.name.endswith((".nii.gz", ".nii", ".mha"))]
    assert files
    assert all(synthetic.marked(volumes.read_file(path).note) for path in files)


def test_it_is_seen_in_every_patient_and_survives_the_cache(made: Path, tmp_path: Path) -> None:
    reports = verify.verify(layouts.find(made), ("flair", "t1"), need_truth=True)
    assert [report.facts["synthetic"] for report in reports] == [True, True, True]
    unmark_free = intake.load_data(config.load(), made, tmp_path / "out")
    again = intake.load_data(config.load(), made, tmp_path / "out")
    assert unmark_free.facts["synthetic"] is again.facts["synthetic"] is True


def test_one_image_with_the_mark_is_enough(made: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made, tmp_path / "data"))
    flair = (data / "Phantom_00001" / "Phantom_00001_flair.nii.gz").read_bytes()
    unmark(data / "Phantom_00001")
    (data / "Phantom_00001" / "Phantom_00001_flair.nii.gz").write_bytes(flair)
    reports = verify.verify(layouts.find(data), ("t1", "flair"), need_truth=True)
    assert reports[0].facts["synthetic"] is True


def test_verify_says_so(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--data", str(made), "--out", str(tmp_path / "dataset.json")]) == 0
    assert "synthetic  all 3 patients are phantoms\n" in capsys.readouterr().out
    held = json.loads((tmp_path / "dataset.json").read_text())
    assert held["synthetic"] is True
    assert all(patient["synthetic"] for patient in held["patients"].values())


def test_what_a_training_leaves_says_so(trained: Path) -> None:
    assert json.loads((trained / "dataset.json").read_text())["synthetic"] is True
    assert training.result(trained)["provenance"]["synthetic"] == "all 3 patients are phantoms"
    assert "Not real: all 3 patients are phantoms." in (trained / "report.html").read_text()


def test_scores_of_phantoms_say_so(phantoms: Path, trained: Path, tmp_path: Path) -> None:
    predictions, data = str(trained / "predictions"), str(phantoms / "validation")
    words = ["--predictions", predictions, "--data", data, "--out", str(tmp_path), "--pictures", "0"]
    assert cli.main(["evaluate", *words]) == 0
    assert training.result(tmp_path)["provenance"]["synthetic"] == "the patient is a phantom"


def test_a_real_pool_refuses_phantoms(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(REAL, tmp_path, monkeypatch)
    assert cli.main(training.words(made, tmp_path / "out")) == 65
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == (
        "data: all 3 patients are phantoms, on gpu-1.example.edu; real patients; name your own data in the submit "
        "file, or say that they are meant: data.synthetic = true in the configuration"
    )
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert not (tmp_path / "out" / "checkpoint").exists()


@pytest.mark.parametrize("machine", [LOCAL, ""])
def test_the_local_pool_and_a_laptop_do_not(
    machine: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if machine:
        on(machine, tmp_path, monkeypatch)
    assert len(intake.load_data(config.load(), made, tmp_path / "out").training) == 2


def test_a_real_pool_takes_them_where_they_are_meant(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(REAL, tmp_path, monkeypatch)
    meant = config.load(None, ["data.synthetic=true"])
    assert len(intake.load_data(meant, made, tmp_path / "out").training) == 2
    assert meant.hash() == config.load().hash()  # it decides whether, not what


def test_a_real_pool_takes_real_patients(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(shutil.copytree(made, tmp_path / "data"))
    for folder in data.iterdir():
        unmark(folder) if folder.is_dir() else None
    on(REAL, tmp_path, monkeypatch)
    assert intake.load_data(config.load(), data, tmp_path / "out").facts["synthetic"] is False


@pytest.mark.parametrize("command", ["verify", "prepare", "train"])
def test_real_patients_and_phantoms_together_are_refused(
    command: str, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = training.words(mixed, out) if command == "train" else [command, "--data", str(mixed), "--out", str(out)]
    assert cli.main(words) == 65
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "2 of 3 patients are phantoms: Phantom_0000" in said
    assert "Phantom_00001 is not; real patients alone, or phantoms alone; remove Phantom_0000" in said
    assert not (out / "dataset.json").exists()


def test_together_they_pass_where_it_is_meant(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset.json"
    assert cli.main(["verify", "--data", str(mixed), "--out", str(out), "--set", "data.synthetic=true"]) == 0
    assert json.loads(out.read_text())["synthetic"] is True


def test_an_archive_of_phantoms_is_one_of_phantoms(made: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", made)
    found = intake.load_data(config.load(), Path(archive), tmp_path / "out")
    assert found.facts["synthetic"] is True
    assert inputs.folder(Path(archive)).is_dir()
