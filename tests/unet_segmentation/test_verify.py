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

from unet_segmentation import cli

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
    ("t1", lambda path: change(path, put(np.nan)), "1 voxels that are NaN or infinite"),
    ("t1", lambda path: change(path, put(np.inf)), "1 voxels that are NaN or infinite"),
    ("t1", lambda path: change(path, np.zeros_like), "the same value 0 in the whole brain"),
    ("seg", lambda path: change(path, put(3)), "label 3; 0, 1, 2, 4 (brats2017-2021); set data.layout"),
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


def test_training_runs_the_same_checks(data: Path, tmp_path: Path, capsys: Any) -> None:
    truncate(data / "validation" / "Phantom_00003" / "Phantom_00003_seg.nii.gz")
    assert cli.main(["train", "--data", str(data), "--out", str(tmp_path / "out")]) == 65
    assert capsys.readouterr().err.splitlines()[-1].startswith("Phantom_00003/Phantom_00003_seg.nii.gz: unreadable")
    assert not (tmp_path / "out").exists()


def test_an_archive_does_as_well(phantoms: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "data"), "gztar", phantoms)
    assert cli.main(["verify", "--data", str(tmp_path / "data.tar.gz")]) == 0


def test_the_sample_is_good(brats2015: Path, capsys: Any) -> None:
    assert cli.main(["verify", "--data", str(brats2015)]) == 0
    assert "patients   4, no fault found" in capsys.readouterr().out
