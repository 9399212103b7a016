"""Every fault is made in a real data set and must be named, by the command a person would use."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unet_segmentation import cli, layouts, phantom, verify

PATIENT = "Phantom_00002"


def change(path: Path, edit: Callable[[Any], Any], affine: Any = None) -> None:
    image = nibabel.load(path)
    values = edit(np.asarray(image.dataobj, np.float32).copy())
    nibabel.save(nibabel.Nifti1Image(values, image.affine if affine is None else affine), path)


def put(value: float) -> Callable[[Any], Any]:
    def edit(values: Any) -> Any:
        values[20, 24, 16] = value
        return values

    return edit


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum at the end of a .gz
    path.write_bytes(content)


def shifted(path: Path) -> None:
    affine = nibabel.load(path).affine.copy()
    affine[2, 3] += 1
    change(path, lambda values: values, affine)


FLAT = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)  # two axes along one line

FAULTS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("t1ce", Path.unlink, "missing; the t1c image; add "),
    ("seg", Path.unlink, "missing; the truth image; add "),
    (
        "t2",
        truncate,
        "unreadable (Compressed file ended before the end-of-stream marker was reached); a whole",
    ),
    ("t2", flip, "unreadable (CRC check failed"),
    ("t2", lambda path: path.write_bytes(b""), "unreadable ("),
    ("t2", lambda path: path.write_bytes(b"<html>404</html>" * 40), "unreadable ("),
    ("t2", lambda path: path.write_bytes(gzip.compress(b"hello" * 100)), "unreadable ("),
    ("t1", lambda path: change(path, lambda v: v[:, :, :-1]), "shape 40x48x31; 40x48x32 as Phantom_00002_flair.nii.gz"),
    ("t1", lambda path: change(path, lambda v: np.stack([v, v], -1)), "shape 40x48x32x2; one volume of three axes"),
    ("t1", shifted, "affine[2,3] = 1; 0 as Phantom_00002_flair.nii.gz"),
    ("t2", lambda path: change(path, lambda v: v, FLAT), "an affine of voxels of 0 mm3; millimetres"),
    ("seg", lambda path: change(path, put(np.nan)), "1 voxels that are NaN or infinite"),
    ("t1", lambda path: change(path, put(np.nan)), "1 voxels that are NaN or infinite"),
    ("t1", lambda path: change(path, put(np.inf)), "1 voxels that are NaN or infinite"),
    ("t1", lambda path: change(path, np.zeros_like), "the same value 0 in the whole brain"),
    (
        "seg",
        lambda path: change(path, put(3)),
        "label 3; 0, 1, 2, 4 (brats2017-2021); set data.layout to one with the labels of brats2013-2015 or brats2023",
    ),
    (
        "seg",
        lambda path: change(path, put(7)),
        "label 7; 0, 1, 2, 4 (brats2017-2021); set data.layout to the data set's",
    ),
    (
        "seg",
        lambda path: change(path, put(1.5)),
        "label 1.5; 0, 1, 2, 4 (brats2017-2021); resample with nearest neighbour",
    ),
    ("seg", lambda path: change(path, put(-1)), "label -1; 0, 1, 2, 4"),
]


@pytest.mark.parametrize(("kind", "damage", "said"), FAULTS, ids=[f"{k}-{said[:24]}" for k, _, said in FAULTS])
def test_a_fault_is_named(data: Path, kind: str, damage: Callable[[Path], Any], said: str, capsys: Any) -> None:
    damage(data / "train" / PATIENT / f"{PATIENT}_{kind}.nii.gz")
    assert cli.main(["verify", "--data", str(data)]) == 65
    out, err = capsys.readouterr()
    line = f"{PATIENT}/{PATIENT}_{kind}.nii.gz: {said}"
    assert line in out
    assert err.splitlines()[-1].startswith(line)
    assert "1 with faults" in out and "Traceback" not in err


def test_all_faults_are_listed_and_counted(data: Path, capsys: Any) -> None:
    for kind in ("t1", "t2"):
        truncate(data / "train" / PATIENT / f"{PATIENT}_{kind}.nii.gz")
    assert cli.main(["verify", "--data", str(data), "--json"]) == 65
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert [fault["file"][-9:] for fault in report["faults"]] == ["t1.nii.gz", "t2.nii.gz"]
    assert "(1 more: python -m unet_segmentation verify lists all)" in err.splitlines()[-1]


def test_a_brain_that_is_not_there(data: Path, capsys: Any) -> None:
    for kind in ("flair", "t1", "t1ce", "t2"):
        change(data / "train" / PATIENT / f"{PATIENT}_{kind}.nii.gz", np.zeros_like)
    assert cli.main(["verify", "--data", str(data)]) == 65
    assert "no voxel of brain" in capsys.readouterr().out


def test_labels_of_nearly_whole_numbers_are_taken(data: Path, capsys: Any) -> None:
    change(data / "train" / PATIENT / f"{PATIENT}_seg.nii.gz", lambda values: values * np.float32(1 - 1e-5))
    assert cli.main(["verify", "--data", str(data), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["patients"][PATIENT]["label_voxels"]
    assert min(counts.values()) > 0


def test_no_tumour_is_a_warning(data: Path, capsys: Any) -> None:
    change(data / "train" / PATIENT / f"{PATIENT}_seg.nii.gz", np.zeros_like)
    assert cli.main(["verify", "--data", str(data)]) == 0
    assert f"warning: {PATIENT}/{PATIENT}_seg.nii.gz: only background" in capsys.readouterr().out


def test_a_missing_modality_can_be_left_out(data: Path, capsys: Any) -> None:
    (data / "train" / PATIENT / f"{PATIENT}_t1.nii.gz").unlink()
    assert cli.main(["verify", "--data", str(data)]) == 65
    mend = capsys.readouterr().err.splitlines()[-1].split("train without it: --set '")[1].rstrip("'")
    assert cli.main(["verify", "--data", str(data), "--set", mend]) == 0


def test_good_data(phantoms: Path, capsys: Any) -> None:
    assert cli.main(["verify", "--data", str(phantoms), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == [] and report["convention"] == "brats2017-2021"
    assert report["patients"][PATIENT]["shape"] == [40, 48, 32]
    assert min(report["patients"][PATIENT]["label_voxels"].values()) > 0
    assert report["patients"][PATIENT]["subject"] == PATIENT and report["patients"][PATIENT]["grade"] == ""
    assert len(report["patients"][PATIENT]["files"][f"{PATIENT}_flair.nii.gz"]) == 64


def test_training_runs_the_same_checks(data: Path, tmp_path: Path, capsys: Any) -> None:
    truncate(data / "validation" / "Phantom_00003" / "Phantom_00003_seg.nii.gz")
    assert cli.main(["train", "--data", str(data), "--out", str(tmp_path / "out")]) == 65
    assert capsys.readouterr().err.splitlines()[-1].startswith("Phantom_00003/Phantom_00003_seg.nii.gz: unreadable")
    assert not (tmp_path / "out" / "model.keras").exists()


def test_an_archive_does_as_well(phantoms: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "data"), "gztar", phantoms)
    assert cli.main(["verify", "--data", str(tmp_path / "data.tar.gz")]) == 0


def test_case_355_is_taken_with_a_note(tmp_path: Path, capsys: Any) -> None:
    phantom.write(tmp_path, {"": 1}, 1, "brats2020", (32, 32, 32))
    patient = tmp_path / "BraTS20_Phantom_00001"
    (patient / "BraTS20_Phantom_00001_seg.nii.gz").rename(patient / "W39_1998.09.19_Segm.nii.gz")
    assert cli.main(["verify", "--data", str(tmp_path)]) == 0
    assert (
        "warning: BraTS20_Phantom_00001/W39_1998.09.19_Segm.nii.gz: taken as the truth; "
        "BraTS20_Phantom_00001_seg.nii.gz is not there"
    ) in capsys.readouterr().out


def copy_patient(data: Path, part: str, name: str) -> None:
    source = data / "train" / PATIENT
    for path in source.iterdir():
        target = data / part / name / path.name.replace(PATIENT, name)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)


def test_one_patient_twice_is_a_warning(data: Path, capsys: Any) -> None:
    copy_patient(data, "train", "Copy")
    assert cli.main(["verify", "--data", str(data)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "the same bytes" in line]
    assert lines == [
        f"warning: {PATIENT}/{PATIENT}_{kind}.nii.gz: the same bytes as Copy/Copy_{kind}.nii.gz; one patient twice?"
        for kind in ("flair", "t1", "t1ce", "t2")
    ]


def test_a_patient_in_both_parts_is_a_fault(data: Path, capsys: Any) -> None:
    copy_patient(data, "validation", "Copy")
    assert cli.main(["verify", "--data", str(data)]) == 65
    line = f"Copy/Copy_flair.nii.gz: the same bytes as {PATIENT}/{PATIENT}_flair.nii.gz; patients never trained on; "
    assert line in capsys.readouterr().out


def test_one_image_under_two_names_is_a_warning(data: Path, capsys: Any) -> None:
    folder = data / "train" / PATIENT
    shutil.copy(folder / f"{PATIENT}_t2.nii.gz", folder / f"{PATIENT}_t1.nii.gz")
    assert cli.main(["verify", "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert f"warning: {PATIENT}/{PATIENT}_t2.nii.gz: the same bytes as {PATIENT}/{PATIENT}_t1.nii.gz; one image" in said


def relabel(**values: int) -> Callable[[Path], Any]:
    """Other values for necrosis, oedema and rim."""
    table = np.zeros(5, np.float32)
    table[[1, 2, 4]] = values["necrosis"], values["oedema"], values["rim"]
    return lambda path: change(path, lambda v: table[v.astype(int)])


DOUBTS: list[tuple[str, str, Callable[[Path], Any], str]] = [
    ("seg", "brats2021", relabel(necrosis=2, oedema=1, rim=4), "the core lies "),
    ("seg", "brats2021", relabel(necrosis=4, oedema=2, rim=1), "enhancing tumour is not brighter than the rest of the"),
    ("seg", "brats2021", relabel(necrosis=1, oedema=2, rim=1), "no voxel of region enhancing"),
    ("seg", "brats2021", lambda path: change(path, lambda v: np.roll(v, 15, 0)), "of the labelled voxels lie outside"),
    ("flair", "brats2021", lambda path: change(path, lambda v: np.where(v, 3000 - v, 0)), "the tumour is not brighter"),
]


@pytest.mark.parametrize(("kind", "layout", "damage", "said"), DOUBTS, ids=[said[:24] for *_, said in DOUBTS])
def test_labels_that_look_strange(
    data: Path, kind: str, layout: str, damage: Callable[[Path], Any], said: str, capsys: Any
) -> None:
    damage(data / "train" / PATIENT / f"{PATIENT}_{kind}.nii.gz")
    assert cli.main(["verify", "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert f"warning: {PATIENT}/{PATIENT}_seg.nii.gz: " in out and said in out
    assert "Phantom_00001" not in out and "Phantom_00003" not in out  # the others are as they should be


def test_a_decathlon_read_as_brats_is_noticed(tmp_path: Path, capsys: Any) -> None:
    """Oedema is 1 there and 2 in BraTS: every patient's core lies around its oedema."""
    phantom.write(tmp_path / "msd", {"": 3}, 1, "msd-task01", (40, 48, 32))
    (tmp_path / "wrong.toml").write_text(
        """
        modalities = { flair = "imagesTr/{patient}", t1c = "imagesTr/{patient}" }
        channels = { flair = 0, t1c = 2 }
        truth = "labelsTr/{patient}"
        convention = "brats2023"
        """
    )
    words = ["verify", "--data", str(tmp_path / "msd"), "--set"]
    assert cli.main([*words, f"data.layout={tmp_path / 'wrong.toml'}"]) == 0
    said = capsys.readouterr().out
    assert said.count("deep in the tumour, the rest of it") == 3 and "what brats2023 says?" in said
    assert "warning: the labels of 3 of 3 patients look unlike brats2023; is data.layout right?" in said
    assert cli.main([*words, "data.layout=msd-task01"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_torn_file_of_four_channels_is_one_fault(tmp_path: Path, capsys: Any) -> None:
    phantom.write(tmp_path, {"": 1}, 1, "msd-task01", (32, 32, 32))
    truncate(tmp_path / "imagesTr" / "BRATS_001.nii.gz")
    assert cli.main(["verify", "--data", str(tmp_path), "--json"]) == 65
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault["file"] == "BRATS_001/imagesTr/BRATS_001.nii.gz"


def test_data_without_truth_by_design(tmp_path: Path, capsys: Any) -> None:
    phantom.write(tmp_path, {"": 1}, 1, "msd-task01-test", (32, 32, 32))
    assert cli.main(["verify", "--data", str(tmp_path)]) == 65
    assert "BRATS_001/truth: missing; the truth image; name data that have one, or a data.layout that says where" in (
        capsys.readouterr().err
    )


def test_memory_stays_flat(phantoms: Path) -> None:
    dataset = layouts.find(phantoms)
    reports = verify.verify(dataset, ("flair",), need_truth=True)
    assert [report.checked for report in reports] == [None] * 3
    checked = verify.inspect(dataset.patients[0], ("flair", "t2"), dataset.layout.convention, True).checked
    assert checked is not None and checked.truth is not None
    assert [image.path.name[-9:-7] for image in checked.images] == ["ir", "t2"]
    assert checked.inside.shape == checked.truth.values.shape == (40, 48, 32)


def test_the_sample_is_good(brats2015: Path, capsys: Any) -> None:
    assert cli.main(["verify", "--data", str(brats2015)]) == 0
    said = capsys.readouterr().out
    assert "patients   4, no fault found" in said and "warning" not in said
