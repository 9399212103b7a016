"""The tar reader reads what others write, and nothing that is not whole and plain."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime import tar
from tests.runtime import staged

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "GNU": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "/".join(["folder-with-a-long-name"] * 8)
NAMES = ["a", "b/c", "ä/ö.nii", "x" * 100, f"{LONG}/file", "y" * 255]
FILES = {name: name.encode() * (7 * number) for number, name in enumerate(NAMES)}


def read(content: bytes) -> dict[str, tuple[str, bytes]]:
    return {member.name: (member.kind, data.read(1 << 24)) for member, data in tar.members(io.BytesIO(content))}


def header(name: str = "x", size: int = 0, kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member.tobuf(tarfile.GNU_FORMAT)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tar.BLOCK)


def pax(content: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return header("pax", len(content), kind) + padded(content)


END = bytes(2 * tar.BLOCK)
SOUND = staged.tar({"a": b"1" * 700, "b/c": b"22", "ü" * 90: b""})


def signed(block: bytes) -> bytes:
    """With its checksum as it should be."""
    total = sum(block[:148] + b" " * 8 + block[156:512])
    return block[:148] + b"%06o\0 " % total + block[156:]


@pytest.mark.parametrize("form", FORMATS)
def test_what_tarfile_writes(form: str) -> None:
    files = {name: content for name, content in FILES.items() if form != "ustar" or (len(name) < 255)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[form]) as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1.5 if form == "pax" else 1
            packed.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        packed.addfile(folder)
    found = read(out.getvalue())
    assert found.pop("folder/" if "folder/" in found else "folder") == ("folder", b"")
    assert found == {name: ("file", content) for name, content in files.items()}


@pytest.mark.parametrize("form", ["ustar", "gnu", "oldgnu", "pax", "v7"])
def test_what_gnu_tar_writes(tmp_path: Path, form: str) -> None:
    if not shutil.which("tar"):
        pytest.skip("no tar here")
    files = {name: content for name, content in FILES.items() if len(name) < 99 or form not in ("ustar", "v7")}
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    command = ["tar", "cf", tmp_path / "out.tar", f"--format={form}", "-C", tmp_path / "in", "."]
    subprocess.run(command, check=True)
    found = read((tmp_path / "out.tar").read_bytes())
    assert {name[2:]: content for name, (kind, content) in found.items() if kind == "file"} == files


@given(
    files=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=150).filter(
            lambda name: not name.endswith("/")
        ),
        st.binary(max_size=1500),
        max_size=5,
    )
)
def test_all_names_and_contents_come_back(files: dict[str, bytes]) -> None:
    assert read(staged.tar(files)) == {name: ("file", content) for name, content in files.items()}


def test_a_size_in_a_pax_header_is_the_size() -> None:
    content = pax(b"9 size=3\n") + header("x", 0) + padded(b"abc") + END
    assert read(content) == {"x": ("file", b"abc")}


def test_a_size_in_binary() -> None:
    block = bytearray(header("x", 3))
    block[124:136] = b"\x80" + (3).to_bytes(11, "big")
    assert read(signed(bytes(block)) + padded(b"abc") + END) == {"x": ("file", b"abc")}


def test_what_is_not_read_is_skipped() -> None:
    assert [member.name for member, _ in tar.members(io.BytesIO(SOUND))] == ["a", "b/c", "ü" * 90]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends before the end-of-archive mark"),
        (SOUND[:-1024], "ends before the end-of-archive mark"),
        (SOUND[:-512], "ends before the end-of-archive mark"),
        (SOUND[:600], "ends inside a member"),
        (SOUND[:1300], "ends before the end-of-archive mark"),
        (SOUND + b"\0" * 511 + b"1", "bytes after its end-of-archive mark"),
        (SOUND + SOUND, "bytes after its end-of-archive mark"),
        (SOUND[:-1024] + bytes(512) + SOUND, "one zero block inside it"),
        (SOUND[:100] + b"\1" + SOUND[101:], "checksum is wrong"),
        (b"<html>" + b"x" * 600, "with a number that is none"),
        (pax(b"10 size=-1\n"), "a pax header that is none"),
        (pax(b"11 size=-1\n") + header() + END, "a size that is no number"),
        (pax(b"13 size=1e99\n") + header() + END, "a size that is no number"),
        (pax(b"999999 path=a\n") + header() + END, "a pax header that is none"),
        (pax(b"path=a\n") + header() + END, "a pax header that is none"),
        (pax(b"7 path=\n") + header() + END, "a pax header that is none"),
        (pax(b"10 path=x\n", tarfile.XGLTYPE) + header() + END, "gives all members one path"),
        (pax(b"10 path=x\n") + END, "a header without its member"),
        (header("big", 1 << 33, tarfile.XHDTYPE), "headers of 8,589,935,104 bytes"),
        (header("big", 1 << 33, tarfile.GNUTYPE_LONGNAME), "headers of 8,589,935,104 bytes"),
        (pax(b"10 path=x\n") * 2100, "headers of 1,048,[0-9]+ bytes before a member"),
        (signed(header()[:124] + b"\xff" * 12 + header()[136:]) + END, "a number that is none"),
        (signed(header()[:124] + b"0000000000-1" + header()[136:]) + END, "a number that is none"),
    ],
)
def test_what_is_no_tar(content: bytes, said: str) -> None:
    with pytest.raises(tar.Damaged, match=said):
        read(content)


def test_zeros_without_an_end() -> None:
    class Zeros:
        def read(self, size: int, /) -> bytes:
            return bytes(size)

    with pytest.raises(tar.Damaged, match="bytes after its end-of-archive mark"):
        list(tar.members(Zeros()))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header(kind=tarfile.LNKTYPE, linkname="y"), "a hard link"),
        (header(kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link"),
        (header(kind=tarfile.SYMTYPE, linkname="y" * 300), "a link"),
        (header(kind=tarfile.CHRTYPE), "a device"),
        (header(kind=tarfile.BLKTYPE), "a device"),
        (header(kind=tarfile.FIFOTYPE), "a pipe"),
        (header(kind=tarfile.GNUTYPE_SPARSE), "a file with holes"),
        (pax(b"22 GNU.sparse.major=1\n") + header(), "a file with holes"),
        (header(kind=b"M"), "of a kind that nobody knows"),
        (header(kind=b"V"), "of a kind that nobody knows"),
        (header(kind=b"Z"), "of a kind that nobody knows"),
    ],
)
def test_kinds_are_told(content: bytes, said: str) -> None:
    assert read(content + END) == {"x": (said, b"")}


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_whatever_is_wrong_is_said(data: st.DataObject) -> None:
    content = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(st.binary(max_size=20))
        content[at : at + len(new)] = new
    blocks = [bytes(content[at : at + 512]) for at in range(0, len(content), 512)]
    if data.draw(st.booleans()):  # past the checksums
        blocks = [signed(block) if block[257:262] == b"ustar" else block for block in blocks]
    with contextlib.suppress(tar.Damaged):
        read(b"".join(blocks))


@given(st.binary(max_size=3000))
def test_noise(content: bytes) -> None:
    with contextlib.suppress(tar.Damaged):
        assert read(content) == {} and not any(content)
