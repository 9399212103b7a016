"""Training on staged data: by the manifest's split, on what was staged and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from submit.runtime.exit_codes import BadInput
from tests.unet_segmentation import training
from tests.unet_segmentation.staging import described, stage
from unet_segmentation import cli, config, intake, predict

NAMES = ["Phantom_00001", "Phantom_00002", "Phantom_00003"]
SPLIT = (NAMES[:2], NAMES[2:])  # as the folders train/ and validation/ of the phantoms


@pytest.fixture(scope="module")
def pooled(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms in one folder: nothing but a split says who is held out."""
    folder = tmp_path_factory.mktemp("pooled") / "data"
    for part in ("train", "validation"):
        shutil.copytree(phantoms / part, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def about(pooled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return described(pooled, tmp_path_factory.mktemp("about") / "dataset.json")


def refused(manifest: Path, tmp_path: Path, *settings: str) -> str:
    with pytest.raises(BadInput) as raised:
        intake.load_data(config.load(None, settings), manifest, tmp_path / "out")
    return str(raised.value)


def changed(about: dict[str, Any], patient: str, **facts: Any) -> dict[str, Any]:
    patients = {**about["patients"], patient: {**about["patients"][patient], **facts}}
    return {**about, "patients": patients}


def test_verify_writes_what_staging_must_know(
    about: dict[str, Any], pooled: Path, phantoms: Path, tmp_path: Path
) -> None:
    assert (about["kind"], about["layout"], about["parts"]) == ("files", "brats2021", None)
    assert list(about["patients"]) == NAMES
    paths = [path for patient in about["patients"].values() for path in patient["paths"]]
    assert sorted(paths) == sorted(p.relative_to(pooled).as_posix() for p in pooled.rglob("*") if p.is_file())
    divided = described(phantoms, tmp_path / "dataset.json")
    assert divided["parts"] == {"training": SPLIT[0], "validation": SPLIT[1]}
    assert divided["patients"][NAMES[2]]["paths"][0].startswith("validation/Phantom_00003/")
    assert divided["sha256"] == about["sha256"]


def test_verify_writes_nothing_about_faulty_data(data: Path, tmp_path: Path) -> None:
    (data / "train" / NAMES[0] / f"{NAMES[0]}_t1.nii.gz").unlink()
    assert cli.main(["verify", "--data", str(data), "--out", str(tmp_path / "dataset.json")]) == 65
    assert not (tmp_path / "dataset.json").exists()


def test_verify_writes_nothing_about_a_person_on_both_sides(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data / "train" / NAMES[0], data / "validation" / NAMES[0])
    assert cli.main(["verify", "--data", str(data), "--out", str(tmp_path / "dataset.json")]) == 65
    assert not (tmp_path / "dataset.json").exists()
    assert "Phantom_00001" in capsys.readouterr().err


@pytest.fixture(scope="module")
def staged(pooled: Path, about: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of all with a split."""
    return stage(pooled, tmp_path_factory.mktemp("staged"), about, SPLIT)


@pytest.fixture(scope="module")
def out(staged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training on it leaves; the configuration's own fold is not looked at."""
    place = tmp_path_factory.mktemp("out")
    assert cli.main(training.words(staged, place, "data.validation_fraction=0.6")) == 0
    return place


def sha256(manifest: Path) -> str:
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def test_the_split_is_the_manifests_and_the_network_that_of_the_files(out: Path, trained: Path) -> None:
    held = json.loads((out / "dataset.json").read_text())
    assert held["parts"] == {"training": SPLIT[0], "validation": SPLIT[1]}
    assert training.result(out)["weights_sha256"] == training.result(trained)["weights_sha256"]
    assert list(training.result(out)["dice"]) == SPLIT[1]
    assert training.result(out)["scored"] == "here"


def test_every_result_and_checkpoint_names_the_manifest(out: Path, staged: Path) -> None:
    wanted = sha256(staged)
    assert json.loads((out / "dataset.json").read_text())["manifest_sha256"] == wanted
    assert training.result(out)["provenance"]["manifest_sha256"] == wanted
    assert predict.read_about(out / "model.keras")["manifest_sha256"] == wanted
    assert json.loads((out / "model.json").read_text())["manifest_sha256"] == wanted
    assert wanted in (out / "report.html").read_text()
    newest = max((out / "checkpoint").rglob("*"), key=lambda path: path.stat().st_mtime_ns if path.is_file() else 0)
    assert wanted.encode() in _content(newest.parent)


def _content(folder: Path) -> bytes:
    """Every byte of a checkpoint; archives unpacked."""
    found = b""
    for path in folder.rglob("*"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += b"".join(archive.read(name) for name in archive.namelist())
        elif path.is_file():
            found += path.read_bytes()
    return found


def test_a_resumed_job_refuses_other_data(
    staged: Path, pooled: Path, about: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = stage(pooled, tmp_path / "other", about, SPLIT, name="others")
    out = tmp_path / "out"
    assert cli.main(training.words(staged, out, "checkpoint.leave_every_steps=3")) == 85
    for source, here in ((other, sha256(other)[:12]), (pooled, "none")):
        assert cli.main(training.words(source, out)) == 65
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"a checkpoint whose manifest is {sha256(staged)[:12]}; {here}, that of this run" in said
    assert training.until_done(staged, out) == 0


def test_a_view_of_the_training_patients_is_trained_on_and_scored_elsewhere(
    pooled: Path, about: dict[str, Any], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = stage(pooled, tmp_path / "training", about, SPLIT, "training")
    out = tmp_path / "out"
    capsys.readouterr()
    assert cli.main(training.words(view, out, "train.validate_epochs=1")) == 0
    assert not (tmp_path / "training" / view.stem / NAMES[2]).exists()
    held = training.result(out)
    assert (held["scored"], held["dice"], held["best_validation"]) == ("elsewhere", {}, {})
    assert held["weights_sha256"] == training.result(trained)["weights_sha256"]
    assert not (out / "best.keras").exists()
    assert json.loads((out / "dataset.json").read_text())["parts"] == {"training": SPLIT[0], "validation": []}
    assert "scored elsewhere" in (out / "report.html").read_text()
    assert sha256(view) in (out / "report.html").read_text()
    said = capsys.readouterr().out.strip().splitlines()
    commands = [line.strip() for line in said[-2:]]
    assert commands == held["score_with"]

    fold = stage(pooled, tmp_path / "validation", about, SPLIT, "validation")
    for command in commands:  # they run as they stand, on the view of the fold
        assert cli.main(command.replace("HELD-OUT", str(fold)).split()[3:]) == 0
    assert training.result(out / "scores")["dice"] == training.result(trained)["dice"]


def test_prepared_data_are_staged_too(pooled: Path, trained: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert cli.main(["prepare", "--data", str(pooled), "--out", str(store)]) == 0
    held = json.loads((store / "dataset.json").read_text())
    for part in ("", "training"):
        manifest = stage(store, tmp_path / f"of-{part}", held, SPLIT, part)
        assert cli.main(training.words(manifest, tmp_path / f"out-{part}")) == 0
        result = training.result(tmp_path / f"out-{part}")
        assert (result["scored"], result["dice"]) == ("elsewhere", {})
        assert result["weights_sha256"] == training.result(trained)["weights_sha256"]
        assert result["provenance"]["manifest_sha256"] == sha256(manifest)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"shape": [9, 9, 9]}, "Phantom_00002: shape [9, 9, 9]; [40, 48, 32], as found here; stage the data again"),
        ({"brain_voxels": 5}, "Phantom_00002: brain_voxels 5; "),
        ({"label_voxels": {"1": 1}}, "Phantom_00002: label_voxels {'1': 1}; "),
        ({"spacing_mm": [1.0, 1.0, 9.0]}, "Phantom_00002: spacing_mm [1.0, 1.0, 9.0]; "),
        ({"synthetic": False}, "Phantom_00002: synthetic False; True, as found here"),
        ({"files": {"Phantom_00002_t1.nii.gz": "a" * 64}}, "Phantom_00002_t1.nii.gz: SHA-256 aaaaaaaaaaaa; "),
    ],
)
def test_a_patient_that_is_not_the_staged_one_is_refused(
    pooled: Path, about: dict[str, Any], tmp_path: Path, facts: dict[str, Any], said: str
) -> None:
    manifest = stage(pooled, tmp_path / "staged", changed(about, NAMES[1], **facts), SPLIT)
    found = refused(manifest, tmp_path)
    assert said in found
    assert manifest.name in found


def test_labels_that_mean_something_else_are_refused(pooled: Path, about: dict[str, Any], tmp_path: Path) -> None:
    manifest = stage(pooled, tmp_path / "staged", {**about, "convention": {"name": "another"}}, SPLIT)
    assert "convention: another than here: brats2021" in refused(manifest, tmp_path)


def test_a_patient_that_nobody_staged_is_refused(pooled: Path, about: dict[str, Any], tmp_path: Path) -> None:
    left = {**about, "patients": {name: about["patients"][name] for name in NAMES[:2]}}
    manifest = stage(pooled, tmp_path / "staged", left, SPLIT)
    assert f"{NAMES[2]}: not among the staged patients" in refused(manifest, tmp_path)


def test_some_modalities_of_the_staged_ones_are_taken(staged: Path, tmp_path: Path) -> None:
    found = intake.load_data(config.load(None, ['data.modalities=["t2","flair"]']), staged, tmp_path / "out")
    assert found.modalities == ("t2", "flair")


def test_the_staged_modalities_are_the_default(pooled: Path, tmp_path: Path) -> None:
    about = described(pooled, tmp_path / "dataset.json", 'data.modalities=["t1c","flair"]')
    manifest = stage(pooled, tmp_path / "staged", about, SPLIT)
    assert intake.load_data(config.load(), manifest, tmp_path / "out").modalities == ("t1c", "flair")


@pytest.mark.parametrize(
    ("split", "part", "said"),
    [
        (SPLIT, "validation", "a view of the patients held out; patients to train on; predict and evaluate with it"),
        (None, "training", "a view that does not say who is held out; a split; stage the fold again"),
        ((NAMES, []), "", "a split with nobody held out; patients to train on and patients to score"),
        (([], NAMES), "", "a split with nobody to train on"),
        (([*NAMES[:2], "p9"], NAMES[2:]), "", "no patient p9; every patient of the split; name the manifest of"),
    ],
)
def test_a_manifest_that_does_not_do_is_refused(
    pooled: Path, about: dict[str, Any], tmp_path: Path, split: Any, part: str, said: str
) -> None:
    assert said in refused(stage(pooled, tmp_path / "staged", about, split, part), tmp_path)


def test_a_manifest_without_split_leaves_it_to_the_configuration(
    pooled: Path, about: dict[str, Any], tmp_path: Path
) -> None:
    manifest = stage(pooled, tmp_path / "staged", about)
    settings = config.load(None, ["data.folds=3", "data.fold=2"])
    found, wanted = (intake.load_data(settings, path, tmp_path / "out") for path in (manifest, pooled))
    assert found.facts["parts"] == wanted.facts["parts"]


def test_a_person_on_both_sides_of_a_split_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    words = ["phantom", "--out", str(data), "--patients", "3", "--layout", "brats2024", "--size", "32", "32", "32"]
    assert cli.main(words) == 0
    about = described(data, tmp_path / "dataset.json", "data.layout=brats2024")
    names = list(about["patients"])
    manifest = stage(data, tmp_path / "staged", about, (names[:1], names[1:]))
    found = refused(manifest, tmp_path, "data.layout=brats2024")
    assert f"{names[1]} held out, the same person as {names[0]}; patients never trained on" in found


def test_a_real_pool_refuses_a_manifest_of_phantoms_before_it_reads_them(
    staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ad").write_text('Machine = "gpu-1.example.edu"\n')
    monkeypatch.setenv("_CONDOR_MACHINE_AD", str(tmp_path / "ad"))
    assert "data: all 3 patients are phantoms, on gpu-1.example.edu; real patients" in refused(staged, tmp_path)
    assert not (tmp_path / "out").exists()


def test_without_a_manifest_an_empty_validation_is_the_error_that_it_was(phantoms: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(phantoms / "validation", tmp_path / "one"))
    assert "2 persons or more: one is held out" in refused(data, tmp_path)
