"""Training and validation told apart, and layouts that a user describes; the files here are empty."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime.exit_codes import BadInput
from tests.unet_segmentation.empty_files import GLIOMA, make, touch
from unet_segmentation import layouts, naming
from unet_segmentation.config import DataConfig
from unet_segmentation.layouts import Layout


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
