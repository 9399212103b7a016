from __future__ import annotations

from pathlib import Path

import pytest

from submit.runtime.exit_codes import BadInput
from unet_segmentation import layouts
from unet_segmentation.config import DataConfig

BRATS = ("flair", "t1", "t1ce", "t2", "seg")


def make(folder: Path, patient: str, names: tuple[str, ...] = BRATS, ending: str = ".nii.gz") -> None:
    (folder / patient).mkdir(parents=True)
    for name in names:
        (folder / patient / f"{patient}_{name}{ending}").touch()


@pytest.mark.parametrize(
    ("patient", "ending", "layout"),
    [
        ("BraTS20_Training_001", ".nii", "brats2020"),
        ("BraTS2021_00000", ".nii.gz", "brats2021"),
        ("mine", ".nii.gz", "brats2021"),
    ],
)
def test_brats(tmp_path: Path, patient: str, ending: str, layout: str) -> None:
    make(tmp_path, patient, ending=ending)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "name_mapping.csv").touch()
    dataset = layouts.find(tmp_path)
    assert dataset.layout.name == layout
    assert dataset.modalities() == ("flair", "t1", "t1c", "t2")
    assert dataset.patients[0].images["t1c"].name == f"{patient}_t1ce{ending}"
    assert dataset.patients[0].truth is not None and dataset.patients[0].mask is None


def test_case_355_of_brats_2020(tmp_path: Path) -> None:
    make(tmp_path, "BraTS20_Training_355", BRATS[:-1], ".nii")
    (tmp_path / "BraTS20_Training_355" / "W39_1998.09.19_Segm.nii").touch()
    patient = layouts.find(tmp_path).patients[0]
    assert patient.truth is not None and patient.truth.name == "W39_1998.09.19_Segm.nii"


def test_the_sample(brats2015: Path) -> None:
    training, validation = layouts.split(brats2015, DataConfig(), 1)
    assert training.layout.name == "deepmedic2015"
    assert training.modalities() == ("flair", "t1c")
    assert [patient.name[-6:] for patient in validation.patients] == ["0003_1", "0004_1"]
    assert all(patient.mask is not None for patient in training.patients)


def test_channels(tmp_path: Path) -> None:
    make(tmp_path, "a", ("flair", "t1ce", "seg"))
    make(tmp_path, "b", ("flair", "t2", "seg"))
    dataset = layouts.find(tmp_path)
    assert layouts.channels((dataset,), ()) == ("flair", "t1c", "t2")
    assert layouts.channels((dataset,), ("t2", "flair")) == ("t2", "flair")
    with pytest.raises(BadInput, match=r"data.modalities: 't1ce'; some of flair, t1, t1c, t2"):
        layouts.channels((dataset,), ("t1ce",))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        layouts.find(tmp_path / "absent")
    with pytest.raises(BadInput, match="0 folders, none with files of a known layout; BraTS 2020: "):
        layouts.find(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(BadInput, match="1 folders, none"):
        layouts.find(tmp_path)
    with pytest.raises(BadInput, match=r"data.layout: 'brats2022'; auto, brats2020"):
        layouts.find(tmp_path, "brats2022")


def test_a_hold_out_of_whole_patients(tmp_path: Path) -> None:
    for name in "abcdefghij":
        make(tmp_path, name)
    training, validation = layouts.split(tmp_path, DataConfig(), 1)
    assert (len(training.patients), len(validation.patients)) == (8, 2)
    assert {p.name for p in training.patients} | {p.name for p in validation.patients} == set("abcdefghij")
    assert layouts.split(tmp_path, DataConfig(), 1) == (training, validation)
    assert any(layouts.split(tmp_path, DataConfig(), seed)[1] != validation for seed in range(2, 6))


def test_one_patient_cannot_be_split(tmp_path: Path) -> None:
    make(tmp_path, "a")
    with pytest.raises(BadInput, match="1 patient; 2 or more: one is held out"):
        layouts.split(tmp_path, DataConfig(), 1)


def test_train_and_validation_must_fit(tmp_path: Path) -> None:
    make(tmp_path / "train", "a")
    make(tmp_path / "validation", "a")
    with pytest.raises(BadInput, match="a, which is in train/ too"):
        layouts.split(tmp_path, DataConfig(), 1)
    make(tmp_path / "train", "BraTS20_1")
    make(tmp_path / "train", "BraTS20_2")
    (tmp_path / "validation" / "a").rename(tmp_path / "validation" / "BraTS20_3")
    (tmp_path / "validation" / "BraTS20_3" / "a_seg.nii.gz").rename(
        tmp_path / "validation" / "BraTS20_3" / "BraTS20_3_t1.nii.gz"
    )
    with pytest.raises(BadInput, match="one layout"):
        layouts.split(tmp_path, DataConfig(), 1)
