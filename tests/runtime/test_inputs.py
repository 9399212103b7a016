from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime import exit_codes, inputs
from submit.runtime.exit_codes import BadInput
from tests.runtime import staged

ROOT = Path(__file__).parents[2]
FILES = {"train/p1/flair.nii": os.urandom(30_000), "train/p2/flair.nii": b"two" * 5000, "empty": b""}


def pack(archive: Path, files: dict[str, bytes]) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
    elif archive.suffix == ".zst":
        archive.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(staged.tar(files)))
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return archive


def test_a_folder_passes(tmp_path: Path) -> None:
    assert inputs.folder(tmp_path) == tmp_path


@pytest.mark.parametrize("suffix", inputs.SUFFIXES)
@pytest.mark.parametrize("top", ["", "data/"])
@pytest.mark.parametrize("named", ["folder", "archive"])
def test_an_archive_is_unpacked_beside_itself(tmp_path: Path, suffix: str, top: str, named: str) -> None:
    archive = pack(tmp_path / f"data{suffix}", {top + name: content for name, content in FILES.items()})
    asked = tmp_path / "data" if named == "folder" else archive
    assert inputs.folder(asked) == tmp_path / "data"
    assert staged.contents(tmp_path / "data") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", f"data{suffix}"]
    archive.write_bytes(b"gone")
    assert inputs.folder(asked) == tmp_path / "data"  # after a restart in the same sandbox


def test_neither_is_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data: does not exist; a folder or an archive .*, or a manifest"):
        inputs.folder(tmp_path / "data")


@pytest.mark.parametrize("name", ["data.txt", ".zip"])
def test_a_file_that_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(BadInput, match="a file; a folder or an archive"):
        inputs.folder(tmp_path / name)


@pytest.mark.parametrize("suffix", inputs.SUFFIXES)
def test_not_what_its_name_says(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"data{suffix}").write_bytes(b"<html>404 Not Found</html>" * 100)
    with pytest.raises(BadInput, match=rf"data{suffix}: unreadable"):
        inputs.folder(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("suffix", inputs.SUFFIXES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_torn_archive_is_named_and_leaves_nothing(suffix: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        archive = pack(Path(name) / f"data{suffix}", FILES)
        content = archive.read_bytes()
        # a tar is padded with zeros to 10240 bytes: cut before the end mark; and not in the checksum of zstd alone
        end = len(content.rstrip(b"\0")) if suffix == ".tar" else len(content) - 4 * (suffix == ".tar.zst")
        archive.write_bytes(content[: data.draw(st.integers(0, end - 1))])
        with pytest.raises(BadInput, match=f"data{suffix}: unreadable|an empty archive"):
            inputs.folder(archive)
        assert [path.name for path in Path(name).iterdir()] == [archive.name]


def test_a_tear_between_two_members_is_seen(tmp_path: Path) -> None:
    archive = pack(tmp_path / "data.tar", {"a": b"1" * 512, "b": b"2" * 512})
    archive.write_bytes(archive.read_bytes()[:1024])
    with pytest.raises(BadInput, match="ends before the end-of-archive mark"):
        inputs.folder(archive)


def test_an_empty_archive(tmp_path: Path) -> None:
    pack(tmp_path / "data.zip", {})
    with pytest.raises(BadInput, match="an empty archive"):
        inputs.folder(tmp_path / "data")


def test_a_restart_clears_what_a_kill_left(tmp_path: Path) -> None:
    (tmp_path / ".unpacking-data").mkdir()
    (tmp_path / ".unpacking-data" / "half").write_bytes(b"")
    pack(tmp_path / "data.tar", FILES)
    assert staged.contents(inputs.folder(tmp_path / "data")) == FILES


def test_a_file_of_the_folders_name(tmp_path: Path) -> None:
    pack(tmp_path / "data.tar", FILES)
    (tmp_path / "data").write_bytes(b"mine")
    with pytest.raises(BadInput, match="data: a file; a free name for what is in the archive"):
        inputs.folder(tmp_path / "data.tar")
    assert (tmp_path / "data").read_bytes() == b"mine"


def test_the_command(tmp_path: Path) -> None:
    manifest = staged.build(tmp_path, staged.FILES, 2, "zstd")
    command = [sys.executable, "-m", "submit.runtime.inputs", str(manifest)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["folder"] == str(tmp_path / "small") and said["bytes"] == sum(map(len, staged.FILES.values()))
    assert set(said) == {"folder", "bytes", "seconds", "MB/s"}
    assert "unpacking" in done.stderr


def test_the_commands_exit_codes(tmp_path: Path) -> None:
    manifest = staged.build(tmp_path, staged.FILES, 2)
    shard = next(tmp_path.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-1])
    command = [sys.executable, "-m", "submit.runtime.inputs", str(manifest)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (exit_codes.BAD_MACHINE, "")
    assert done.stderr.startswith(f"{shard}: ")
    shard.unlink()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (exit_codes.BAD_INPUT, "")
    assert "osgdl stage use" in done.stderr
