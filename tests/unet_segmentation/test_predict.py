"""What is predicted by models whose answer is known, from the command line to the NIfTI files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.unet_segmentation.predicting import ABOUT, BRATS, agree, expected, image_of, labels, painted, run, save
from unet_segmentation import layouts, predict, record, verify
from unet_segmentation.labels import conventions
from unet_segmentation.segment import Options


def test_what_the_model_says_lies_in_the_space_of_the_image(phantoms: Path, model: Path, tmp_path: Path) -> None:
    assert run(model, phantoms / "train", tmp_path, "--probabilities") == 0
    for name in ("Phantom_00001", "Phantom_00002"):
        folder = phantoms / "train" / name
        like, image = nibabel.load(image_of(folder, name, "t1ce")), nibabel.load(tmp_path / f"{name}.nii.gz")
        wanted = expected(folder)
        assert image.get_data_dtype() == np.uint8 and (image.affine == like.affine).all()
        assert image.header.get_xyzt_units() == like.header.get_xyzt_units()
        assert image.header["sform_code"] == like.header["sform_code"]
        assert agree(labels(tmp_path / f"{name}.nii.gz"), painted(wanted))
        assert set(np.unique(labels(tmp_path / f"{name}.nii.gz"))) == {0, 1, 2, 4}
        for index, region in enumerate(ABOUT["regions"]):
            image = nibabel.load(tmp_path / f"{name}_{region}.nii.gz")
            assert image.get_data_dtype() == np.float32 and (image.affine == like.affine).all()
            assert np.abs(image.get_fdata() - wanted[..., index]).max() < 0.02  # the images are in 16 bits
    held = json.loads((tmp_path / "predictions.json").read_bytes())
    assert held["convention"] == ABOUT["convention"] and held["modalities"] == ["t1c", "flair"]
    assert sorted(held["patients"]) == ["Phantom_00001", "Phantom_00002"]


@pytest.mark.parametrize(
    "about",
    [
        {"context": 1},
        {"whole_slices": False},
        {"dimensions": 3, "depth": 8, "whole_slices": False},
    ],
    ids=["context", "patches", "blocks"],
)
def test_other_geometries_say_the_same(phantoms: Path, tmp_path: Path, about: dict[str, Any]) -> None:
    path = save(tmp_path / "model.keras", **about)
    assert run(path, phantoms / "validation", tmp_path / "out", "--overlap", "0.25", "--no-flips") == 0
    folder = phantoms / "validation" / "Phantom_00003"
    assert agree(labels(tmp_path / "out" / "Phantom_00003.nii.gz"), painted(expected(folder)))


def test_thresholds_and_small_components(phantoms: Path, model: Path, tmp_path: Path) -> None:
    folder = phantoms / "validation" / "Phantom_00003"
    words = ("--threshold", "whole=0.2", "--threshold", "enhancing=0.9")
    assert run(model, phantoms / "validation", tmp_path, *words) == 0
    loose = labels(tmp_path / "Phantom_00003.nii.gz")
    assert agree(loose, painted(expected(folder), 0.2, 0.5, 0.9))
    assert run(model, phantoms / "validation", tmp_path, *words, "--smallest", "1e6") == 0
    assert (labels(tmp_path / "Phantom_00003.nii.gz") > 0).sum() < (loose > 0).sum()


def test_an_ensemble_is_the_mean_of_its_models(phantoms: Path, model: Path, tmp_path: Path) -> None:
    """A 2-D and a 3-D model, 3 logits apart."""
    other = save(tmp_path / "b.keras", bias=3, dimensions=3, depth=8, whole_slices=False)
    assert run([model, other], phantoms / "validation", tmp_path / "out") == 0
    folder = phantoms / "validation" / "Phantom_00003"
    wanted = (expected(folder) + expected(folder, bias=3)) / 2
    found = labels(tmp_path / "out" / "Phantom_00003.nii.gz")
    assert agree(found, painted(wanted)) and not agree(found, painted(expected(folder)))


def test_patients_are_read_one_ahead(phantoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    inspect = verify.inspect

    def seen(patient: layouts.Patient, *arguments: Any, **more: Any) -> Any:
        read.append(patient.name)
        return inspect(patient, *arguments, **more)

    monkeypatch.setattr(verify, "inspect", seen)
    first, second = layouts.find(phantoms / "train").patients
    reports: list[verify.Report] = []
    stream = predict._streamed([first, second, first, second], ("flair",), BRATS, reports)
    assert read == []
    assert next(stream).name == first.name
    assert len(read) <= 2
    assert [one.name for one in stream] == [second.name, first.name, second.name]
    assert len(reports) == 4 and all(report.checked is None for report in reports)


def test_a_long_run_notes_what_it_wrote(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed in the middle goes on behind the last note."""
    monkeypatch.setattr(record, "WRITE_EVERY_S", 0)
    dataset = layouts.find(phantoms / "train")
    patients = {patient.name: patient for patient in dataset.patients}
    stream = predict._streamed(dataset.patients, ("t1c", "flair"), BRATS, [])
    notes = []

    def forward(images: np.ndarray) -> np.ndarray:
        file = tmp_path / "predictions.json"
        notes.append(len(json.loads(file.read_bytes())["patients"]) if file.exists() else None)
        return np.zeros((*images.shape[:-1], 3), np.float32)

    told = record.Record(tmp_path, ABOUT, Options(), models=["hash"])
    written = predict.write_all([forward], stream, patients, ABOUT, tmp_path, Options(), told)
    assert [path.name for path in written] == ["Phantom_00001.nii.gz", "Phantom_00002.nii.gz"]
    assert notes[0] is None and notes[-1] == 1
    assert not labels(written[0]).any()
    again = record.Record(tmp_path, ABOUT, Options(), models=["hash"])
    assert all(again.holds(patient) for patient in dataset.patients)
    assert not record.Record(tmp_path, ABOUT, Options()).holds(dataset.patients[0])


def test_real_patients(brats2015: Path, tmp_path: Path) -> None:
    """The background is -3.5 there, and the brain lies in a mask of its own."""
    data = tmp_path / "data"
    folder = next(path for path in sorted((brats2015 / "validation").iterdir()) if path.is_dir())
    shutil.copytree(folder, data / folder.name)
    model = save(tmp_path / "model.keras", convention=conventions()["brats2013-2015"].as_dict())
    assert run(model, data, tmp_path / "out") == 0
    path = tmp_path / "out" / f"{folder.name}.nii.gz"
    like, mask = (nibabel.load(folder / f"{name}.nii.gz") for name in ("T1c_subtrMeanDivStd", "brainmask"))
    assert (nibabel.load(path).affine == like.affine).all() and nibabel.load(path).shape == like.shape
    found, inside = labels(path), np.asarray(mask.dataobj) > 0.5
    assert set(np.unique(found)) == {0, 1, 2, 4} and not found[~inside].any()
