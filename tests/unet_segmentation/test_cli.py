"""The command line: what loads when, what a wrong command says, what predict and evaluate refuse."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unet_segmentation import cli

ROOT = Path(__file__).parents[2]

HEAVY = """
import sys
from unet_segmentation import cli
try:
    code = cli.main(sys.argv[1:])
except SystemExit as left:
    code = left.code
assert code == 0, code
loaded = {"tensorflow", "keras", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""


@pytest.mark.parametrize("command", ["--help", "train --help", "verify", "phantom"])
def test_light_commands_stay_light(phantoms: Path, tmp_path: Path, command: str) -> None:
    words = command.split()
    if command == "verify":
        words += ["--data", str(phantoms)]
    if command == "phantom":
        words += ["--out", str(tmp_path), "--patients", "1", "--size", "32", "32", "32"]
    done = subprocess.run([sys.executable, "-c", HEAVY, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if command == "--help":
        assert "examples:" in done.stdout and "exit codes:" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "command line: the following arguments are required: command; usage: "),
        (["trian"], "command line: argument command: invalid choice: 'trian'"),
        (["train", "--out", "x"], "command line: the following arguments are required: --data; usage: "),
        (["train", "--data", "absent", "--out", "x"], "absent: does not exist; a folder or an archive"),
        (["train", "--data", ".", "--out", "x", "--set", "train.stepps=1"], "train.stepps: not a key"),
        (["predict", "--model", "absent.keras", "--data", ".", "--out", "x"], "absent.keras: no model of this trainer"),
    ],
)
def test_a_wrong_command_is_one_line(words: list[str], message: str, capsys: Any) -> None:
    assert cli.main(words) == 65
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1


def test_debug_shows_the_traceback(capsys: Any) -> None:
    assert cli.main(["predict", "--debug", "--model", "absent", "--data", ".", "--out", "x"]) == 65
    assert "Traceback" in capsys.readouterr().err


def model_of(folder: Path, **about: Any) -> Path:
    """As much of a model file as is read before TensorFlow is loaded."""
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "segmentation.json", json.dumps({"convention": "brats2017-2021", "slice_multiple": 8, **about})
        )
    return path


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"convention": "brats2013-2015", "modalities": ["flair"]},
            "label convention brats2017-2021 (layout brats2021); brats2013-2015, that of",
        ),
        ({"modalities": ["flair", "dwi"]}, "data.modalities: 'dwi'; some of flair, t1, t1c, t2"),
    ],
)
def test_a_model_that_does_not_fit_the_data(
    phantoms: Path, tmp_path: Path, about: dict[str, Any], message: str, capsys: Any
) -> None:
    model = model_of(tmp_path, **about)
    words = ["predict", "--model", str(model), "--data", str(phantoms / "validation"), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 65
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_without_our_note(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    assert cli.main(["predict", "--model", str(path), "--data", str(phantoms), "--out", str(tmp_path)]) == 65
    assert "no model of this trainer" in capsys.readouterr().err


def save(path: Path, values: Any) -> None:
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, np.uint8), np.eye(4)), path)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "Phantom_00003.nii.gz: missing; a prediction for every patient with a truth; python -m"),
        (
            lambda folder: save(folder / "Phantom_00003.nii.gz", np.zeros((4, 4, 4))),
            "shape 4x4x4; 40x48x32 as Phantom_00003_seg.nii.gz",
        ),
        (
            lambda folder: save(folder / "Phantom_00003.nii.gz", np.full((40, 48, 32), 3)),
            "label 3; 0, 1, 2, 4 (brats2017-2021)",
        ),
        (lambda folder: (folder / "Phantom_00003.nii.gz").write_bytes(b""), "unreadable ("),
        (
            lambda folder: (folder / "predictions.json").write_text('{"convention": "brats2013-2015"}'),
            "label convention brats2017-2021",
        ),
        (lambda folder: (folder / "predictions.json").write_text("{"), "predictions.json: unreadable"),
    ],
)
def test_predictions_that_cannot_be_scored(
    phantoms: Path, tmp_path: Path, prepare: Any, message: str, capsys: Any
) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir()
    prepare(folder)
    words = [
        "evaluate",
        "--predictions",
        str(folder),
        "--data",
        str(phantoms / "validation"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main(words) == 65
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_to_score(data: Path, tmp_path: Path, capsys: Any) -> None:
    (data / "validation" / "Phantom_00003" / "Phantom_00003_seg.nii.gz").unlink()
    words = [
        "evaluate",
        "--predictions",
        str(tmp_path),
        "--data",
        str(data / "validation"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main(words) == 65
    assert "no patient with a truth" in capsys.readouterr().err
