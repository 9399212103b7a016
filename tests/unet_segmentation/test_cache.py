"""The folder of prepared patients, made of real files: whole or absent, and checked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unet_segmentation.caching import MODALITIES, PATIENT, contents, prepare
from unet_segmentation import cache, cli, entry, layouts, verify
from unet_segmentation import prepare as preparing
from unet_segmentation.cache import Result
from unet_segmentation.layouts import Dataset


def test_what_lies_there_is_what_was_prepared(phantoms: Path, filled: Path) -> None:
    dataset = layouts.find(phantoms / "train")
    for stored, patient in zip(prepare(phantoms, filled).prepared, dataset.patients, strict=True):
        checked = verify.inspect(patient, MODALITIES, dataset.layout.convention, need_truth=True).checked
        assert checked is not None
        made = preparing.prepare(patient.name, checked.images, checked.inside, checked.truth, dataset.layout.convention)
        assert (stored.name, stored.box, stored.shape) == (made.name, made.box, made.shape)
        assert stored.spacing == made.spacing == (4.8, 4.666667, 5.5)
        assert stored.images.dtype == np.float16 and np.array_equal(stored.images, made.images)
        assert stored.classes is not None and made.classes is not None
        assert stored.classes.dtype == np.uint8 and np.array_equal(stored.classes, made.classes)
        assert stored.places.keys() == made.places.keys() == {1, 2, 3}
        for value, where in stored.places.items():
            assert where.dtype == np.uint16 and np.array_equal(where, made.places[value])
            assert (stored.classes[tuple(where.T)] == value).all()
        assert stored.intensities == made.intensities
        assert not stored.images.flags.writeable and not stored.images.flags.owndata
        # NumPy's own format, for whoever wants to look
        assert np.array_equal(np.load(filled / patient.name / entry.IMAGES, mmap_mode="r"), made.images)


def test_the_second_time_nothing_is_written(phantoms: Path, folder: Path, capsys: Any) -> None:
    def times() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in folder.glob("*/*")}

    before = times()
    result = prepare(phantoms, folder)
    assert result.kept == 2 and times() == before
    out, err = capsys.readouterr()
    assert out == f"prepared   {result}\n" and str(result).startswith("2 patients, ")
    assert str(result).endswith(" MB/s, 2 of them were there already") and "made anew" not in err
    fresh = verify.verify(layouts.find(phantoms / "train"), MODALITIES, need_truth=True)
    assert verify.dataset_hash(result.reports) == verify.dataset_hash(fresh)
    assert [report.facts for report in result.reports] == [report.facts for report in fresh]
    assert [report.warnings for report in result.reports] == [report.warnings for report in fresh]
    assert all(report.checked is None for report in result.reports)


def test_the_line_at_the_end() -> None:
    patients: list[Any] = [object()] * 4
    assert str(Result(patients, [], [], 3, 57_000_000, 57 / 31)) == (
        "4 patients, 57 MB, 31 MB/s, 3 of them were there already"
    )
    assert str(Result(patients[:1], [], [], 0, 14_000_000, 0.5)) == "1 patient, 14 MB, 28 MB/s"
    assert str(Result(patients, [], [], 1, 0, 0.0)) == "4 patients, 0 MB, 0 MB/s, 1 of them was there already"


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def replace_with_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: truncate(place / entry.IMAGES), "images.npy has "),
        (lambda place: truncate(place / entry.CLASSES), "classes.npy has "),
        (lambda place: flip(place / entry.IMAGES), "images.npy is not what was written"),
        (lambda place: flip(place / entry.IMAGES, 20), "images.npy is not what was written"),
        (lambda place: flip(place / entry.PLACES), "places.npy is not what was written"),
        (lambda place: (place / entry.CLASSES).unlink(), "classes.npy is unreadable"),
        (lambda place: (place / entry.ABOUT).unlink(), "about.json is unreadable"),
        (lambda place: (place / entry.ABOUT).write_text("[1]"), "about.json is unreadable"),
        (lambda place: (place / entry.ABOUT).write_text("{}"), "about.json is unreadable"),
        (lambda place: flip(place / entry.ABOUT, 40), "about.json is "),
        (replace_with_file, "about.json is unreadable"),
    ],
    ids=[
        "images-torn",
        "classes-torn",
        "images-flipped",
        "header-flipped",
        "places-flipped",
        "classes-gone",
        "about-gone",
        "about-a-list",
        "about-empty",
        "about-flipped",
        "a-file-instead",
    ],
)
def test_a_damaged_entry_is_made_anew(
    phantoms: Path, filled: Path, folder: Path, damage: Callable[[Path], None], said: str, capsys: Any
) -> None:
    damage(folder / PATIENT)
    assert prepare(phantoms, folder).kept == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "made anew" in line]
    assert len(lines) == 1 and lines[0].startswith(f"{folder / PATIENT}: {said}")
    assert contents(folder) == contents(filled)
    assert prepare(phantoms, folder).kept == 2
    assert {path.name for path in folder.glob(".*")} == {".lock"}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_about_json_is_noticed(folder: Path, place: float, bit: int) -> None:
    file = folder / PATIENT / entry.ABOUT
    whole = file.read_bytes()
    entry.read(file.parent)
    changed = bytearray(whole)
    changed[int(place * len(whole))] ^= 1 << bit
    file.write_bytes(changed)
    try:
        with pytest.raises(entry.Damaged):
            entry.read(file.parent)
    finally:
        file.write_bytes(whole)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([entry.IMAGES, entry.CLASSES, entry.PLACES]), kept=st.floats(0, 1, exclude_max=True))
def test_any_torn_array_is_noticed(folder: Path, name: str, kept: float) -> None:
    file = folder / PATIENT / name
    about = entry.read(file.parent)
    entry.check(file.parent, about)
    whole = file.read_bytes()
    os.truncate(file, int(kept * len(whole)))
    try:
        with pytest.raises(entry.Damaged):
            entry.check(file.parent, about)
    finally:
        file.write_bytes(whole)


def stale(lines: str) -> str:
    return next(line for line in lines.splitlines() if "made anew" in line)


def test_other_settings_are_not_mixed(phantoms: Path, folder: Path, capsys: Any) -> None:
    straight = prepare(phantoms, folder).prepared[0].images
    turned = prepare(phantoms, folder, ("t1c", "flair"))
    assert turned.kept == 0 and "prepared with other settings" in stale(capsys.readouterr().err)
    assert np.array_equal(turned.prepared[0].images[..., ::-1], straight)
    dataset = layouts.find(phantoms / "train")
    other = Dataset(dataset.folder, layouts.layouts()["brats2023"], dataset.patients)
    assert other.layout.convention != dataset.layout.convention
    result = cache.prepare(other, ("t1c", "flair"), folder, need_truth=True)
    assert result.kept == 0  # label 4 is nothing there
    assert not result.prepared and all(report.faults for report in result.reports)


def test_a_changed_file_is_read_again(data: Path, folder: Path, capsys: Any) -> None:
    assert prepare(data, folder).kept == 2  # a copy of the data, elsewhere
    (data / "train" / PATIENT / f"{PATIENT}_flair.nii.gz").write_bytes(
        (data / "train" / "Phantom_00002" / "Phantom_00002_flair.nii.gz").read_bytes()
    )
    capsys.readouterr()
    result = prepare(data, folder)
    assert result.kept == 1
    assert f"{PATIENT}_flair.nii.gz has changed" in stale(capsys.readouterr().err)
    other = result.reports[1].files["Phantom_00002_flair.nii.gz"]
    assert result.reports[0].files[f"{PATIENT}_flair.nii.gz"] == other


def test_a_file_of_another_time_is_read_and_compared(data: Path, folder: Path) -> None:
    file = data / "train" / PATIENT / f"{PATIENT}_seg.nii.gz"
    os.utime(file, ns=(1, 1))
    before = (folder / PATIENT / entry.IMAGES).stat().st_mtime_ns
    assert prepare(data, folder).kept == 2
    assert entry.read(folder / PATIENT)["sources"]["truth"]["mtime_ns"] == 1
    assert (folder / PATIENT / entry.IMAGES).stat().st_mtime_ns == before
    flip(file)  # in gzip's own length field: same size
    result = prepare(data, folder)
    assert result.kept == 1 and "unreadable" in str(result.reports[0].faults[0])


def test_a_truth_that_comes_or_goes(data: Path, folder: Path, capsys: Any) -> None:
    file = data / "train" / PATIENT / f"{PATIENT}_seg.nii.gz"
    truth = file.read_bytes()
    file.unlink()
    dataset = layouts.find(data / "train")
    needed = cache.prepare(dataset, MODALITIES, folder, need_truth=True)
    assert [bool(report.faults) for report in needed.reports] == [True, False] and len(needed.prepared) == 1
    without = cache.prepare(dataset, MODALITIES, folder, need_truth=False)
    assert without.kept == 1 and without.prepared[0].classes is None and not without.prepared[0].places
    assert "prepared from other files" in stale(capsys.readouterr().err)
    assert cache.prepare(dataset, MODALITIES, folder, need_truth=True).reports[0].faults
    assert cache.prepare(dataset, MODALITIES, folder, need_truth=False).kept == 2
    file.write_bytes(truth)
    again = prepare(data, folder)
    assert again.kept == 1 and again.prepared[0].classes is not None


def test_a_patient_at_fault_leaves_no_entry_and_the_others_theirs(data: Path, tmp_path: Path) -> None:
    (data / "train" / PATIENT / f"{PATIENT}_t1ce.nii.gz").write_bytes(b"torn")
    result = prepare(data, tmp_path / "cache")
    assert [bool(report.faults) for report in result.reports] == [True, False]
    assert [patient.name for patient in result.prepared] == ["Phantom_00002"]
    assert not (tmp_path / "cache" / PATIENT).exists()


@pytest.mark.parametrize("name", ["HGG/pat 1", ".hidden", "..", "Ä%2F", "a+b=c"])
def test_any_name_of_a_patient(phantoms: Path, tmp_path: Path, name: str) -> None:
    found = layouts.find(phantoms / "train")
    patient = type(found.patients[0])(**{**vars(found.patients[0]), "name": name})
    dataset = Dataset(found.folder, found.layout, (patient,))
    for kept in (0, 1):
        result = cache.prepare(dataset, MODALITIES, tmp_path / "cache", need_truth=True)
        assert result.kept == kept and result.prepared[0].name == name and result.prepared[0].images.size
    assert len([path for path in (tmp_path / "cache").iterdir() if path.name[0] != "."]) == 1


def test_the_command(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["prepare", "--data", str(phantoms), "--out", str(tmp_path / "cache")]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert out.count("prepared   ") == 2 and f"train with --set data.cache={tmp_path}/cache" in out
    found = json.loads((tmp_path / "cache" / "fingerprint.json").read_text())
    assert found["patients"] == 3 and list(found["modalities"]) == ["flair", "t1", "t1c", "t2"]
    assert found["shapes"] == [{"xyz": [40, 48, 32], "patients": 3}]
    assert cli.main([*words, "--set", "data.modalities=['dwi']"]) == 65
    (Path(shutil.copytree(phantoms, tmp_path / "bad")) / "train" / PATIENT / f"{PATIENT}_t2.nii.gz").unlink()
    capsys.readouterr()
    assert cli.main(["prepare", "--data", str(tmp_path / "bad"), "--out", str(tmp_path / "other")]) == 65
    assert f"{PATIENT}/{PATIENT}_t2.nii.gz: missing; the t2 image" in capsys.readouterr().err
    assert not (tmp_path / "other" / "fingerprint.json").exists()


def test_a_fault_of_ours_names_the_patient(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "normalised", lambda *words: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        prepare(phantoms, tmp_path / "cache")
    assert caught.value.__notes__ == [f"while preparing {PATIENT}"]
