"""Objects in a folder: whole or not there, never overwritten, whoever is killed when.

`--soak`: 100 kills at random moments instead of 20.
"""

from __future__ import annotations

import errno
import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from submit import origin_folder, spool
from submit.errors import StageError
from submit.origin_folder import FolderOrigin

REPO = Path(__file__).parents[2]
SIZE = 3_000_000
NAME = "brats-0000-3f9a1c0d2b7e.tar"
# argv: source, folder, name; moved: the source is built in the spool. Small chunks make many moments to be killed at.
PUT = """
import os, signal, sys
from pathlib import Path
from submit import origin_folder
origin_folder.CHUNK = 1 << 15
source, folder, name, way, at = sys.argv[1:]
seen = 0
def count(event, arguments):
    global seen
    seen += 1
    if seen == int(at):
        os.kill(os.getpid(), signal.SIGKILL)
origin = origin_folder.FolderOrigin(Path(folder), folder)
file = Path(source)
print("ready", flush=True)
if int(at):
    sys.addaudithook(count)
if way == "moved":
    file = origin.spool() / "object"
    file.write_bytes(Path(source).read_bytes())
print(origin.put(file, name, lambda done, total: None), flush=True)
"""


def nothing(done: int, total: int) -> None:
    pass


def start(source: Path, folder: Path, way: str = "copied", at: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUT, str(source), str(folder), NAME, way, str(at)]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(random.Random(5).randbytes(SIZE))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "staged"


def whole(folder: Path, source: Path) -> bool:
    """Whether the object is there; it must not be there in part."""
    try:
        seen = (folder / NAME).stat().st_size
    except FileNotFoundError:
        return False
    assert seen == SIZE, f"a reader saw {seen} of {SIZE} bytes"
    return True


def mended(folder: Path, source: Path) -> None:
    """A second run completes it and leaves the object alone."""
    was_there = whole(folder, source)
    origin = FolderOrigin(folder, str(folder))
    origin.spool()
    assert origin.put(source, NAME, nothing) is not was_there
    del origin
    gc.collect()
    assert [file.name for file in folder.iterdir()] == [NAME]
    assert (folder / NAME).read_bytes() == source.read_bytes()


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


@pytest.mark.parametrize("way", ["copied", "moved"])
def test_killed_before_each_call_of_the_system(folder: Path, source: Path, way: str) -> None:
    """Audit events stand before every open, link, lock and unlink: each is the last thing a run does, once."""
    kills = 0
    for at in range(1, 100):
        with start(source, folder, way, at) as run:
            assert run.stdout is not None
            said = run.stdout.read()
        if run.returncode == 0:
            assert said == "ready\nTrue\n"
            break
        assert run.returncode == -signal.SIGKILL
        kills += 1
        mended(folder, source)
        (folder / NAME).unlink()
    assert kills > 8
    assert [file.name for file in folder.iterdir()] == [NAME]


def test_killed_at_random_moments(folder: Path, source: Path, request: pytest.FixtureRequest) -> None:
    seed = 20
    draw = random.Random(seed)
    took, cut, through = 0.05, 0, 0
    for _ in range(100 if request.config.getoption("--soak") else 20):
        with start(source, folder, draw.choice(["copied", "moved"])) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
            begun = time.monotonic()
            end = begun + draw.uniform(0, 1.2 * took)
            while time.monotonic() < end and run.poll() is None:
                whole(folder, source)
            run.kill()
        there = whole(folder, source)
        through += there
        cut += not there
        if there:
            took = max(0.005, min(took, time.monotonic() - begun))
        else:
            took *= 1.1
        mended(folder, source)
        (folder / NAME).unlink()
    assert cut, "no kill came before the end"
    assert through, "no kill came after it"


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


def test_a_fork_does_not_take_the_spool_along(folder: Path) -> None:
    origin = FolderOrigin(folder, str(folder))
    built = origin.spool()
    child = os.fork()
    if not child:
        del origin
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert built.exists()


RACE = """
import sys
from pathlib import Path
from submit.errors import StageError
from submit.origin_folder import FolderOrigin
folder, mine, other, size, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
origin, source = FolderOrigin(folder / "staged", "x"), folder / f"source-{mine}"
source.write_bytes(b"x" * size)
for number in range(rounds):
    (folder / f"{mine}-{number}").touch()
    while not (folder / f"{other}-{number}").exists():
        pass
    try:
        print(origin.put(source, f"{number}.tar", lambda done, total: None))
    except StageError as error:
        print("holds" if "holds" in str(error) else error)
"""


@pytest.mark.parametrize(("sizes", "loser"), [((50_000, 50_000), "False"), ((50_000, 50_001), "holds")])
def test_of_two_at_once_one_wins(tmp_path: Path, sizes: tuple[int, int], loser: str) -> None:
    rounds = 40
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), mine, other, str(size), str(rounds)],
            cwd=REPO,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mine, other, size in (("a", "b", sizes[0]), ("b", "a", sizes[1]))
    ]
    said = [run.communicate(timeout=60)[0].split() for run in runs]
    assert [sorted(pair) for pair in zip(*said, strict=True)] == [sorted(("True", loser))] * rounds
    for number in range(rounds):
        winner = [pair[number] for pair in said].index("True")
        assert (tmp_path / "staged" / f"{number}.tar").stat().st_size == sizes[winner]
    assert len(list((tmp_path / "staged").iterdir())) == rounds


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
