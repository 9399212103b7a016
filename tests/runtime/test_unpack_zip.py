"""Hostile zips: what only they can do."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from tests.runtime.test_unpack import pack, raw, refused


@pytest.mark.parametrize(("mode", "said"), [(0o120777, "a link"), (0o020666, "a device"), (0o010666, "a device")])
def test_links_and_devices_in_a_zip(tmp_path: Path, mode: int, said: str) -> None:
    archive = raw(tmp_path, b"", ".zip")
    with zipfile.ZipFile(archive, "w") as packed:
        link = zipfile.ZipInfo("x")
        link.external_attr = mode << 16
        packed.writestr(link, "/etc/passwd")
    refused(archive, f"'x' is {said}")


def test_a_zip_with_a_password(tmp_path: Path) -> None:
    archive = pack(tmp_path, ".zip", ["x"])
    content = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + at] |= 1
    archive.write_bytes(content)
    refused(archive, "'x' is encrypted; an archive without a password")


def test_a_zip_packed_in_a_rare_way(tmp_path: Path) -> None:
    archive = raw(tmp_path, b"", ".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr("x", b"evil")
    refused(archive, "'x' is packed in way 12; stored or deflated")


def test_a_zip_whose_members_share_their_bytes(tmp_path: Path) -> None:
    """Fifield 2019, A better zip bomb: many entries of the directory lead to one compressed file."""
    archive = pack(tmp_path, ".zip", ["a", "b"])
    content = bytearray(archive.read_bytes())
    second = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    content[second + 42 : second + 46] = struct.pack("<I", 0)  # where its bytes begin
    archive.write_bytes(content)
    refused(archive, "shares bytes with another member")


def test_a_zip_that_lies_about_a_size(tmp_path: Path) -> None:
    archive = raw(tmp_path, b"", ".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x", b"1" * 100_000)
    content = bytearray(archive.read_bytes())
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 10)
    archive.write_bytes(content)
    refused(archive, "unreadable .Bad CRC-32")


def test_a_member_without_a_name(tmp_path: Path) -> None:
    archive = pack(tmp_path, ".zip", ["x"])
    archive.write_bytes(archive.read_bytes().replace(b"x", b"\0"))
    refused(archive, "'' is in it twice|'' is a file and a folder at once|unreadable")


def test_a_directory_before_its_beginning(tmp_path: Path) -> None:
    archive = pack(tmp_path, ".zip", ["x"])
    content = bytearray(archive.read_bytes())
    end = content.index(b"PK\5\6")
    content[end + 12 : end + 16] = struct.pack("<I", 1 << 30)
    archive.write_bytes(content)
    refused(archive, "unreadable")
