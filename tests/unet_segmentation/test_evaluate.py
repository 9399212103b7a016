"""Predictions against the truth, from files to files: what is written, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from unet_segmentation import cli, evaluate, layouts, metrics
from unet_segmentation.evaluate import Options, evaluate_files, spread
from unet_segmentation.labels import Convention, conventions
from unet_segmentation.layouts import Patient, Source

SIDE = 20
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])  # voxels of 1 x 1 x 2 mm
BRATS = conventions()["brats2017-2021"]
ORGAN = Convention.from_dict(
    {
        "name": "kidney",
        "labels": {1: "kidney", 2: "tumour", 3: "cyst"},
        "regions": {"organ": [1, 2, 3], "lesion": [2, 3], "cyst": [3]},
    }
)
Labels = NDArray[np.uint8]


def save(path: Path, values: Any, affine: Any = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def tumour(*corners: tuple[int, int]) -> Labels:
    """Boxes from the first to the second corner of each axis, labels 2, 1, 4 from the outside in."""
    labels = np.zeros((SIDE,) * 3, np.uint8)
    for (start, stop), value in zip(corners, (2, 1, 4), strict=False):
        labels[start:stop, start:stop, start:stop] = value
    return labels


def write(root: Path, name: str, truth: Labels | None, predicted: Labels | None) -> None:
    """A patient of BraTS 2021 below `root/data` and its prediction below `root/predictions`."""
    image = np.zeros((SIDE,) * 3, np.int16)
    image[1:-1, 1:-1, 1:-1] = np.random.default_rng(len(name)).integers(50, 100, (SIDE - 2,) * 3)
    for modality in ("flair", "t1", "t1ce", "t2"):
        save(root / "data" / name / f"{name}_{modality}.nii.gz", image)
    if truth is not None:
        save(root / "data" / name / f"{name}_seg.nii.gz", truth)
    if predicted is not None:
        save(root / "predictions" / f"{name}.nii.gz", predicted)


def run(root: Path, *more: str) -> int:
    """The command; without pictures, which take most of its time, where none are asked for."""
    words = ["evaluate", "--predictions", str(root / "predictions"), "--data", str(root / "data"), "--pictures", "0"]
    return cli.main([*words, "--out", str(root / "out"), *more])


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three patients: a perfect prediction, one that is moved by a voxel, and one without enhancing tumour that is
    predicted all the same.
    """
    whole = tumour((4, 14), (6, 12), (8, 10))
    write(tmp_path, "perfect", whole, whole)
    write(tmp_path, "moved", whole, np.roll(whole, 1, axis=2))
    write(tmp_path, "invented", tumour((4, 14), (6, 12)), whole)
    write(tmp_path, "blind", None, None)  # nobody knows: not scored
    return tmp_path


def test_the_layout_is_that_of_the_training(three: Path, capsys: Any) -> None:
    config = three / "config.toml"
    config.write_text('[data]\nlayout = "msd-task01"\n')
    assert run(three, "--config", str(config)) == 65
    assert "Decathlon" in capsys.readouterr().err
    assert run(three, "--config", str(config), "--layout", "brats2021") == 0


def test_what_is_written(three: Path, capsys: Any) -> None:
    assert run(three, "--pictures", "all") == 0
    out = three / "out"
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "overlays", "report.html", "scores.csv"]
    result = json.loads((out / "metrics.json").read_text())
    assert result["dice"]["perfect"] == {"whole": 1, "core": 1, "enhancing": 1}
    # boxes of 10, 6 and 2 voxels moved by one: 9, 5 and 1 layers of each in common
    assert result["dice"]["moved"] == {"whole": 0.9, "core": round(5 / 6, 6), "enhancing": 0.5}
    assert result["dice"]["invented"] == {"whole": 1, "core": 1, "enhancing": 0}
    assert result["mean_dice"]["enhancing"] == result["summary"]["dice"]["enhancing"]["mean"] == 0.5
    # the moved faces are 2 mm away, the side faces overlap in all but one layer; a cube of 2 moved by one has half of
    # its voxels at 0 mm and half at 2 mm
    moved = result["scores"]["moved"]
    assert [moved[region]["hd95"] for region in ("whole", "core", "enhancing")] == [2, 2, 2]
    assert result["scores"]["invented"]["enhancing"]["hd95"] == 374
    assert moved["whole"]["truth_mm3"] == 2 * 10**3 and moved["whole"]["sensitivity"] == 0.9
    assert moved["whole"]["specificity"] == round(1 - 100 / (SIDE**3 - 10**3), 6)
    assert result["by_empty"]["ignore"]["hd95"]["enhancing"]["n"] == 2
    assert result["by_empty"]["brats2020"]["hd95"]["enhancing"]["mean"] == round((0 + 2 + 373.13) / 3, 6)
    assert result["over_regions"]["dice"]["mean"] == pytest.approx((1 + (0.9 + 5 / 6 + 0.5) / 3 + 2 / 3) / 3, abs=1e-5)
    assert result["worst_to_best"] == ["invented", "moved", "perfect"]
    assert sorted(result["pictures"]) == [f"overlays/{name}.png" for name in ("invented", "moved", "perfect")]
    assert all((out / picture).read_bytes().startswith(b"\x89PNG") for picture in result["pictures"])
    assert set(result["files"]["moved"]) == {"prediction", "truth"}
    assert "374 mm" in result["empty_regions"]
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["patient"], row["region"]) for row in rows][:4] == [
        ("invented", "whole"),
        ("invented", "core"),
        ("invented", "enhancing"),
        ("moved", "whole"),
    ]
    assert float(rows[3]["dice"]) == 0.9
    text = capsys.readouterr().out
    assert "moved" in text and "0.900" in text and "empty regions" in text and f"{out}/report.html" in text


def test_empty_regions_ignored(three: Path, capsys: Any) -> None:
    assert run(three, "--empty", "ignore", "--no-hd95") == 0
    result = json.loads((three / "out" / "metrics.json").read_text())
    row = result["scores"]["invented"]["enhancing"]
    assert row["dice"] == 0 and row["sensitivity"] is None and "hd95" not in row
    assert set(result["metrics"]) == {"dice", "sensitivity", "specificity"}
    assert result["summary"]["sensitivity"]["enhancing"]["n"] == 2
    assert "HD95, mm" not in capsys.readouterr().out


def test_nobody_has_the_region(tmp_path: Path, capsys: Any) -> None:
    whole = tumour((4, 14), (6, 12))
    write(tmp_path, "p", whole, whole)
    assert run(tmp_path, "--empty", "ignore") == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["mean_dice"] == {"whole": 1, "core": 1, "enhancing": None}
    assert "-" in capsys.readouterr().out


def test_no_tumour_at_all(tmp_path: Path) -> None:
    write(tmp_path, "p", tumour(), tumour())
    assert run(tmp_path, "--empty", "ignore", "--lesion-wise", "--pictures", "1") == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["dice"]["p"] == {"whole": None, "core": None, "enhancing": None}
    assert result["pictures"] == ["overlays/p.png"] and result["worst_to_best"] == ["p"]


def test_lesion_wise(three: Path) -> None:
    assert run(three, "--lesion-wise") == 0
    result = json.loads((three / "out" / "metrics.json").read_text())
    row = result["scores"]["moved"]["whole"]
    assert row["lesion_dice"] == row["dice"] and row["lesions_found"] == 1
    small = result["scores"]["moved"]["enhancing"]  # 8 voxels of 2 mm3
    assert small["lesions_ignored"] == 1 and small["lesion_dice"] == 1
    assert result["scores"]["invented"]["enhancing"]["lesions_false"] == 1
    assert "dilated by 3" in result["lesion_rules"]


def test_against_another_evaluation(three: Path, capsys: Any) -> None:
    assert run(three) == 0
    earlier = three / "earlier"
    (three / "out").rename(earlier)
    save(three / "predictions" / "moved.nii.gz", tumour((4, 14), (6, 12), (8, 10)))
    assert run(three, "--against", str(earlier)) == 0
    result = json.loads((three / "out" / "metrics.json").read_text())
    cell = result["against"]["difference"]["dice"]["whole"]
    assert cell["mean"] == pytest.approx(0.1 / 3, abs=1e-6) and cell["n"] == 3 and cell["low"] == 0
    assert result["against"]["patients"] == 3
    assert "Dice, difference" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[]", '{"scores": 3}', '{"scores": {"p": 1}}'])
def test_against_something_else(three: Path, content: str, capsys: Any) -> None:
    (three / "other.json").write_text(content)
    assert run(three, "--against", str(three / "other.json")) == 65
    assert "other.json: no scores (" in capsys.readouterr().err
    assert not (three / "out").exists()


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(0, []), (1, [0]), (2, [0, 9]), (3, [0, 5, 9]), (4, [0, 3, 5, 9]), (10, list(range(10))), (None, list(range(10)))],
)
def test_pictures_from_the_worst_to_the_best(count: int | None, wanted: list[int]) -> None:
    assert spread([str(number) for number in range(10)], count) == [str(number) for number in wanted]


def test_few_pictures(three: Path, capsys: Any) -> None:
    assert run(three, "--pictures", "1") == 0
    assert [path.name for path in (three / "out" / "overlays").iterdir()] == ["invented.png"]
    assert run(three, "--pictures", "some") == 65
    assert "--pictures: 'some'; a number of patients, or all" in capsys.readouterr().err


# What is refused


def moved_origin(root: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 3] = 5
    save(root / "predictions" / "p.nii.gz", tumour((4, 14)), affine)


def note(root: Path, content: str) -> None:
    (root / "predictions" / "predictions.json").write_text(content)


def recorded(root: Path, name: str = BRATS.name, **more: Any) -> None:
    held = conventions()[name]
    content = {"convention": held.as_dict(), "regions": list(held.regions), "patients": {}, **more}
    note(root, json.dumps(content))


FAULTS: dict[str, tuple[Any, str]] = {
    "missing": (
        lambda root: (root / "predictions" / "p.nii.gz").unlink(),
        "p.nii.gz: missing; a prediction for every patient with a truth; python -m unet_segmentation predict",
    ),
    "shape": (
        lambda root: save(root / "predictions" / "p.nii.gz", np.zeros((4, 4, 4), np.uint8)),
        "p.nii.gz: shape 4x4x4; 20x20x20 as p_seg.nii.gz; predict again",
    ),
    "affine": (moved_origin, "p.nii.gz: affine[0,3] = 5; 0 as p_seg.nii.gz; predict again"),
    "label": (
        lambda root: save(root / "predictions" / "p.nii.gz", np.full((SIDE,) * 3, 3, np.uint8)),
        "p.nii.gz: label 3; 0, 1, 2, 4 (brats2017-2021); predict again",
    ),
    "fraction": (
        lambda root: save(root / "predictions" / "p.nii.gz", np.full((SIDE,) * 3, 0.5, np.float32)),
        "p.nii.gz: label 0.5; 0, 1, 2, 4",
    ),
    "nan": (
        lambda root: save(root / "predictions" / "p.nii.gz", np.full((SIDE,) * 3, np.nan, np.float32)),
        "p.nii.gz: label nan; 0, 1, 2, 4",
    ),
    "truth": (
        lambda root: save(root / "data" / "p" / "p_seg.nii.gz", np.full((SIDE,) * 3, 3, np.uint8)),
        "p_seg.nii.gz: label 3; 0, 1, 2, 4 (brats2017-2021); correct the file",
    ),
    "torn": (lambda root: (root / "predictions" / "p.nii.gz").write_bytes(b""), "p.nii.gz: unreadable ("),
    "convention": (
        lambda root: recorded(root, "brats2013-2015"),
        "predictions.json: label convention brats2013-2015; brats2017-2021, that of the truth",
    ),
    "regions": (
        lambda root: recorded(
            root, convention={**BRATS.as_dict(), "regions": {"whole": [1, 2, 4]}, "paint": {"whole": 2}}
        ),
        "whole = 1+2+4; brats2017-2021: ",
    ),
    "note": (lambda root: note(root, "{"), "predictions.json: unreadable ("),
    "list": (lambda root: note(root, "[]"), "predictions.json: unreadable ("),
    "name": (lambda root: note(root, '{"convention": "brats"}'), "predictions.json: convention: 'brats'; a table"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_predictions_that_cannot_be_scored(tmp_path: Path, fault: str, capsys: Any) -> None:
    write(tmp_path, "p", tumour((4, 14)), tumour((4, 14)))
    spoil, message = FAULTS[fault]
    spoil(tmp_path)
    assert run(tmp_path) == 65
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert not (tmp_path / "out").exists()


def test_nothing_to_score(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path, "p", None, tumour())
    assert run(tmp_path) == 65
    assert "no patient with a truth; something to score against" in capsys.readouterr().err


def test_an_image_of_another_shape_cannot_be_drawn(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path, "p", tumour((4, 14)), tumour((4, 14)))
    save(tmp_path / "data" / "p" / "p_flair.nii.gz", np.ones((4, 4, 4), np.int16))
    assert run(tmp_path, "--pictures", "1") == 65
    assert "p_flair.nii.gz: shape 4x4x4; 20x20x20 as the truth" in capsys.readouterr().err


def test_labels_stored_as_float(tmp_path: Path) -> None:
    write(tmp_path, "p", tumour((4, 14)), None)
    save(tmp_path / "predictions" / "p.nii", tumour((4, 14)).astype(np.float32) + np.float32(1e-6))
    assert run(tmp_path) == 0


# Other organs, other files


def patient(folder: Path, name: str, channel: int | None = None) -> Patient:
    image = Source(folder / "image.nii.gz", channel)
    return Patient(name, folder, {"ct": image}, folder / "truth.nii.gz", None, {}, name, "")


@pytest.mark.parametrize("channel", [None, 1])
def test_any_regions_and_one_modality(tmp_path: Path, channel: int | None) -> None:
    rng = np.random.default_rng(1)
    folder = tmp_path / "data"
    shape = (24, 20, 8) if channel is None else (24, 20, 8, 2)
    affine = np.diag([0.8, 0.8, 5.0, 1.0])
    save(folder / "image.nii.gz", rng.normal(size=shape).astype(np.float32), affine)
    truth = np.zeros((24, 20, 8), np.uint8)
    truth[4:20, 4:16, 2:7], truth[6:10, 6:10, 3:6], truth[12:14, 12:14, 4] = 1, 2, 3
    save(folder / "truth.nii.gz", truth, affine)
    save(tmp_path / "predictions" / "k.nii.gz", np.where(truth == 3, 2, truth).astype(np.uint8), affine)
    result = evaluate_files(
        tmp_path / "predictions", [patient(folder, "k", channel)], ORGAN, ("ct",), tmp_path / "out", Options()
    )
    assert result["dice"] == {"k": {"organ": 1, "lesion": 1, "cyst": 0}}
    assert result["regions"] == ["organ", "lesion", "cyst"]
    assert result["scores"]["k"]["cyst"]["truth_mm3"] == pytest.approx(4 * 0.8 * 0.8 * 5, abs=1e-4)
    assert (tmp_path / "out" / result["pictures"][0]).stat().st_size > 10_000
    assert "cyst" in evaluate.table(result)


def test_only_the_regions_that_the_model_marks(tmp_path: Path) -> None:
    write(tmp_path, "p", tumour((4, 14), (6, 12), (8, 10)), tumour((4, 14)))
    recorded(tmp_path, regions=["whole"], patients={"p": {"models": ["abc"]}})
    assert run(tmp_path) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["dice"] == {"p": {"whole": 1}} and result["provenance"]["models"] == ["abc"]


def test_many_patients_make_a_short_table() -> None:
    rows = {f"patient_{number:03d}": {"whole": {"dice": number / 100}} for number in range(50)}
    column = {name: {"whole": row["whole"]["dice"]} for name, row in rows.items()}
    result = {
        "regions": ["whole"],
        "dice": column,
        "metrics": {"dice": "Dice"},
        "worst_to_best": list(rows),
        "summary": {"dice": metrics.summarise(column)},
        "empty_regions": "",
    }
    text = evaluate.table(result)
    assert "patient_000" in text and "patient_049" in text and "patient_025" not in text and "..." in text
    assert "mean of 50, 95 % interval" in text


def test_a_fault_stops_the_work(three: Path) -> None:
    (three / "predictions" / "invented.nii.gz").write_bytes(b"")
    patients = [one for one in layouts.find(three / "data").patients if one.truth]
    with pytest.raises(BadInput, match=r"invented\.nii\.gz: unreadable"):
        evaluate_files(three / "predictions", patients, BRATS, ("flair",), three / "out", Options())
    assert not (three / "out").exists()


def test_a_real_patient(brats2015: Path, tmp_path: Path) -> None:
    """The truth moved by two voxels, against SimpleITK."""
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK (pip install '.[dev]') is the independent implementation")
    dataset = layouts.find(brats2015 / "validation")
    real = dataset.patients[0]
    image = nibabel.load(real.truth)
    truth = np.rint(np.asarray(image.dataobj)).astype(np.uint8)
    moved = np.roll(truth, 2, axis=0)
    save(tmp_path / f"{real.name}.nii.gz", moved, image.affine)
    result = evaluate_files(
        tmp_path, [real], dataset.layout.convention, ("flair", "t1c"), tmp_path / "out", Options(pictures=0)
    )
    for region, values in dataset.layout.convention.regions.items():
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*(sitk.GetImageFromArray(np.isin(one, values).astype(np.uint8)) for one in (moved, truth)))
        assert result["dice"][real.name][region] == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-6)
        assert result["scores"][real.name][region]["hd95"] == 2
