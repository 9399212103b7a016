"""Finding patients by the names of their files; the files here are empty, those of test_phantom.py are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from submit.runtime.exit_codes import BadInput
from tests.unet_segmentation.empty_files import BRATS, GLIOMA, make, touch
from unet_segmentation import layouts
from unet_segmentation.config import DataConfig
from unet_segmentation.layouts import Source


def vsd(folder: Path, patient: str, number: int, truth: str = "VSD.Brain_3more.XX.O.OT") -> None:
    """As in BRATS 2015."""
    for index, name in enumerate(("Flair", "T1", "T1c", "T2")):
        stem = f"VSD.Brain.XX.O.MR_{name}.{number + index}"
        touch(folder / patient, f"{stem}/{stem}.mha", f"{stem}/{stem}.txt")
    touch(folder / patient, f"{truth}.{number + 5}/{truth}.{number + 5}.mha")


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
    (tmp_path / "survival_info.csv").touch()
    dataset = layouts.find(tmp_path)
    assert dataset.layout.name == layout
    assert dataset.modalities() == ("flair", "t1", "t1c", "t2")
    found = dataset.patients[0]
    assert found.images["t1c"] == Source(tmp_path / patient / f"{patient}_t1ce{ending}", None)
    assert found.folder == tmp_path / patient and found.expected["t2"] == f"{patient}_t2{ending}"
    assert found.truth is not None and found.mask is None
    assert (found.name, found.subject, found.grade, found.notes) == (patient, patient, "", ())


def test_case_355_of_brats_2020(tmp_path: Path) -> None:
    make(tmp_path, "BraTS20_Training_355", BRATS[:-1], ".nii")
    touch(tmp_path, "BraTS20_Training_355/W39_1998.09.19_Segm.nii")
    patient = layouts.find(tmp_path).patients[0]
    assert patient.truth is not None and patient.truth.name == "W39_1998.09.19_Segm.nii"
    assert patient.notes == (
        "BraTS20_Training_355/W39_1998.09.19_Segm.nii: taken as the truth; BraTS20_Training_355_seg.nii is not there",
    )


def test_the_grades_of_brats_2020(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        make(tmp_path / "data", f"BraTS20_Training_00{number}")
    table = tmp_path / "data" / "name_mapping.csv"
    table.write_text(
        "Grade,BraTS_2017_subject_ID,BraTS_2020_subject_ID\nHGG,a,BraTS20_Training_001\nLGG,,BraTS20_Training_002\n"
    )
    for root in (tmp_path, tmp_path / "data"):
        assert [p.grade for p in layouts.find(root).patients] == ["HGG", "LGG", ""]
    table.write_text("Grade,Name\n")
    with pytest.raises(
        BadInput, match=r"name_mapping\.csv: no column BraTS_2020_subject_ID; columns BraTS_2020_subject"
    ):
        layouts.find(tmp_path)
    table.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"name_mapping\.csv: unreadable"):
        layouts.find(tmp_path)


def test_brats_2013_as_it_unpacks(tmp_path: Path) -> None:
    root = tmp_path / "BRATS-2"
    for grade in ("HG", "LG"):
        for part in ("Image_Data", "Synthetic_Data"):
            folder = f"{part}/{grade}/0001"
            for number, name in enumerate(("Flair", "T1", "T1c", "T2")):
                touch(root, f"{folder}/VSD.Brain.XX.O.MR_{name}/VSD.Brain.XX.O.MR_{name}.{600 + number}.mha")
        touch(root, f"Image_Data/{grade}/0001/VSD.Brain_3more.XX.XX.OT/VSD.Brain_3more.XX.XX.OT.6560.mha")
    for start in (tmp_path, root, root / "Image_Data"):
        dataset = layouts.find(start)
        assert dataset.layout.name == "brats2013"
        assert [(p.name, p.subject, p.grade) for p in dataset.patients] == [
            ("HG_0001", "HG_0001", "HGG"),
            ("LG_0001", "LG_0001", "LGG"),
        ]
        first = dataset.patients[0]
        assert first.folder == root / "Image_Data" / "HG" / "0001"
        assert first.images["t1c"].path == first.folder / "VSD.Brain.XX.O.MR_T1c" / "VSD.Brain.XX.O.MR_T1c.602.mha"
        assert first.truth is not None and first.truth.name == "VSD.Brain_3more.XX.XX.OT.6560.mha"
    assert [p.name for p in layouts.find(root / "Image_Data" / "HG").patients] == ["HG_0001"]


def test_brats_2015_as_it_unpacks(tmp_path: Path) -> None:
    root = tmp_path / "BRATS2015_Training"
    vsd(root / "HGG", "brats_2013_pat0001_1", 54512)
    vsd(root / "HGG", "brats_2013_pat0008_1", 54555, truth="VSD.Brain_3more.XX.XX.OT")
    vsd(root / "HGG", "brats_tcia_pat153_0165", 100)
    vsd(root / "HGG", "brats_tcia_pat153_0181", 200)
    vsd(root / "LGG", "brats_tcia_pat101_0001", 300)
    for start in (tmp_path, root):
        dataset = layouts.find(start)
        assert dataset.layout.name == "brats2015"
        assert [(p.name, p.subject, p.grade) for p in dataset.patients] == [
            ("brats_2013_pat0001_1", "brats_2013_pat0001", "HGG"),
            ("brats_2013_pat0008_1", "brats_2013_pat0008", "HGG"),
            ("brats_tcia_pat101_0001", "brats_tcia_pat101", "LGG"),
            ("brats_tcia_pat153_0165", "brats_tcia_pat153", "HGG"),
            ("brats_tcia_pat153_0181", "brats_tcia_pat153", "HGG"),
        ]
        for patient in dataset.patients:
            assert len(patient.images) == 4 and patient.truth is not None and not patient.faults
        first = dataset.patients[0]
        assert first.images["t1"].path.name == "VSD.Brain.XX.O.MR_T1.54513.mha"
        assert first.expected["t1"] == "VSD.Brain.XX.O.MR_T1.*/VSD.Brain.XX.O.MR_T1.*.mha"
    assert len(layouts.find(root / "HGG").patients) == 4
    vsd(tmp_path / "Testing" / "HGG_LGG", "brats_2013_pat0103_1", 400)
    assert [p.grade for p in layouts.find(tmp_path / "Testing").patients] == [""]


def test_a_second_file_of_one_kind(tmp_path: Path) -> None:
    vsd(tmp_path / "HGG", "brats_2013_pat0001_1", 54512)
    touch(tmp_path, "HGG/brats_2013_pat0001_1/VSD.Brain.XX.O.MR_T2.9/VSD.Brain.XX.O.MR_T2.9.mha")
    (patient,) = layouts.find(tmp_path).patients
    assert [str(fault) for fault in patient.faults] == [
        "brats_2013_pat0001_1/VSD.Brain.XX.O.MR_T2.54515/VSD.Brain.XX.O.MR_T2.54515.mha: a second t2 file beside "
        "VSD.Brain.XX.O.MR_T2.9/VSD.Brain.XX.O.MR_T2.9.mha; one; remove one of them"
    ]


def test_brats_2018_as_it_unpacks(tmp_path: Path) -> None:
    root = tmp_path / "MICCAI_BraTS_2018_Data_Training"
    make(root / "HGG", "Brats18_CBICA_AAB_1")
    make(root / "LGG", "Brats18_TCIA10_109_1")
    touch(root, "survival_data.csv")
    for start in (tmp_path, root):
        dataset = layouts.find(start)
        assert dataset.layout.name == "brats2017-2019"
        assert [(p.subject, p.grade) for p in dataset.patients] == [
            ("Brats18_CBICA_AAB", "HGG"),
            ("Brats18_TCIA10_109", "LGG"),
        ]
        assert dataset.patients[0].folder == root / "HGG" / "Brats18_CBICA_AAB_1"
    assert [p.grade for p in layouts.find(root / "LGG").patients] == ["LGG"]


def test_a_name_in_both_grades_is_refused(tmp_path: Path) -> None:
    for grade in ("HGG", "LGG"):
        make(tmp_path / grade, "Brats17_TCIA_1_1")
    with pytest.raises(
        BadInput, match=r"two patients of the name Brats17_TCIA_1_1: .*HGG.* and .*LGG.*; a name of its"
    ):
        layouts.find(tmp_path)
    assert len(layouts.find(tmp_path / "HGG").patients) == 1


def test_2023_and_2024_cannot_be_told_apart(tmp_path: Path) -> None:
    for time in ("000", "001"):
        make(tmp_path, f"BraTS-GLI-00005-{time}", GLIOMA, dash="-")
    with pytest.raises(BadInput) as refused:
        layouts.find(tmp_path)
    assert str(refused.value) == (
        f"data.layout: auto, and the files in {tmp_path} are named as in both brats2023 and brats2024, whose labels "
        "differ; one of them: brats2023, or brats2024, where 4 is resection cavity; "
        "--set data.layout=brats2023, or --set data.layout=brats2024"
    )
    for name in ("brats2023", "brats2024"):
        dataset = layouts.find(tmp_path, name)
        assert dataset.layout.name == name and {p.subject for p in dataset.patients} == {"BraTS-GLI-00005"}
        assert dataset.patients[0].images["flair"].path.name == "BraTS-GLI-00005-000-t2f.nii.gz"
        # a trained model settles it
        assert layouts.find(tmp_path, like=layouts.layouts()[name]) == dataset


def test_a_model_of_other_labels_does_not_hide_what_the_data_are(tmp_path: Path) -> None:
    make(tmp_path, "BraTS2021_00000")
    assert layouts.find(tmp_path, like=layouts.layouts()["msd-task01"]).layout.name == "brats2021"
    assert layouts.find(tmp_path, like=layouts.layouts()["brats2020"]).layout.name == "brats2021"
    make(tmp_path / "older", "BraTS20_Training_355")  # whose truth only its own layout knows
    assert layouts.find(tmp_path / "older", like=layouts.layouts()["brats2021"]).layout.name == "brats2020"


def test_the_decathlon(tmp_path: Path) -> None:
    root = tmp_path / "Task01_BrainTumour"
    touch(root, "dataset.json", "imagesTr/BRATS_001.nii.gz", "imagesTr/._BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz")
    touch(root, "imagesTr/BRATS_002.nii.gz", "labelsTr/._BRATS_001.nii.gz", "imagesTs/BRATS_485.nii.gz")
    for start in (tmp_path, root):
        dataset = layouts.find(start)
        assert dataset.layout.name == "msd-task01"
        assert [p.name for p in dataset.patients] == ["BRATS_001", "BRATS_002"]
        first = dataset.patients[0]
        image = root / "imagesTr" / "BRATS_001.nii.gz"
        assert first.images == {name: Source(image, index) for index, name in enumerate(("flair", "t1", "t1c", "t2"))}
        assert first.truth == root / "labelsTr" / "BRATS_001.nii.gz" and dataset.patients[1].truth is None
        assert first.folder == root and first.expected["truth"] == "labelsTr/BRATS_001.nii.gz"
    test = layouts.find(root / "imagesTs", like=dataset.layout)
    assert test.layout.name == "msd-task01-test" and [p.name for p in test.patients] == ["BRATS_485"]


def test_the_sample(brats2015: Path) -> None:
    training, validation = layouts.split(brats2015, DataConfig(), 1)
    assert training.layout.name == "deepmedic2015"
    assert training.modalities() == ("flair", "t1c")
    assert [patient.name[-6:] for patient in validation.patients] == ["0003_1", "0004_1"]
    assert validation.patients[0].subject == "brats_2013_pat0003"
    assert all(patient.mask is not None for patient in training.patients)


def test_one_patient_s_own_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "BraTS2021_00000")
    (patient,) = layouts.find(tmp_path / "BraTS2021_00000").patients
    assert patient.name == "BraTS2021_00000" and patient.folder == tmp_path / "BraTS2021_00000"
    monkeypatch.chdir(tmp_path / "BraTS2021_00000")
    (here,) = layouts.find(Path()).patients
    assert here.name == "BraTS2021_00000" and here.images["t2"].path.is_file()


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    make(tmp_path / "store", "BraTS2021_00000")
    data = tmp_path / "data"
    data.mkdir()
    (data / "BraTS2021_00000").symlink_to(tmp_path / "store" / "BraTS2021_00000")
    (data / "BraTS2021_00000" / "again").symlink_to(data)
    with pytest.raises(BadInput, match="two patients of the name"):  # found again inside itself: said, not hung up
        layouts.find(data)
    (data / "BraTS2021_00000" / "again").unlink()
    assert len(layouts.find(data).patients) == 1


def test_channels(tmp_path: Path) -> None:
    make(tmp_path, "a", ("flair", "t1ce", "seg"))
    make(tmp_path, "b", ("flair", "t2", "seg"))
    dataset = layouts.find(tmp_path)
    assert layouts.channels((dataset,), ()) == ("flair", "t1c", "t2")
    assert layouts.channels((dataset,), ("t2", "flair")) == ("t2", "flair")
    with pytest.raises(BadInput, match=r"data.modalities: 't1ce'; some of flair, t1, t1c, t2"):
        layouts.channels((dataset,), ("t1ce",))


def test_the_folders_above_count_too(tmp_path: Path) -> None:
    make(tmp_path / "HGG", "Brats18_CBICA_AAB_1")
    (patient,) = layouts.find(tmp_path / "HGG" / "Brats18_CBICA_AAB_1").patients
    assert patient.grade == "HGG" and patient.folder == tmp_path / "HGG" / "Brats18_CBICA_AAB_1"
    make(tmp_path / "LGG" / "imagesTr", "BraTS2021_1")  # not a patient's folder of 2018
    assert layouts.find(tmp_path / "LGG").layout.name == "brats2021"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        layouts.find(tmp_path / "absent")
    with pytest.raises(BadInput, match="0 files, none named as in a known layout; BRATS 2013: "):
        layouts.find(tmp_path)
    touch(tmp_path, "train/x/y.nii.gz", "a/b/c/d/BraTS2021_1/BraTS2021_1_t1.nii.gz")  # the last too deep
    with pytest.raises(BadInput, match=r"none named .* or describe your names in a file for data\.layout"):
        layouts.find(tmp_path)
    with pytest.raises(BadInput, match=r"data.layout: 'brats2022'; auto, brats2013, .* or a TOML file of one"):
        layouts.find(tmp_path, "brats2022")
    with pytest.raises(BadInput, match="none named as in a known layout; BraTS 2021: BraTS2021_00000"):
        layouts.find(tmp_path, "brats2021")
