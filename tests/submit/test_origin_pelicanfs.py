"""pelicanfs: another fsspec file system stands in for the OSDF's; where pelicanfs is, its class is looked at too."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from submit import origin_pelicanfs
from submit.errors import StageError
from submit.origin_pelicanfs import PelicanfsOrigin

fsspec = pytest.importorskip("fsspec", reason="fsspec, which pelicanfs is built on, is not installed")
from fsspec.implementations.dirfs import DirFileSystem  # noqa: E402
from fsspec.implementations.local import LocalFileSystem  # noqa: E402

URL = "osdf:///ospool/ap40/data/jane/brats"
NAME = "brats-0000-3f9a1c0d2b7e.tar"


def nothing(done: int, total: int) -> None:
    pass


class System(DirFileSystem):
    """A folder whose paths are the OSDF's. It uploads as pelicanfs does: nothing is checked."""

    fault: Exception | None = None
    loses = False

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), LocalFileSystem(auto_mkdir=True))

    def _join(self, path: Any) -> Any:
        return super()._join(path.lstrip("/") if isinstance(path, str) else path)

    def put_file(self, lpath: str, rpath: str, **kwargs: object) -> None:
        if self.fault:
            raise self.fault
        if not self.loses:
            super().put_file(lpath, rpath)

    def ls(self, path: str, detail: bool = True, **kwargs: object) -> Any:
        if isinstance(self.fault, PermissionError):
            raise self.fault
        return super().ls(path, detail=detail)


class Reader(DirFileSystem):
    """A release without an upload of its own, as fsspec's AsyncFileSystem answers then."""

    def put_file(self, lpath: str, rpath: str, **kwargs: object) -> None:
        raise NotImplementedError


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    file = tmp_path / "shard"
    file.write_bytes(b"shard" * 1000)
    return file


def test_an_object_is_put_listed_and_read(system: System, shard: Path, tmp_path: Path) -> None:
    origin = PelicanfsOrigin(URL, system)
    assert origin.objects() == {}
    seen: list[tuple[int, int]] = []
    assert origin.put(shard, NAME, lambda done, total: seen.append((done, total))) is True
    assert seen == [(0, 5000), (5000, 5000)]
    place = tmp_path / "ospool/ap40/data/jane/brats"
    assert (place / NAME).read_bytes() == shard.read_bytes()
    (place / "collection").mkdir()
    assert origin.objects() == {NAME: 5000}
    assert origin.put(shard, NAME, lambda done, total: pytest.fail("uploaded again")) is False
    with origin.open(NAME) as file:
        assert file.read() == shard.read_bytes()
    assert "pelicanfs cannot say how much room is left" in origin.room().note
    built = origin.spool()
    del origin
    gc.collect()
    assert not built.exists()


def test_what_goes_wrong_is_said_without_secrets(system: System, shard: Path, tmp_path: Path) -> None:
    origin = PelicanfsOrigin(URL, system)
    origin.put(shard, NAME, nothing)
    with pytest.raises(StageError, match="holds 5,000 bytes; 3 bytes were to be put there"):
        shard.write_bytes(b"abc")
        origin.put(shard, NAME, nothing)
    with pytest.raises(StageError, match="nothing: No such file or directory; a file to put"):
        origin.put(tmp_path / "nothing", NAME, nothing)
    with pytest.raises(StageError, match="no such object; a staged one is wanted"):
        origin.open("other.tar").__enter__()
    with pytest.raises(StageError, match="pelicanfs cannot remove an object"):
        origin.remove(NAME)
    system.loses = True
    with pytest.raises(StageError, match="uploaded, and not there"):
        origin.put(shard, "other.tar", nothing)
    system.fault = RuntimeError("401 with Authorization: Bearer abcdef123\nhere")
    with pytest.raises(
        StageError, match=r"tar: upload by pelicanfs failed: RuntimeError: 401 .*\[hidden\] here; a token"
    ):
        origin.put(shard, "other.tar", nothing)
    system.fault = PermissionError("token=abcdef123")
    with pytest.raises(StageError, match=r"brats: listing by pelicanfs failed: PermissionError: token=\[hidden\]"):
        origin.objects()


def test_a_release_that_only_reads(shard: Path, tmp_path: Path) -> None:
    origin = PelicanfsOrigin(URL, Reader(str(tmp_path), LocalFileSystem()))
    with pytest.raises(StageError, match="can read and not write"):
        origin.put(shard, NAME, nothing)


def test_the_real_package_can_upload() -> None:
    pytest.importorskip("pelicanfs", reason="pelicanfs is not installed")
    system = origin_pelicanfs.file_system()
    assert system._put_file.__func__.__module__ == "pelicanfs.core"


def test_nobody_says_how_old_an_object_is(system: System, shard: Path) -> None:
    origin = PelicanfsOrigin(URL, system)
    origin.put(shard, NAME, nothing)
    assert origin.ages() == {}
