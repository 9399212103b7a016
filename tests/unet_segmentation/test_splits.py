from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime.exit_codes import BadInput
from unet_segmentation import cli, layouts, phantom, splits
from unet_segmentation.config import DataConfig
from unet_segmentation.patients import Patient


def patient(name: str, subject: str = "", grade: str = "") -> Patient:
    return Patient(name, Path(name), {}, None, None, {}, subject or name, grade)


@st.composite
def cohorts(draw: st.DrawFn) -> list[Patient]:
    """Persons with one to four time points each."""
    grades = draw(st.sampled_from([("",), ("HGG", "LGG"), ("HGG", "LGG", "")]))
    people = draw(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(grades)), min_size=2, max_size=40))
    return [
        patient(f"p{person:02d}_{time}", f"p{person:02d}", grade)
        for person, (times, grade) in enumerate(people)
        for time in range(times)
    ]


def people_in(patients: list[Patient]) -> Counter[str]:
    return Counter(patient.subject for patient in patients)


@settings(deadline=None)
@given(cohorts(), st.integers(2, 10), st.integers(0, 5), st.randoms())
def test_folds(patients: list[Patient], count: int, seed: int, random: Any) -> None:
    people = people_in(patients)
    if count > len(people):
        with pytest.raises(BadInput, match=f"folds: {count}; 2 to {len(people)}: every fold holds out one person"):
            splits.folds(patients, count, seed)
        return
    folds = splits.folds(patients, count, seed)
    shuffled = random.sample(patients, len(patients))
    assert splits.folds(shuffled, count, seed) == folds
    assert sorted(name for fold in folds for name in fold) == sorted(p.name for p in patients)
    where = {name: number for number, fold in enumerate(folds) for name in fold}
    assert len({(p.subject, where[p.name]) for p in patients}) == len(people)  # nobody is split
    sizes = [len(fold) for fold in folds]
    assert min(sizes) > 0
    largest = max(people.values())
    assert max(sizes) - min(sizes) <= largest
    grade = {p.name: p.grade for p in patients}
    for wanted in set(grade.values()):
        share = [sum(grade[name] == wanted for name in fold) for fold in folds]
        assert max(share) - min(share) <= 2 * largest
        if largest == 1:
            assert max(share) - min(share) <= 1 + (len(set(grade.values())) > 2)


@settings(deadline=None)
@given(cohorts(), st.floats(0.01, 0.9), st.integers(0, 5))
def test_a_hold_out(patients: list[Patient], share: float, seed: int) -> None:
    held = set(splits.hold_out(patients, share, seed))
    inside = {p.subject for p in patients if p.name in held}
    outside = {p.subject for p in patients if p.name not in held}
    assert inside and outside and not inside & outside
    largest = max(people_in(patients).values())
    assert abs(len(held) - share * len(patients)) <= largest
    assert splits.hold_out(patients[::-1], share, seed) == tuple(sorted(held))


def test_the_seed_decides() -> None:
    patients = [patient(f"p{number}") for number in range(20)]
    assert len({splits.folds(patients, 5, seed) for seed in range(5)}) == 5
    assert len({splits.hold_out(patients, 0.2, seed) for seed in range(5)}) == 5
    assert [len(splits.hold_out(patients, share, 1)) for share in (0.05, 0.2, 0.5)] == [1, 4, 10]


def test_the_grades_are_proportional() -> None:
    patients = [patient(f"p{number:03d}", grade="LGG" if number % 5 == 0 else "HGG") for number in range(100)]
    grades = {p.name: p.grade for p in patients}
    for fold in splits.folds(patients, 5, 1):
        assert Counter(grades[name] for name in fold) == {"HGG": 16, "LGG": 4}
    assert Counter(grades[name] for name in splits.hold_out(patients, 0.2, 1)) == {"HGG": 16, "LGG": 4}


def test_one_person_cannot_be_held_out() -> None:
    with pytest.raises(BadInput, match="data: 2 patients of 1 person; 2 persons or more: one is held out"):
        splits.hold_out([patient("a_1", "a"), patient("a_2", "a")], 0.5, 1)


COHORT = [patient("a_1", "a", "HGG"), patient("a_2", "a", "HGG"), patient("b_1", "b"), patient("c_1", "c")]


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    folds = splits.folds(COHORT, 2, 3)
    splits.write(path, COHORT, folds, 3)
    held = json.loads(path.read_text())
    assert held["format"] == 1 and held["seed"] == 3
    assert held["folds"] == [{"validation": list(fold)} for fold in folds]
    assert held["patients"]["a_2"] == {"subject": "a", "grade": "HGG"}
    assert splits.read(path, COHORT[::-1]) == folds


def made(*folds: list[str], **more: Any) -> str:
    return json.dumps({"format": 1, "folds": [{"validation": names} for names in folds], **more})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no folds .JSONDecodeError"),
        ("[]", "no folds .TypeError"),
        ("{}", "no folds .KeyError: 'folds'"),
        (made(["a_1", "a_2", "b_1", "c_1"]), "no folds .ValueError: not of the form"),
        (made(["a_1", "a_2", "b_1", "c_1"], []), "not of the form"),
        (made(["a_1", "a_2"], ["b_1", "c_1"], format=2), "not of the form"),
        (json.dumps({"format": 1, "folds": [{"validation": [1]}, {"validation": [2]}]}), "not of the form"),
        (made(["a_1", "a_2"], ["b_1", "c_1", "d_1"]), "d_1, not in the data; patients of the data; write it again"),
        (made(["a_1", "a_2"], ["b_1", "c_1", "d", "e"]), "d and 1 more, not in the data"),
        (made(["a_1", "a_2"], ["b_1"]), "c_1 of the data in no fold; every patient in one"),
        (made(["a_1", "a_2", "b_1"], ["b_1", "c_1"]), "b_1 more than once; every patient in one fold"),
        (made(["a_1", "b_1"], ["a_2", "c_1"]), "a_1 in fold 0 and a_2 in fold 1, one person"),
        (
            made(["a_1", "a_2", "b_1"], ["c_1"], patients={"b_1": {"subject": "x"}, "c_1": {"subject": "x"}}),
            "b_1 in fold 0 and c_1 in fold 1, one person",
        ),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as refused:
        splits.read(path, COHORT)
    assert f"python -m unet_segmentation split --data DIR --out {path}" in refused.value.mend


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no folds \(FileNotFoundError"):
        splits.read(tmp_path / "absent.json", COHORT)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["a_1", "b_1"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["format", "folds", "patients", "validation", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_whatever_a_file_holds_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, held: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_text(json.dumps(held))
    with pytest.raises(BadInput):
        splits.read(path, COHORT)


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six examinations of three persons, as in BRATS 2015."""
    folder = tmp_path_factory.mktemp("persons") / "BRATS2015_Training"
    phantom.write(folder, {"": 6}, 1, "brats2015", (32, 32, 32))
    return folder


def test_the_command_and_what_train_makes_of_it(persons: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "splits.json"
    words = ["split", "--data", str(persons), "--out", str(path), "--folds", "3", "--set", "train.seed=4"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert sorted(line[11:] for line in said[:3]) == ["2 patients of 1 person: 2 HGG"] * 2 + [
        "2 patients of 1 person: 2 LGG"
    ]
    assert said[3] == f"train on   --set data.splits={path} --set data.fold=0, and so on to 2"
    everyone = {p.name for p in layouts.find(persons).patients}
    seen = []
    for fold in range(3):
        training, validation = layouts.split(persons, DataConfig(splits=str(path), fold=fold), seed=1)
        assert layouts.split(persons, DataConfig(folds=3, fold=fold), seed=4) == (training, validation)
        assert {p.name for p in (*training.patients, *validation.patients)} == everyone
        assert not {p.subject for p in training.patients} & {p.subject for p in validation.patients}
        seen += [p.name for p in validation.patients]
    assert sorted(seen) == sorted(everyone)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"folds": 3, "fold": 3}, "data.fold: 3; 0 to 2, as data.folds has; --set data.fold=0"),
        ({"fold": 1}, "data.fold: 1; 0, as there are no folds; set data.folds or data.splits"),
        ({"folds": 4}, "folds: 4; 2 to 3: every fold holds out one person or more"),
        ({"folds": 1}, "folds: 1; 2 to 3"),
        ({"splits": "absent.json"}, "absent.json: no folds"),
    ],
)
def test_folds_that_are_not_there(persons: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        layouts.split(persons, DataConfig(**config), 1)


def test_folders_say_already_who_is_held_out(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["split", "--data", str(phantoms), "--out", str(tmp_path / "s.json")]) == 65
    assert "has train/ and validation/; patients in one folder" in capsys.readouterr().err
    for config in (DataConfig(folds=2), DataConfig(splits="s.json")):
        with pytest.raises(BadInput, match=r"data\.(folds|splits): .* has train/ and validation/; one way to say"):
            layouts.split(phantoms, config, 1)
