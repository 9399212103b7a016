"""A pack's bytes: the same for the same files, read by others' tar and zstd, and nothing of this machine in them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from submit import packs
from submit.errors import StageError
from submit.packs import Member, Packed
from submit.runtime.manifest import File
from tests.submit.dataset_maker import content, files

LONG = f"{'folder/' * 30}{'n' * 200}.nii.gz"
HELD: dict[str, bytes | int] = {"b/two.raw": 2000, "a.txt": b"one\n", "é/Ä 日本.nii": 700, LONG: 3, "b/empty": b""}
# Of HELD. A change means that a data set staged before gets new names, all of it travels again: so it is seen here.
NONE = "293c0cd822b09283b337d2973a0c1cc7e6a8a32e5d320287a78b0df2aac7ec5b"
ZSTD = "95665b1c338ab92bb276967704579a87669637beaa90511ede71c7cc90a44f7e"


def members(folder: Path) -> list[Member]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [Member(path.relative_to(folder).as_posix(), path, path.stat().st_size) for path in found]


def packed(of: list[Member], compression: str = "none", known: dict[str, str] | None = None) -> tuple[Packed, bytes]:
    out = io.BytesIO()
    return packs.pack(of, out, compression, known or {}), out.getvalue()


def test_the_bytes_are_those_of_every_time(tmp_path: Path) -> None:
    of = members(files(tmp_path, HELD))
    assert packed(of)[0].sha256 == NONE
    assert packed(of, "zstd")[0].sha256 == ZSTD


def test_the_bytes_know_no_order_owner_time_or_mode(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        of = members(files(tmp_path, HELD))
    finally:
        os.umask(old)
    for number, member in enumerate(of):
        os.utime(member.source, (number, number))
        if os.getuid() == 0:
            os.chown(member.source, 1234 + number, 99)
        member.source.chmod(0o777)
    assert packed(of[::-1])[0].sha256 == NONE


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    told, of = [], members(files(tmp_path, HELD))
    out = io.BytesIO()
    said = packs.pack(of, out, "none", {}, told.append)
    assert said.bytes == len(out.getvalue()) and said.sha256 == hashlib.sha256(out.getvalue()).hexdigest()
    held = {member.path: member.source.read_bytes() for member in of}
    assert said.files == {path: File(len(some), hashlib.sha256(some).hexdigest()) for path, some in held.items()}
    assert list(said.files) == sorted(held) and sum(told) == sum(map(len, held.values()))


def test_known_hashes_are_not_taken_again(tmp_path: Path) -> None:
    said, whole = packed(members(files(tmp_path, HELD)), known={"a.txt": "f" * 64})
    assert said.files["a.txt"].sha256 == "f" * 64 and said.files["b/empty"].sha256 == hashlib.sha256().hexdigest()
    assert said.sha256 == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_tar_and_zstd_read_it(tmp_path: Path, compression: str) -> None:
    of = members(files(tmp_path / "data", HELD))
    pack = tmp_path / "pack.tar"
    with pack.open("wb") as out:
        said = packs.pack(of, out, compression, {})
    if compression == "zstd":
        compressed = pack.rename(tmp_path / "pack.tar.zst")
        subprocess.run(["zstd", "-q", "-d", str(compressed), "-o", str(pack)], check=True)
        frame = zstandard.get_frame_parameters(compressed.read_bytes())
        assert frame.has_checksum and frame.content_size == pack.stat().st_size
    assert said.bytes <= packs.most(of) + 3 * 2 * tarfile.BLOCKSIZE  # three names need a pax header
    assert pack.read_bytes().endswith(bytes(2 * tarfile.BLOCKSIZE)) and pack.stat().st_size % tarfile.BLOCKSIZE == 0
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", str(pack), "-C", str(tmp_path / "out")], check=True)
    back = {member.path: member.source.read_bytes() for member in members(tmp_path / "out")}
    assert back == {member.path: member.source.read_bytes() for member in of}
    with tarfile.open(pack) as held:
        seen = held.getmembers()
    assert [one.name for one in seen] == sorted(HELD)
    assert {(one.mode, one.uid, one.gid, one.uname, one.gname, one.mtime) for one in seen} == {(0o644, 0, 0, "", "", 0)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=12), st.integers(0, 600_000))
def test_zstd_does_not_depend_on_how_the_bytes_come(cuts: list[int], size: int) -> None:
    """A network's file system reads less than was asked for."""
    whole = (content("half", 300_000) + bytes(300_000))[-size:] if size else b""

    def compressed(pieces: list[int]) -> bytes:
        out = io.BytesIO()
        compressor = zstandard.ZstdCompressor(level=packs.LEVEL, write_checksum=True, write_content_size=True)
        with compressor.stream_writer(out, size=len(whole), closefd=False) as stream:
            at = 0
            for piece in [*pieces, len(whole)]:
                stream.write(whole[at : at + piece])
                at += piece
        return out.getvalue()

    assert compressed(cuts) == compressed([])


def test_a_file_above_8_gib(tmp_path: Path) -> None:
    """More than the eleven octal digits of ustar hold. Sparse; only its head is looked at."""
    file = tmp_path / "large"
    with file.open("wb") as out:
        out.truncate(9 << 30)

    class Enough(Exception):
        pass

    class Head(io.BytesIO):
        def write(self, some: object) -> int:
            if self.tell() > 1 << 20:
                raise Enough
            return super().write(some)  # type: ignore[arg-type]

    head = Head()
    with pytest.raises(Enough):
        packs.pack([Member("large", file, 9 << 30)], head, "none", {})
    head.seek(0)
    with tarfile.open(fileobj=head, mode="r|") as held:
        first = held.next()
    assert first is not None and first.size == 9 << 30


@pytest.mark.parametrize("change", [b"longer than it was", b"s", b""])
def test_a_file_of_another_size(tmp_path: Path, change: bytes) -> None:
    of = members(files(tmp_path, {"a": b"counted"}))
    (tmp_path / "a").write_bytes(change)
    with pytest.raises(
        StageError, match=r"/a: it had 7 bytes when it was counted and has others now; .* nobody writes"
    ):
        packed(of)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    of = members(files(tmp_path, {"a": b"counted"}))
    (tmp_path / "a").unlink()
    with pytest.raises(StageError, match="/a: No such file or directory; a file that can be read is wanted"):
        packed(of)
    assert packs.compression_for(of) == "none"


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ({"noise": 3_000_000}, "none"),
        ({"zeros": bytes(3_000_000)}, "zstd"),
        ({"small": bytes(900_000)}, "none"),
        ({"a": 2_000_000, "b": bytes(2_000_000)}, "zstd"),
        ({"a": 9_700_000, "b": bytes(300_000)}, "none"),
        ({"a": b"", "b": b""}, "none"),
    ],
)
def test_what_is_worth_compressing(tmp_path: Path, held: dict[str, bytes | int], wanted: str) -> None:
    of = members(files(tmp_path, held))
    assert packs.compression_for(of) == packs.compression_for(of[::-1]) == wanted
