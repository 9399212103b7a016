"""What a prediction refuses, what it does not stop for, and what it does not make again."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from submit.runtime.exit_codes import BadInput
from tests.unet_segmentation.predicting import ABOUT, BRATS, GOOD, image_of, note, run
from unet_segmentation import predict
from unet_segmentation.labels import conventions


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"modalities": ["flair", "t1c"]}, "b.keras: modalities flair, t1c; t1c, flair, as "),
        (
            {"regions": ["whole", "enhancing", "core"]},
            "b.keras: regions whole, enhancing, core; whole, core, enhancing, as",
        ),
        (
            {"convention": conventions()["brats2023"].as_dict()},
            "b.keras: convention brats2023: 1 = necrotic tumour core, 2 =",
        ),
    ],
    ids=["modalities", "regions", "convention"],
)
def test_models_that_do_not_belong_together(
    phantoms: Path, model: Path, tmp_path: Path, about: dict[str, Any], message: str, capsys: Any
) -> None:
    other = note(tmp_path / "b.keras", {**ABOUT, "format": predict.FORMAT, **about})
    assert run([model, other], phantoms / "validation", tmp_path / "out") == 65
    error = capsys.readouterr().err
    assert message in error and "trained alike" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"convention": "brats2017-2021", "slice_multiple": 8},
            "a model of format 1; format 2; train again, or predict",
        ),
        ([], "a model of format None; format 2"),
        ({**GOOD, "format": 3}, "a model of format 3; format 2"),
        ({**GOOD, "context": "one"}, "segmentation.json: context = 'one'; int; "),
        ({**GOOD, "dimensions": True}, "segmentation.json: dimensions = True; int; "),
        (
            {name: value for name, value in GOOD.items() if name != "regions"},
            "segmentation.json: regions = None; list; ",
        ),
        ({**GOOD, "regions": ["kidney"]}, "segmentation.json: regions = ['kidney']; some of whole, core, enhancing; "),
        ({**GOOD, "convention": {"name": "x"}}, "segmentation.json: convention.labels: missing; "),
    ],
)
def test_a_model_s_note_is_checked(tmp_path: Path, about: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        predict.read_about(note(tmp_path / "model.keras", about))
    assert message in str(caught.value)


def test_the_note_comes_back(model: Path) -> None:
    assert predict.read_about(model) == ABOUT


def test_what_is_there_is_not_made_again(data: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    out, train = tmp_path / "out", data / "train"
    files = [out / f"Phantom_0000{number}.nii.gz" for number in (1, 2)]

    def made(models: Path | list[Path] = model, *more: str) -> list[bool]:
        """Which of the two were written."""
        before = [file.stat().st_ino if file.exists() else 0 for file in files]
        capsys.readouterr()
        assert run(models, train, out, *more) == 0
        return [file.stat().st_ino != inode for file, inode in zip(files, before, strict=True)]

    assert made() == [True, True]
    first = [file.read_bytes() for file in files]
    assert made() == [False, False]
    assert "2 of 2 predictions are there, of these models and images" in capsys.readouterr().err
    files[0].unlink()
    assert made() == [True, False]
    assert "1 of 2 predictions are there" in capsys.readouterr().err
    files[1].write_bytes(files[1].read_bytes()[:-20])
    assert made() == [False, True]
    assert [file.read_bytes() for file in files] == first
    assert made(model, "--threshold", "core=0.6") == [True, True]
    assert made(model, "--threshold", "core=0.6", "--probabilities") == [True, True]
    (out / "Phantom_00002_core.nii.gz").unlink()
    assert made(model, "--threshold", "core=0.6", "--probabilities") == [False, True]
    assert made([model, model], "--threshold", "core=0.6") == [True, True]
    assert made() == [True, True]
    image = image_of(train, "Phantom_00002", "flair")
    image.write_bytes(gzip.compress(gzip.decompress(image.read_bytes()), 1))
    assert made() == [False, True]
    unused = image_of(train, "Phantom_00002", "t2")
    unused.unlink()
    assert made() == [False, False]
    (out / "predictions.json").write_text("{")
    assert made() == [True, True]


def test_data_of_another_convention(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    """Refused without a truth too: what would be written means something else than the layout says."""
    shutil.copytree(phantoms / "validation", tmp_path / "data")
    next((tmp_path / "data").rglob("*_seg.nii.gz")).unlink()
    model = note(tmp_path / "model.keras", {**GOOD, "convention": conventions()["brats2023"].as_dict()})
    assert run(model, tmp_path / "data", tmp_path / "out", "--layout", "brats2021") == 65
    error = capsys.readouterr().err
    assert f"data: label convention brats2017-2021 (layout brats2021); brats2023, that of {model}; " in error
    assert "--layout" in error and not (tmp_path / "out").exists()


def test_a_convention_of_the_same_name_and_other_meaning(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    swapped = {**BRATS.as_dict(), "labels": {"1": "oedema", "2": "necrosis", "4": "enhancing tumour"}}
    model = note(tmp_path / "model.keras", {**GOOD, "convention": swapped})
    assert run(model, phantoms / "validation", tmp_path / "out") == 65
    assert "1 = oedema, 2 = necrosis" in capsys.readouterr().err


def test_predictions_of_another_convention_are_not_mixed(
    phantoms: Path, model: Path, tmp_path: Path, capsys: Any
) -> None:
    held = {"convention": conventions()["brats2023"].as_dict(), "patients": {}}
    (tmp_path / "predictions.json").write_text(json.dumps(held))
    assert run(model, phantoms / "validation", tmp_path) == 65
    assert "predictions.json: predictions of convention brats2023; brats2017-2021, as those to come; " in (
        capsys.readouterr().err
    )


def test_a_missing_image_is_said_before_any_work(data: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    image_of(data, "Phantom_00002", "flair").unlink()
    assert run(model, data / "train", tmp_path / "out") == 65
    error = capsys.readouterr().err
    assert error.startswith("Phantom_00002/Phantom_00002_flair.nii.gz: missing; the flair image; add ")
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_faulty_patient_does_not_stop_the_others(data: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    image = image_of(data, "Phantom_00001", "flair")
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    assert run(model, data / "train", tmp_path) == 65
    assert "Phantom_00001/Phantom_00001_flair.nii.gz: unreadable (" in capsys.readouterr().err
    assert not (tmp_path / "Phantom_00001.nii.gz").exists() and (tmp_path / "Phantom_00002.nii.gz").exists()
    image.write_bytes(whole)
    assert run(model, data / "train", tmp_path) == 0
    assert "1 of 2 predictions are there" in capsys.readouterr().err


def test_a_faulty_patient_may_be_left_out(data: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    names = ("Phantom_00001", "Phantom_00002")
    whole = {name: image_of(data, name, "flair").read_bytes() for name in names}
    image_of(data, names[0], "flair").write_bytes(whole[names[0]][:-20])
    for _ in range(2):  # the second time the other's prediction is there
        assert run(model, data / "train", tmp_path, "--leave-out-faulty") == 0
        said = capsys.readouterr()
        assert said.out == f"1 patients segmented into {tmp_path}\n"
        assert "left out   Phantom_00001/Phantom_00001_flair.nii.gz: unreadable (" in said.err
        record = json.loads((tmp_path / "predictions.json").read_text())
        assert list(record["patients"]) == [names[1]] and list(record["left_out"]) == [names[0]]
        assert record["left_out"][names[0]].startswith("Phantom_00001/Phantom_00001_flair.nii.gz: unreadable (")
    image_of(data, names[0], "flair").write_bytes(whole[names[0]])
    assert run(model, data / "train", tmp_path, "--leave-out-faulty") == 0
    assert "left_out" not in json.loads((tmp_path / "predictions.json").read_text())
    for name in names:
        image_of(data, name, "flair").write_bytes(b"")
    assert run(model, data / "train", tmp_path / "none", "--leave-out-faulty") == 65, "no patient is without a fault"


def test_a_truth_that_is_wrong_is_no_matter(data: Path, model: Path, tmp_path: Path) -> None:
    next((data / "validation").rglob("*_seg.nii.gz")).write_bytes(b"")
    assert run(model, data / "validation", tmp_path) == 0


def test_options_are_checked_before_any_work(phantoms: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    for words, message in (
        (["--threshold", "cavity=0.4"], "--threshold: cavity; a region of the model: whole, core, enhancing; "),
        (["--threshold", "core:0.4"], "--threshold: 'core:0.4'; REGION=PROBABILITY; "),
        (["--overlap", "1.5"], "--overlap: 1.5; 0 or more, below 1; "),
        (["--smallest", "small"], "command line: argument --smallest: invalid float value: 'small'; "),
    ):
        assert run(model, phantoms / "validation", tmp_path / "out", *words) == 65
        assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "out").exists()
