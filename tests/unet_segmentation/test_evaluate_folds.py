"""The predictions of several folds scored as one: each patient once, and the means of each fold beside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from submit.runtime.exit_codes import BadInput
from tests.unet_segmentation.test_evaluate import tumour, write
from unet_segmentation import cli, evaluate
from unet_segmentation.evaluate import Options


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """Three patients, two predicted in one folder and one, moved by a voxel, in another."""
    whole, moved = tumour((4, 14), (6, 12), (8, 10)), tumour((5, 15), (7, 13), (9, 11))
    for name, predicted in (("P1", whole), ("P2", whole), ("P3", moved)):
        write(tmp_path, name, whole, predicted)
    (tmp_path / "other").mkdir()
    (tmp_path / "predictions/P3.nii.gz").rename(tmp_path / "other/P3.nii.gz")
    return tmp_path


def words(root: Path) -> list[str]:
    folders = ["--predictions", str(root / "predictions"), "--predictions", str(root / "other")]
    return ["evaluate", *folders, "--data", str(root / "data"), "--out", str(root / "out"), "--pictures", "0"]


def test_every_patient_is_scored_once(halves: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words(halves)) == 0
    held = json.loads((halves / "out/metrics.json").read_text())
    assert sorted(held["scores"]) == ["P1", "P2", "P3"]
    assert [fold["patients"] for fold in held["folds"]] == [["P1", "P2"], ["P3"]]
    region = held["regions"][0]
    assert held["folds"][0]["mean_dice"][region] == 1 > held["folds"][1]["mean_dice"][region] > 0
    assert held["folds"][1]["mean_dice"][region] == held["dice"]["P3"][region]
    assert "fold 1, 1" in capsys.readouterr().out
    assert "Mean Dice by fold" in (halves / "out/report.html").read_text()


def test_one_folder_has_no_folds(halves: Path) -> None:
    (halves / "other/P3.nii.gz").rename(halves / "predictions/P3.nii.gz")
    result = evaluate.evaluate(halves / "predictions", halves / "data", halves / "out", Options(pictures=0))
    assert "folds" not in result and "by fold" not in (halves / "out/report.html").read_text()


def test_a_patient_in_two_folds_is_refused(halves: Path) -> None:
    (halves / "other/P1.nii").write_bytes(b"")
    with pytest.raises(BadInput, match=r"predictions/P1\.nii\.gz: also .*other/P1\.nii; every patient in one fold"):
        evaluate.evaluate([halves / "predictions", halves / "other"], halves / "data", halves / "out")


def test_folds_of_different_regions_are_refused(halves: Path) -> None:
    from unet_segmentation.labels import conventions

    about = conventions()["brats2017-2021"].as_dict()
    record = {"convention": about, "regions": ["whole"], "patients": {}}
    (halves / "other/predictions.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match=r"other: regions whole; .*score these predictions apart"):
        evaluate.evaluate([halves / "predictions", halves / "other"], halves / "data", halves / "out")
