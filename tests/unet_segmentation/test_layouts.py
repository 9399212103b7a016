"""Finding patients by the names of their files; the files here are empty, those of test_phantom.py are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime.exit_codes import BadInput
from unet_segmentation import layouts, naming
from unet_segmentation.config import DataConfig
from unet_segmentation.layouts import Layout, Source

BRATS = ("flair", "t1", "t1ce", "t2", "seg")
GLIOMA = ("t2f", "t1n", "t1c", "t2w", "seg")


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def make(folder: Path, patient: str, names: tuple[str, ...] = BRATS, ending: str = ".nii.gz", dash: str = "_") -> None:
    touch(folder, *(f"{patient}/{patient}{dash}{name}{ending}" for name in names))


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
    with pytest.raises(BadInput, match="1 patient of 1 person; 2 persons or more: one is held out"):
        layouts.split(tmp_path, DataConfig(), 1)


def test_train_and_validation_must_fit(tmp_path: Path) -> None:
    make(tmp_path / "train", "a")
    make(tmp_path / "validation", "a")
    with pytest.raises(BadInput, match="validation: a, which is in train/ too; patients never trained on; remove a"):
        layouts.split(tmp_path, DataConfig(), 1)
    make(tmp_path / "train", "BraTS20_1")
    make(tmp_path / "train", "BraTS20_2")
    (tmp_path / "validation" / "a").rename(tmp_path / "validation" / "BraTS20_3")
    (tmp_path / "validation" / "BraTS20_3" / "a_seg.nii.gz").rename(
        tmp_path / "validation" / "BraTS20_3" / "BraTS20_3_t1.nii.gz"
    )
    with pytest.raises(BadInput, match=r"train/ is brats2021, validation/ brats2020; one layout"):
        layouts.split(tmp_path, DataConfig(), 1)


def test_train_and_validation_share_no_person(tmp_path: Path) -> None:
    for part, time in (("train", "000"), ("validation", "001")):
        make(tmp_path / part, f"BraTS-GLI-00005-{time}", GLIOMA, dash="-")
    with pytest.raises(BadInput, match="BraTS-GLI-00005-001, the same person as BraTS-GLI-00005-000 in train/"):
        layouts.split(tmp_path, DataConfig(layout="brats2023"), 1)


MINE = """
modalities = { t2 = "imagesTr/{patient}_0000", adc = "imagesTr/{patient}_0001" }
truth = "labelsTr/{patient}"

[convention]
labels = { 1 = "prostate", 2 = "tumour" }
regions = { organ = [1, 2], tumour = [2] }
"""


def test_a_layout_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "prostate.toml").write_text(MINE)
    touch(tmp_path, "data/imagesTr/p1_0000.nii.gz", "data/imagesTr/p1_0001.nii.gz", "data/labelsTr/p1.nii.gz")
    dataset = layouts.find(tmp_path / "data", str(tmp_path / "prostate.toml"))
    assert dataset.layout.name == "prostate" and dataset.modalities() == ("t2", "adc")
    assert dataset.layout.convention.name == "prostate" and dataset.layout.convention.paint == {"organ": 1, "tumour": 2}
    assert dataset.layout.about == "prostate: imagesTr/{patient}_0000.nii.gz"
    (patient,) = dataset.patients
    assert patient.name == "p1" and patient.truth == tmp_path / "data" / "labelsTr" / "p1.nii.gz"
    # and a model that holds it needs no file
    held = Layout.from_dict("prostate", json.loads(json.dumps(dataset.layout.as_dict())), "model")
    assert layouts.find(tmp_path / "data", like=held) == dataset


@pytest.mark.parametrize("name", layouts.layouts())
def test_a_layout_survives_json(name: str) -> None:
    layout = layouts.layouts()[name]
    assert Layout.from_dict(name, json.loads(json.dumps(layout.as_dict())), "model") == layout


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(BadInput, match=r"mine.toml: cannot be read .No such file"):
        naming.named(str(path))
    path.write_text("truth = {")
    with pytest.raises(BadInput, match=r"mine.toml: not TOML"):
        naming.named(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(BadInput, match=r"mine.toml: not TOML"):
        naming.named(str(path))


def mine(**changes: Any) -> dict[str, Any]:
    held = {"modalities": {"t2": "{patient}/t2", "adc": "{patient}/adc"}, "convention": "brats2023", **changes}
    return {key: value for key, value in held.items() if value is not None}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("x", "mine: 'x'; a table"),
        (mine(colour=1), "mine: colour: not a key; about, channels, convention, endings, "),
        (mine(modalities=None), r"mine: modalities: missing; names of images and of their files, such as \{ t2 = "),
        (mine(modalities=[]), r"mine: modalities: \[\]"),
        (mine(modalities={"truth": "{patient}/x"}), "mine: modalities: 'truth'; letters, digits, - and _; not truth"),
        (mine(modalities={"a b": "{patient}/x"}), "mine: modalities: 'a b'"),
        (mine(modalities={"t2": ""}), "mine: modalities.t2: ''; names of images"),
        (mine(modalities={"t2": 2}), "mine: modalities.t2: 2; a text or a list of texts"),
        (
            mine(modalities={"t2": "x/t2"}),
            r"mine: modalities.t2: 'x/t2'; a path with \{patient\} in it, from the folder",
        ),
        (mine(modalities={"t2": "/{patient}/t2"}), r"mine: modalities.t2: '/\{patient\}/t2'; a path"),
        (mine(modalities={"t2": "../{patient}/t2"}), "mine: modalities.t2: "),
        (mine(modalities={"t2": "{patient}//t2"}), "mine: modalities.t2: "),
        (mine(modalities={"t2": "{patient}/{modality}"}), "mine: modalities.t2: "),
        (mine(modalities={"t2": "{patient}/t2.nii.gz"}), "the name without .nii.gz; put it into endings"),
        (mine(truth="seg"), r"mine: truth: 'seg'; a path with \{patient\}"),
        (mine(mask=1), "mine: mask: 1; a text or a list"),
        (mine(truth="{grade}/{patient}/seg"), 'mine: truth: .*; grades, such as { HGG = "HGG" }; add grades'),
        (mine(grades=["HGG"]), r"mine: grades: \['HGG'\]; a table of texts"),
        (mine(grades={"HGG": 4}), "mine: grades: .*; a table of texts"),
        (mine(endings=[]), r"mine: endings: \[\]; some of .nii.gz, .nii, .mha"),
        (mine(endings=[".dcm"]), "mine: endings: '.dcm'; some of"),
        (mine(channels={"t2": 0}), "mine: channels: t2; a number for each of t2, adc"),
        (mine(channels={"t2": 0, "adc": -1}), "mine: channels: .*; numbers from 0"),
        (mine(channels={"t2": 0, "adc": True}), "mine: channels: .*; a table of numbers"),
        (
            mine(modalities={"a": "{patient}/x", "b": "{patient}/x"}, channels={"a": 1, "b": 1}),
            "mine: channels: .*; a channel of its own for each modality",
        ),
        (
            mine(modalities={"a": "{patient}/x", "b": "{patient}/x"}),
            "mine: modalities.b: the files of a; files of its own",
        ),
        (mine(patient="("), r"mine: patient: '\('; a regular expression"),
        (mine(subject=".+"), r"mine: subject: '.\+'; one group, the person; write for example"),
        (mine(about=3), "mine: about: 3; a text"),
        (mine(name="x"), r"mine: name: 'x'; a path with \{patient\}"),
        (mine(name="a/{patient}"), "mine: name: .*; the name of one file; remove / and"),
        (mine(grade_file={"file": "x.csv"}), "mine: grade_file: file; the keys file, patient, grade"),
        (mine(convention=None), "mine: convention: missing; one of brats2013-2015, .*, or a table of labels"),
        (mine(convention="brats2022"), "mine: convention: 'brats2022'; one of"),
        (mine(convention={"labels": {"1": "x"}}), "mine: convention.regions: missing"),
    ],
)
def test_a_layout_that_makes_no_sense(held: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Layout.from_dict("mine", held, "mine")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.lists(st.sampled_from(["{patient}", "{grade}", "*", "/", "x", ".", "..", "{", "}", ".nii", "["])).map(
    "".join
)
TEXTS = WORDS | st.lists(WORDS, max_size=2) | JSON
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "modalities": st.dictionaries(st.sampled_from(["a", "b", "truth"]), TEXTS, max_size=2) | JSON,
    "convention": st.sampled_from(["brats2023", "x"]) | JSON,
    "truth": TEXTS,
    "mask": TEXTS,
    "grades": st.dictionaries(st.sampled_from(["HG", "("]), st.text(max_size=2), max_size=2) | JSON,
    "channels": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(-1, 5), max_size=2) | JSON,
    "endings": st.lists(st.sampled_from([".nii", ".mha", "x"]), max_size=2) | JSON,
    "patient": st.sampled_from([".*", "(", "[a-z]+"]) | JSON,
    "subject": st.sampled_from(["(.+)_1", "(", ".+"]) | JSON,
    "name": TEXTS,
}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=KEYS))
def test_whatever_is_given_is_a_layout_or_refused(held: dict[str, Any]) -> None:
    try:
        layout = Layout.from_dict("x", held, "x")
    except BadInput:
        return
    grade = next(iter(layout.grades), "")
    for kind, templates in layout.templates.items():
        for template in templates:
            path = template.filled("p1", grade, "anything") + layout.endings[0]
            match = template.pattern.fullmatch(path)
            assert match and match["patient"] == "p1", kind
    assert layout.folders < layout.depth


@settings(deadline=None)
@given(st.text(max_size=40))
def test_whatever_a_file_holds_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(BadInput):
        naming.named(str(path))
