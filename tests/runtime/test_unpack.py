"""Hostile archives: refused, and nothing is written outside."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime import inputs, unpack, zstd
from submit.runtime.exit_codes import BadInput, BadMachine
from tests.runtime import staged

SUFFIXES = [".tar", ".tgz", ".tar.zst", ".zip"]


def refused(archive: Path, said: str, fault: type[Exception] = BadInput) -> None:
    """It is, and nothing is left or was made anywhere near."""
    box = archive.parent
    before = everything(box.parent)
    with pytest.raises(fault, match=said):
        inputs.folder(archive)
    assert everything(box.parent) == before


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        held = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(held.st_mode) and held.st_size < 1 << 20 else b""
        found[str(path)] = held.st_mode, held.st_nlink, content
    return found


def pack(folder: Path, suffix: str, names: Iterable[str]) -> Path:
    archive = folder / "box" / f"data{suffix}"
    archive.parent.mkdir(exist_ok=True)
    if suffix == ".zip":
        with warnings.catch_warnings(), zipfile.ZipFile(archive, "w") as packed:
            warnings.simplefilter("ignore")  # zipfile warns of a name that is there twice
            for name in names:
                packed.writestr(name, b"evil")
        return archive
    content = b"".join(member(name) for name in names) + bytes(1024)
    compress: dict[str, Callable[[bytes], bytes]] = {
        ".tar": bytes,
        ".tgz": gzip.compress,
        ".tar.zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    }
    archive.write_bytes(compress[suffix](content))
    return archive


def member(name: str, content: bytes = b"evil", form: int = tarfile.PAX_FORMAT, **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form, "utf-8", "surrogateescape") + content + bytes(-len(content) % 512)


def raw(folder: Path, content: bytes, suffix: str = ".tar") -> Path:
    archive = folder / "box" / f"data{suffix}"
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil", "points outside"),
        ("/tmp/osgdl-evil", "points outside"),  # noqa: S108
        ("//evil", "points outside"),
        ("a/../../evil", "points outside"),
        ("a/..", "points outside"),
        ("..", "points outside"),
        ("../box2/evil", "points outside"),
        ("a\nb", "control characters"),
        ("a\x1b[2Jb", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\u009bb", "control characters"),
        ("ä" * 128, "too long a name"),
        ("b/" * 2100 + "c", "too long a name"),
        ("b/" * 2045 + "c", "too long a name"),  # with the folder's own path
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_names(tmp_path: Path, suffix: str, name: str, said: str) -> None:
    refused(pack(tmp_path, suffix, ["good", name]), said)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_in_a_header_of_its_own(tmp_path: Path, form: int) -> None:
    refused(raw(tmp_path, member("a/" * 60 + "../" * 61 + "evil", form=form) + bytes(1024)), "points outside")


def test_a_pax_header_that_renames_a_good_member(tmp_path: Path) -> None:
    content = member("good", pax_headers={"path": "../evil"}) + bytes(1024)
    assert b"good" in content
    refused(raw(tmp_path, content), "points outside")


def test_a_pax_header_that_resizes_a_member(tmp_path: Path) -> None:
    refused(raw(tmp_path, member("good", pax_headers={"size": "1" + "0" * 15}) + bytes(1024)), "out of")


def test_a_pax_header_that_makes_a_link(tmp_path: Path) -> None:
    fields = {"type": tarfile.SYMTYPE, "linkname": "x", "pax_headers": {"linkpath": "/etc/passwd"}}
    refused(raw(tmp_path, member("good", b"", **fields) + bytes(1024)), "'good' is a link")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a file with holes"),
        (b"M", "of a kind that nobody knows"),
    ],
)
@pytest.mark.parametrize("target", ["..", "/etc", "good"])
def test_links_and_devices(tmp_path: Path, kind: bytes, said: str, target: str) -> None:
    link = member("x", b"", type=kind, linkname=target)
    refused(raw(tmp_path, member("good") + link + member("x/evil") + bytes(1024)), f"'x' is {said}; files and folders")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "a"], "'a' is in it twice"),
        (["a", "./a"], "'.?/?a' is in it twice"),
        (["a", "a/b"], "'a/b' is a file and a folder at once"),
        (["a/b", "a"], "'a' is a file and a folder at once"),
    ],
)
def test_one_name_for_two(tmp_path: Path, suffix: str, names: list[str], said: str) -> None:
    refused(pack(tmp_path, suffix, names), said)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_are_odd_and_good(tmp_path: Path, suffix: str) -> None:
    """Cases of a letter, the names we use ourselves, spaces, a backslash."""
    names = [".unpacking-data", "data/data", "A", "a", "..a", "b c", "d\\e", "ü", ".data-inputs.json"]
    folder = inputs.folder(pack(tmp_path, suffix, names))
    assert staged.contents(folder) == dict.fromkeys(names, b"evil")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data", f"data{suffix}"]


def test_a_file_is_ours_to_read_and_nobodys_to_run(tmp_path: Path) -> None:
    folder = inputs.folder(raw(tmp_path, member("x", mode=0o6777, uid=1234) + bytes(1024)))
    held = (folder / "x").stat()
    assert (held.st_mode & 0o7111, held.st_uid) == (0, os.getuid())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "SMALL", 1_000_000)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.usefixtures("small")
def test_bombs(tmp_path: Path, suffix: str) -> None:
    archive = raw(tmp_path, b"", suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("bomb", bytes(30_000_000))
    else:
        bomb = member("bomb", bytes(30_000_000)) + bytes(1024)
        archive.write_bytes(
            {".tar": lambda held: held[:100_000], ".tgz": gzip.compress, ".tar.zst": zstandard.compress}[suffix](bomb)
        )
    refused(archive, "'bomb' makes 30,000,000 bytes out of .*; at most 200 times its size")


@pytest.mark.usefixtures("small")
def test_a_bomb_of_many_files(tmp_path: Path) -> None:
    content = b"".join(member(f"f{number}", bytes(100_000)) for number in range(50)) + bytes(1024)
    refused(raw(tmp_path, zstandard.compress(content), ".tar.zst"), "makes 1,[01]00,000 bytes out of")


def test_a_bomb_of_zeros_after_the_end(tmp_path: Path) -> None:
    content = gzip.compress(member("x") + bytes(80_000_000), 1)
    refused(raw(tmp_path, content, ".tar.gz"), "bytes after its end-of-archive mark")


def test_a_bomb_in_a_header(tmp_path: Path) -> None:
    content = gzip.compress(member("x" * 50_000_000, form=tarfile.GNU_FORMAT), 1)
    refused(raw(tmp_path, content, ".tgz"), "unreadable .headers of 50,000,")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MOST_MEMBERS", 10)
    refused(pack(tmp_path, ".tgz", map(str, range(11))), "more than 10 members; fewer, larger files")


@pytest.mark.parametrize(
    ("suffix", "content", "said"),
    [
        (".tgz", gzip.compress(member("x") + bytes(1024)) + b"garbage", "unreadable"),
        (".tgz", gzip.compress(member("x") + bytes(1024)) + gzip.compress(b"garbage"), "bytes after its end"),
        (".tar.zst", zstandard.compress(member("x") + bytes(1024)) + b"garbage", "unreadable"),
        (".tar.zst", zstandard.compress(member("x") + bytes(1024)) + zstandard.compress(b"hi"), "bytes after its end"),
        (".tar", member("x") + bytes(1024) + member("y") + bytes(1024), "bytes after its end"),
        (".tar", gzip.compress(member("x") + bytes(1024)), "unreadable"),
        (".zip", b"PK\5\6" + bytes(18), "an empty archive"),
    ],
    # A gzip head holds the time: as a name it differs between the workers.
    ids=["gzip, garbage", "gzip, gzip", "zstd, garbage", "zstd, zstd", "tar, tar", "gzip as tar", "empty zip"],
)
def test_more_than_an_archive(tmp_path: Path, suffix: str, content: bytes, said: str) -> None:
    refused(raw(tmp_path, content, suffix), said)


def test_gzip_of_several_members_is_one(tmp_path: Path) -> None:
    content = member("x") + bytes(1024)
    archive = raw(tmp_path, gzip.compress(content[:100]) + gzip.compress(content[100:]), ".tar.gz")
    assert staged.contents(inputs.folder(archive)) == {"x": b"evil"}


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MARGIN", shutil.disk_usage(tmp_path).total)
    said = r"box: [0-9,]+ bytes free on this machine's disk; [0-9,]+ to unpack the data; .* request_disk = [0-9]+ MB"
    refused(pack(tmp_path, ".tgz", ["x"]), said, BadMachine)


def test_nothing_reads_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "MODULES", ())
    monkeypatch.setenv("PATH", "")
    refused(pack(tmp_path, ".tar.zst", ["x"]), "add zstandard to the image's packages, or stage again with")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), suffix=st.sampled_from(SUFFIXES))
def test_whatever_is_in_it_stays_in_its_folder(
    data: st.DataObject, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Names of any kind, and bytes changed at random."""
    part = st.sampled_from(["a", "b", "..", ".", "", "\0", "\n", "data", "é", "x" * 300, "~", "C:"])
    names = st.lists(
        st.lists(part, min_size=1, max_size=4).map("/".join).filter(lambda name: name[:1] not in ("", "\0")),
        min_size=1,
        max_size=4,
    )
    root = tmp_path_factory.mktemp("fuzz")
    try:
        archive = pack(root, suffix, data.draw(names))
        content = bytearray(archive.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        archive.write_bytes(content)
        try:
            folder = inputs.folder(archive)
        except BadInput:
            assert [path.name for path in archive.parent.iterdir()] == [archive.name]
        else:
            assert not any(path.is_symlink() for path in folder.rglob("*"))
            assert {path.name for path in archive.parent.iterdir()} == {archive.name, "data"}
        assert [path.name for path in root.iterdir()] == ["box"]
    finally:
        shutil.rmtree(root)
