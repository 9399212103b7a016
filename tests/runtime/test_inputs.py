from __future__ import annotations

import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime import inputs
from submit.runtime.exit_codes import BadInput

FILES = {"train/p1/flair.nii": os.urandom(30_000), "train/p2/flair.nii": b"two" * 5000, "empty": b""}


def pack(archive: Path, files: dict[str, bytes]) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return archive


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_passes(tmp_path: Path) -> None:
    assert inputs.folder(tmp_path) == tmp_path


@pytest.mark.parametrize("suffix", inputs.SUFFIXES)
@pytest.mark.parametrize("top", ["", "data/"])
@pytest.mark.parametrize("named", ["folder", "archive"])
def test_an_archive_is_unpacked_beside_itself(tmp_path: Path, suffix: str, top: str, named: str) -> None:
    archive = pack(tmp_path / f"data{suffix}", {top + name: content for name, content in FILES.items()})
    asked = tmp_path / "data" if named == "folder" else archive
    assert inputs.folder(asked) == tmp_path / "data"
    assert contents(tmp_path / "data") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", f"data{suffix}"]
    archive.write_bytes(b"gone")
    assert inputs.folder(asked) == tmp_path / "data"  # after a restart in the same sandbox


def test_neither_is_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data: does not exist; a folder or an archive"):
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
        # a tar is padded with zeros to 10240 bytes: cut before the second half of the end mark
        end = len(content.rstrip(b"\0")) if suffix == ".tar" else len(content)
        archive.write_bytes(content[: data.draw(st.integers(0, end - 1))])
        with pytest.raises(BadInput, match=f"data{suffix}: unreadable|an empty archive"):
            inputs.folder(archive)
        assert [path.name for path in Path(name).iterdir()] == [archive.name]


def test_a_tear_between_two_members_is_seen(tmp_path: Path) -> None:
    archive = pack(tmp_path / "data.tar", {"a": b"1" * 512, "b": b"2" * 512})
    archive.write_bytes(archive.read_bytes()[:1024])
    with pytest.raises(BadInput, match="ends before the end-of-archive mark"):
        inputs.folder(archive)


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip"])
@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_members_outside_are_refused(tmp_path: Path, suffix: str, name: str) -> None:
    pack(tmp_path / f"data{suffix}", {"good": b"", name: b"evil"})
    with pytest.raises(BadInput, match="points outside"):
        inputs.folder(tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == [f"data{suffix}"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, said: str) -> None:
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        member = tarfile.TarInfo("x")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(BadInput, match=f"'x' is {said}"):
        inputs.folder(tmp_path / "data")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as packed:
        link = zipfile.ZipInfo("x")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(BadInput, match="'x' is a link"):
        inputs.folder(tmp_path / "data")


def test_an_empty_archive(tmp_path: Path) -> None:
    pack(tmp_path / "data.zip", {})
    with pytest.raises(BadInput, match="an empty archive"):
        inputs.folder(tmp_path / "data")


def test_a_file_and_a_folder_of_one_name(tmp_path: Path) -> None:
    pack(tmp_path / "data.tar", {"a": b"", "a/b": b""})
    with pytest.raises(BadInput, match="a file and a folder at once"):
        inputs.folder(tmp_path / "data")


def test_a_restart_clears_what_a_kill_left(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / ".unpacking-data").mkdir()
    (tmp_path / ".unpacking-data" / "half").write_bytes(b"")
    pack(tmp_path / "data.tar", FILES)
    assert contents(inputs.folder(tmp_path / "data")) == FILES
