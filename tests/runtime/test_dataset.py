"""dataset.json: what is wrong with it is said by field."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.runtime import dataset

HASH = "0123456789abcdef" * 4
PATIENT: dict[str, Any] = {
    "subject": "p1",
    "grade": "",
    "shape": [240, 240, 155],
    "spacing_mm": [1.0, 1, 0.5],
    "brain_voxels": 7,
    "label_voxels": {"1": 0},
    "synthetic": False,
    "paths": ["train/p1/p1_flair.nii.gz"],
    "files": {"p1_flair.nii.gz": HASH},
}
GOOD: dict[str, Any] = {
    "format": 1,
    "kind": "files",
    "sha256": HASH,
    "layout": "brats2021",
    "convention": {"name": "brats2017-2021"},
    "modalities": ["flair"],
    "synthetic": False,
    "patients": {"p1": PATIENT, "p2": {**PATIENT, "paths": ["p2/p2_flair.nii.gz"]}},
    "parts": {"training": ["p1"], "validation": ["p2"]},
}
GONE = object()


def changed(path: str, value: object) -> dict[str, Any]:
    """GOOD with another value at a path of keys, or without it."""
    held = copy.deepcopy(GOOD)
    *above, last = path.split("/")
    place: Any = held
    for key in above:
        place = place[key]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return held


def test_a_sound_one_comes_back_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(GOOD))
    assert dataset.read(tmp_path / "dataset.json") == GOOD


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("parts", None),
        ("parts/validation", []),
        ("patients/p1/label_voxels", GONE),
        ("patients/p1/paths", GONE),
        ("patients/p1/warnings", ["strange"]),
        ("kind", "prepared"),
        ("manifest_sha256", HASH),
    ],
)
def test_what_may_differ(path: str, value: object) -> None:
    dataset.check(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", 2, "format: 2, wanted 1"),
        ("format", True, "format: true, wanted 1"),
        ("kind", "images", 'kind: "images", wanted files or prepared'),
        ("sha256", "abc", 'sha256: "abc", wanted 64 hexadecimal digits'),
        ("layout", "", 'layout: "", wanted a name'),
        ("convention", "brats2017-2021", 'convention: "brats2017-2021", wanted an object'),
        ("modalities", [], "modalities: [], wanted different names"),
        ("modalities", ["flair", "flair"], 'modalities: ["flair", "flair"], wanted different names'),
        ("synthetic", 0, "synthetic: 0, wanted true or false"),
        ("synthetic", GONE, "synthetic: null, wanted true or false"),
        ("patients", {}, "patients: {}, wanted an object with a key for each patient"),
        ("patients/p1", [], "patients.p1: [], wanted a name and an object"),
        ("patients/p1/subject", GONE, "patients.p1.subject: null, wanted a text"),
        ("patients/p1/grade", 4, "patients.p1.grade: 4, wanted a text"),
        ("patients/p1/shape", [240, 240], "patients.p1.shape: [240, 240], wanted 3 sides"),
        ("patients/p1/shape", [240, 240, 1.5], "patients.p1.shape: [240, 240, 1.5], wanted 3 sides"),
        ("patients/p1/spacing_mm", [1, 1, 0], "patients.p1.spacing_mm: [1, 1, 0], wanted 3 numbers above 0"),
        ("patients/p1/spacing_mm", [1, 1, float("nan")], "patients.p1.spacing_mm: [1, 1, NaN], wanted 3 numbers"),
        ("patients/p1/brain_voxels", 0, "patients.p1.brain_voxels: 0, wanted a whole number above 0"),
        ("patients/p1/label_voxels", {"1": -1}, 'label_voxels: {"1": -1}, wanted the number of voxels of each label'),
        ("patients/p1/synthetic", "no", 'patients.p1.synthetic: "no", wanted true or false'),
        ("patients/p1/synthetic", True, "synthetic: false, wanted true, as a patient is"),
        ("patients/p1/files", {}, "patients.p1.files: {}, wanted the SHA-256 of each file"),
        ("patients/p1/files", {"a": "b"}, 'patients.p1.files: {"a": "b"}, wanted the SHA-256 of each file'),
        ("patients/p1/paths", ["../a"], 'patients.p1.paths: ["../a"], wanted different relative paths without ..'),
        ("patients/p1/paths", ["/a"], 'patients.p1.paths: ["/a"], wanted different relative paths without ..'),
        ("patients/p1/paths", ["a//b"], 'patients.p1.paths: ["a//b"], wanted different relative paths without ..'),
        ("patients/p1/paths", ["a", "a"], 'patients.p1.paths: ["a", "a"], wanted different relative paths'),
        ("patients/p2/paths", PATIENT["paths"], "a file of p1 too; wanted one patient's"),
        ("parts", {"training": ["p1"]}, 'parts: {"training": ["p1"]}, wanted null, or the names of'),
        ("parts/training", ["p9"], 'parts.training: "p9", wanted one of the patients'),
        ("parts/training", ["p1", "p2"], 'parts: "p2" in both, wanted every patient in one'),
    ],
)
def test_a_wrong_field_is_named(path: str, value: object, said: str) -> None:
    with pytest.raises(dataset.Damaged) as raised:
        dataset.check(changed(path, value))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"format": 1, "format": 1}', "'format' twice in one object"),
        (b"[]", "[], wanted an object"),
    ],
)
def test_what_is_no_json_of_ours(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(dataset.Damaged) as raised:
        dataset.read(tmp_path / "dataset.json")
    assert said in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(dataset.Damaged, match="cannot be read"):
        dataset.read(tmp_path / "dataset.json")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PLACES = [*GOOD, *(f"patients/p1/{key}" for key in PATIENT), "patients/p1", "parts/training"]


@given(path=st.sampled_from(PLACES), value=ANYTHING)
def test_whatever_it_holds_it_is_sound_or_named(path: str, value: object) -> None:
    with contextlib.suppress(dataset.Damaged):
        dataset.check(changed(path, value))
