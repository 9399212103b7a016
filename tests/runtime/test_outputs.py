"""Large files of a result, packed for the OSDF."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from submit.runtime import outputs
from submit.runtime.exit_codes import BadInput

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("results/1.0")
    (folder / "deep").mkdir(parents=True)
    for name, size in {"small": 1024, "large": 1025, "deep/large": 5000}.items():
        (folder / name).write_bytes(os.urandom(size))
    (folder / "link").symlink_to("large")
    return folder


def test_large_files_move_and_the_rest_stays(result: Path) -> None:
    content = (result / "deep/large").read_bytes()
    assert outputs.pack(result, Path("large.tar"), 1024) == [result / "deep/large", result / "large"]
    assert sorted(path.name for path in result.iterdir()) == ["deep", "large.json", "link", "small"]
    listed = json.loads((result / "large.json").read_text())
    assert listed["archive"] == "large.tar"
    assert listed["files"]["results/1.0/deep/large"] == {
        "bytes": 5000,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with tarfile.open("large.tar") as packed:
        assert packed.getnames() == list(listed["files"])
        packed.extractall(filter="data")
    assert (result / "deep/large").read_bytes() == content, "it lies where it was"
    assert not list(Path().glob(".large*"))


def test_the_archive_is_there_with_nothing_in_it(result: Path) -> None:
    assert outputs.pack(result, Path("large.tar"), 10**6) == []
    with tarfile.open("large.tar") as packed:
        assert packed.getnames() == []
    assert not (result / "large.json").exists()


def test_a_failure_leaves_every_file(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "_add", full)
    before = sorted(result.rglob("*"))
    with pytest.raises(OSError, match="No space"):
        outputs.pack(result, Path("large.tar"), 1024)
    assert sorted(result.rglob("*")) == before and [path.name for path in Path().iterdir()] == ["results"]


@pytest.mark.parametrize(("text", "size"), [("1kB", 1024), ("100MB", 100 << 20), ("2GB", 2 << 30)])
def test_sizes(text: str, size: int) -> None:
    assert outputs.limit(text) == size


@pytest.mark.parametrize("text", ["", "0MB", "1", "1 MB", "-1MB", "1.5GB", "1TB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(
        BadInput, match=r"--larger-than: .*; a whole number and kB, MB or GB, such as 100MB; change OSG"
    ):
        outputs.limit(text)


@pytest.mark.parametrize("folder", ["/", "../x", "none"])
def test_no_result(result: Path, folder: str) -> None:
    with pytest.raises(
        BadInput, match=r": no such folder here; a folder of the job's own, such as results/1.0; change"
    ):
        outputs.pack(Path(folder), Path("large.tar"), 1)


def test_the_command(result: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "submit.runtime.outputs", *words]
        return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(REPO)})

    done = run(str(result), "large.tar", "--larger-than", "1kB")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "large.tar  2 files of more than 1kB, 10,240 bytes\n"
    assert run(str(result), "large.tar", "--larger-than", "1").returncode == 65
