"""What a folder holds: every file, or the reason why it cannot travel; and whether anything changed."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from submit import inventory
from submit.errors import StageError
from tests.submit.dataset_maker import files


def fingerprint(source: Path) -> str:
    return inventory.take(source).fingerprint()


def test_every_file_by_path(tmp_path: Path) -> None:
    files(tmp_path, {"b/y": 5, "b/x": 3, "a": 0, "é": 1, ".hidden": 9, "b/.git/objects": 9, "b/c/d/e": 2})
    (tmp_path / "empty").mkdir()
    found = inventory.take(tmp_path)
    assert [(entry.path, entry.bytes) for entry in found.entries] == [
        ("a", 0), ("b/c/d/e", 2), ("b/x", 3), ("b/y", 5), ("é", 1)
    ]  # fmt: skip
    assert found.bytes == 11
    assert [member.source.stat().st_size for member in found.members()] == [0, 2, 3, 5, 1]


def test_twins(tmp_path: Path) -> None:
    """Names that other file systems take for one."""
    files(tmp_path, {"A.nii": 1, "a.nii": 2, "\u00e9": 3, "e\u0301": 4})
    assert {entry.bytes for entry in inventory.take(tmp_path).entries} == {1, 2, 3, 4}


def test_links_are_followed(tmp_path: Path) -> None:
    files(tmp_path, {"elsewhere/p1/flair": 7, "data/p2/flair": 5, "elsewhere/grades.csv": 3})
    (tmp_path / "data/p1").symlink_to("../elsewhere/p1")
    (tmp_path / "data/grades.csv").symlink_to(tmp_path / "elsewhere/grades.csv")
    (tmp_path / "source").symlink_to("data")
    for source in (tmp_path / "data", tmp_path / "source"):
        assert [(entry.path, entry.bytes) for entry in inventory.take(source).entries] == [
            ("grades.csv", 3), ("p1/flair", 7), ("p2/flair", 5)
        ]  # fmt: skip


def rewritten(file: Path) -> None:
    """As `cp -p` or `rsync -t` would: the same size and time."""
    seen = file.stat()
    time.sleep(0.02)
    file.write_bytes(bytes(seen.st_size))
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def replaced(file: Path) -> None:
    other = file.with_name(".other")
    other.write_bytes(file.read_bytes())
    other.replace(file)


@pytest.mark.parametrize(
    "change",
    [
        rewritten,
        replaced,
        lambda file: file.write_bytes(b"longer than before"),
        lambda file: file.unlink(),
        lambda file: file.rename(file.with_name("renamed")),
        lambda file: file.with_name("added").write_bytes(b""),
        lambda file: os.utime(file, ns=(5, 5)),
    ],
)
def test_a_change_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    source = files(tmp_path / "data", {"p1/a": 5, "p1/b": 5, "p2/a": 5})
    before = fingerprint(source)
    found = inventory.take(source)
    other = found.fingerprint(["p2/a"])
    assert fingerprint(source) == before == inventory.again(found, ["p1/a", "p1/b", "p2/a"])
    change(source / "p1/a")
    assert fingerprint(source) != before
    assert inventory.take(source).fingerprint(["p2/a"]) == other == inventory.again(found, ["p2/a"])
    if not (source / "p1/added").exists():
        assert inventory.again(found, ["p1/a"]) != found.fingerprint(["p1/a"])


def test_reading_is_no_change(tmp_path: Path) -> None:
    source = files(tmp_path, {"p1/a": 5, "p1/.notes": 1})
    before = fingerprint(source)
    (source / "p1/a").read_bytes()
    (source / "p1/.notes").write_text("hidden files do not travel")
    assert fingerprint(source) == before


def refused(source: Path, words: str) -> None:
    with pytest.raises(StageError, match=words) as caught:
        inventory.take(source)
    assert "\n" not in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    files(tmp_path, {"data.tar": 1})
    (tmp_path / "empty/below").mkdir(parents=True)
    refused(tmp_path / "data.tar", "data.tar'?: a file; the folder of a data set is wanted. Unpack it first")
    refused(tmp_path / "nowhere", "nowhere'?: no such folder; the folder of a data set is wanted. Check the path")
    refused(tmp_path / "empty", "empty'?: no file in it; a data set is wanted")


@pytest.mark.parametrize("name", ["new\nline", "tab\t", "bell\a", "zero\u200bwidth", b"latin\xe9", "rtl\u202e"])
def test_hostile_names(tmp_path: Path, name: str | bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"")
    refused(tmp_path, "^file='.*': a name that not every machine takes; a printable one. Rename it")


def test_what_is_no_file(tmp_path: Path) -> None:
    for name, kind in {"pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK}.items():
        source = files(tmp_path / f"with a {name}", {"p1/a": 1})
        os.mknod(source / name, kind | 0o600)
        refused(source, f"{name}: no plain file \\(a pipe, socket or device\\); remove it")


def test_links_to_nothing(tmp_path: Path) -> None:
    source = files(tmp_path, {"p1/a": 1})
    (source / "link").symlink_to("nowhere")
    refused(source, "link: No such file or directory; a file is wanted. Remove the link, or mend it")
    (source / "link").unlink()
    (source / "link").symlink_to("link")
    refused(source, "link: Too many levels of symbolic links; a file is wanted")


@pytest.mark.parametrize(("at", "to"), [("p1/up", ".."), ("p1/up", "."), ("p1/deep/up", "../.."), ("p1/up", "../p2")])
def test_loops(tmp_path: Path, at: str, to: str) -> None:
    source = files(tmp_path, {"p1/deep/a": 1, "p2/a": 1})
    (source / at).symlink_to(to)
    (source / "p2/back").symlink_to("../p1")
    refused(source, f"{re.escape(str(source))}/.*: a link that leads back above itself; remove it, or stage another")


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = files(tmp_path, {"p1/a": 1, "p2/a": 1})
    (source / "p1/a").chmod(0)
    if os.getuid() == 0:  # who reads everything
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path).stat().st_mode & 0o400 != 0)
    refused(source, "p1/a: cannot be read; mend its permissions: chmod u")
    (source / "p1/a").chmod(0o600)
    (source / "p2").chmod(0)
    if os.getuid() == 0:
        scandir = os.scandir

        def closed(path: str) -> object:
            if Path(path).name == "p2":
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", closed)
    refused(source, "p2: Permission denied; a folder that can be read is wanted")
    (source / "p2").chmod(0o700)
