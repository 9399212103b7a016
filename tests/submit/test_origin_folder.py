"""Objects in a folder: whole or not there, never overwritten. Who is killed when: test_origin_folder_processes.py."""

from __future__ import annotations

import errno
import gc
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from submit import origin_folder, spool
from submit.errors import StageError
from submit.origin_folder import FolderOrigin

REPO = Path(__file__).parents[2]
SIZE = 3_000_000
NAME = "brats-0000-3f9a1c0d2b7e.tar"


def nothing(done: int, total: int) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(random.Random(5).randbytes(SIZE))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "staged"


def test_an_object_is_put_listed_read_and_removed(folder: Path, source: Path) -> None:
    origin = FolderOrigin(folder, "osdf:///ospool/ap40/data/jane")
    assert origin.objects() == {}
    assert not folder.exists()
    seen: list[tuple[int, int]] = []
    assert origin.put(source, NAME, lambda done, total: seen.append((done, total))) is True
    assert seen[-1] == (SIZE, SIZE)
    assert source.exists()
    assert origin.objects() == {NAME: SIZE}
    with origin.open(NAME) as file:
        assert file.read() == source.read_bytes()
    assert origin.put(source, NAME, lambda done, total: pytest.fail("copied again")) is False
    origin.remove(NAME)
    origin.remove(NAME)
    assert list(folder.iterdir()) == []


def test_a_file_built_in_the_spool_is_moved_and_the_spool_goes(folder: Path) -> None:
    origin = FolderOrigin(folder, str(folder))
    built = origin.spool() / "building"
    built.write_bytes(b"shard")
    node = built.stat().st_ino
    assert origin.objects() == {}
    assert origin.spool() == built.parent
    assert origin.put(built, NAME, nothing) is True
    assert (folder / NAME).stat().st_ino == node
    assert not built.exists()
    del origin
    gc.collect()
    assert [file.name for file in folder.iterdir()] == [NAME]


def test_nothing_is_overwritten(folder: Path, source: Path) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(b"another")
    (folder / "folder.tar").mkdir()
    (folder / "link.tar").symlink_to(source)
    origin = FolderOrigin(folder, str(folder))
    with pytest.raises(StageError, match=r"tar: holds 7 bytes; 3,000,000 bytes were to be put there, and nothing is"):
        origin.put(source, NAME, nothing)
    for name in ("folder.tar", "link.tar"):
        with pytest.raises(StageError, match="holds something that is no file"):
            origin.put(source, name, nothing)
    assert (folder / NAME).read_bytes() == b"another"
    assert origin.objects() == {NAME: 7}


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a?b", "a#b", "a%20b", "a\nb", "é" * 101])
def test_a_name_that_is_none(folder: Path, source: Path, name: str) -> None:
    origin = FolderOrigin(folder, str(folder))
    for call in (lambda: origin.put(source, name, nothing), lambda: origin.remove(name)):
        with pytest.raises(StageError, match="no object's name"):
            call()


def test_what_is_not_there_and_what_cannot_be_made(folder: Path, source: Path) -> None:
    origin = FolderOrigin(folder, str(folder))
    with pytest.raises(StageError, match=r"nothing: No such file or directory; a file to put at .* is wanted"):
        origin.put(folder / "nothing", NAME, nothing)
    with pytest.raises(StageError, match="cannot be read: No such file or directory; an object that was staged"):
        origin.open(NAME).__enter__()
    within = FolderOrigin(source / "below", str(folder))
    with pytest.raises(StageError, match=r"cannot make the folder: .*; a folder you can write to is wanted"):
        within.spool()
    with pytest.raises(StageError, match="cannot list it: Not a directory"):
        FolderOrigin(source, str(source)).objects()
    folder.mkdir()
    (folder / NAME).mkdir()
    with pytest.raises(StageError, match="cannot be removed: Is a directory"):
        origin.remove(NAME)


def test_a_source_that_grows_is_refused(folder: Path, source: Path) -> None:
    def grow(done: int, total: int) -> None:
        if done == total:
            with source.open("ab") as file:
                file.write(b"more")

    with pytest.raises(StageError, match="had 3,000,000 bytes and now 3,000,004"):
        FolderOrigin(folder, str(folder)).put(source, NAME, grow)
    assert list(folder.iterdir()) == []


def test_what_a_living_process_works_on_stays(folder: Path, source: Path) -> None:
    folder.mkdir()
    other = FolderOrigin(folder, str(folder))
    (other.spool() / "building").write_bytes(b"half")
    with spool.part(folder, "other.tar") as (path, _):
        FolderOrigin(folder, str(folder)).put(source, NAME, nothing)
        assert path.exists()
        assert (other.spool() / "building").exists()
    assert not path.exists()


def test_hidden_files_of_others_are_left_alone(folder: Path, source: Path) -> None:
    kept = [
        ".x.osgdl-1234.part",
        ".osgdl-0123456789abcdef",
        "brats.part",
        f".{NAME}.host.0123456789abcdef.part",
        ".git",
    ]
    folder.mkdir()
    for name in kept:
        (folder / name).write_bytes(b"")
    (folder / ".osgdl-0123456789abcdef.spool").mkdir()  # no lock: a sweep was killed in it
    (folder / ".x.tar.osgdl-0123456789abcdef.part").symlink_to(source)
    FolderOrigin(folder, str(folder)).put(source, NAME, nothing)
    left = {file.name for file in folder.iterdir()}
    assert left == {*kept, NAME, ".x.tar.osgdl-0123456789abcdef.part"}
    assert source.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB and 12 files."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=12", "none", str(place)]
    if os.getuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here (root is needed)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_said_and_nothing_is_left(small_disk: Path, source: Path) -> None:
    origin = FolderOrigin(small_disk / "staged", str(small_disk))
    before = origin.room()
    assert before.free_bytes == 1 << 20
    assert before.free_files is not None
    assert before.free_files <= 12
    with pytest.raises(StageError, match=r"No space left on device, 1\.0 MB free \(.*\); more room is wanted"):
        origin.put(source, NAME, nothing)
    assert list((small_disk / "staged").iterdir()) == []
    file = small_disk / "staged" / "file"
    with pytest.raises(OSError, match="No space left"):
        for number in range(20):
            file.with_name(f"{number}").touch()
    with pytest.raises(StageError, match="cannot make a folder to build in: No space left on device"):
        origin.spool()


def test_a_file_system_without_hard_links(folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    origin = FolderOrigin(folder, str(folder))
    assert origin.put(source, NAME, nothing) is True
    assert origin.put(source, NAME, nothing) is False
    (folder / "a").write_bytes(b"a")
    assert origin_folder.publish(folder / "a", folder / NAME) is False
    assert (folder / NAME).read_bytes() == source.read_bytes()
    monkeypatch.setattr(origin_folder.ctypes, "CDLL", lambda *_, **__: object())
    with pytest.raises(StageError, match="cannot be put there: Function not implemented"):
        origin.put(source, "other.tar", nothing)
    assert not (folder / "other.tar").exists()


def test_a_link_that_was_made_and_answered_as_taken_counts(folder: Path) -> None:
    """NFS sends a call again when the answer was lost."""
    folder.mkdir()
    (folder / "part").write_bytes(b"a")
    (folder / NAME).hardlink_to(folder / "part")
    assert origin_folder.publish(folder / "part", folder / NAME) is True


def test_a_file_system_without_locks_keeps_its_leftovers(
    folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(spool.fcntl, "flock", refuse)
    folder.mkdir()
    left = folder / ".x.tar.osgdl-0123456789abcdef.part"
    left.touch()
    assert FolderOrigin(folder, str(folder)).put(source, NAME, nothing) is True
    assert {file.name for file in folder.iterdir()} == {NAME, left.name}


def test_a_sweep_between_a_file_and_its_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    lock = spool.fcntl.flock
    taken: list[Path] = []

    def late(descriptor: int, how: int) -> None:
        if not taken:
            taken.extend(folder.iterdir())
            monkeypatch.setattr(spool.fcntl, "flock", lock)
            spool.sweep(folder)
        lock(descriptor, how)

    monkeypatch.setattr(spool.fcntl, "flock", late)
    with spool.part(folder, NAME) as (path, _):
        assert path.exists()
        assert path != taken[0]


def test_quotas_of_cephfs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CephFS cannot be here: its attributes are stood in for, as getfattr shows them on it."""
    folder.mkdir()
    set_there: dict[tuple[Path, str], bytes] = {}

    def read(path: Path, name: str) -> bytes:
        if (path, name) not in set_there:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return set_there[path, name]

    monkeypatch.setattr(os, "getxattr", read)
    origin = FolderOrigin(folder / "brats", "osdf:///ospool/ap40/data/jane/brats")
    assert "a quota cannot be read here, the documented one is 100.0 GB" in origin.room().note
    set_there[folder.parent, "ceph.quota.max_bytes"] = b"100000"
    set_there[folder.parent, "ceph.dir.rbytes"] = b"97500\0"
    set_there[folder, "ceph.quota.max_bytes"] = b"0"  # none
    room = origin.room()
    assert room.free_bytes == 2500
    assert room.note == f"the quota of {folder.parent}: 97.5 kB of 100.0 kB used"
    set_there[folder, "ceph.quota.max_files"] = b"10"
    set_there[folder, "ceph.dir.rfiles"] = b"12"
    set_there[folder, "ceph.quota.max_bytes"] = b"nonsense"
    room = origin.room()
    assert (room.free_bytes, room.free_files) == (2500, 0)
    assert room.note.endswith(f"; 12 of 10 files used in {folder}")


def test_how_long_objects_have_been_there(tmp_path: Path, source: Path) -> None:
    place = FolderOrigin(tmp_path / "place", "osdf:///x")
    assert place.ages() == {}
    os.utime(source, (1, 1))
    place.put(source, NAME, nothing)
    # a time that somebody set back does not make an object old, nor does a rename
    os.utime(place.folder / NAME, (1, 1))
    built = place.spool() / "object"
    built.write_bytes(b"built")
    os.utime(built, (1, 1))
    place.put(built, "brats-0001-3f9a1c0d2b7e.tar", nothing)
    ages = place.ages()
    assert ages.keys() == place.objects().keys() and all(-1 < age < 60 for age in ages.values())
    there = place.objects()
    (place.folder / NAME).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "objects", lambda: there)
        assert len(place.ages()) == 1  # it went meanwhile
