"""The command line: what loads when, what a wrong command says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("command", ["--help", "train --help", "verify", "prepare", "split", "phantom"])
def test_light_commands_stay_light(phantoms: Path, tmp_path: Path, command: str) -> None:
    words = command.split()
    if command == "verify":
        words += ["--data", str(phantoms)]
    if command in ("prepare", "split"):
        words += ["--data", str(phantoms / "train"), "--out", str(tmp_path / "out")]
    if command == "split":
        words += ["--folds", "2"]
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
