"""An archive's files, into a folder and nowhere else.

An archive is foreign. What is written: files and folders with relative names, each name once, no more bytes and no more
members than allowed, into a new folder in which there are no links. Everything else (an absolute path, `..`, links,
devices, holes, passwords, entries of a zip that share bytes, names that no terminal shows) ends it before a byte of
that member is written, and the folder goes.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from submit.runtime import tar, zstd
from submit.runtime.exit_codes import BadInput, BadMachine

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip")

MOST_MEMBERS = 1_000_000
RATIO = 200  # times the archive's own size; gzip reaches 1032, on zeros
SMALL = 2_000_000_000  # bytes that no ratio is asked of: label maps alone are nearly zeros
MARGIN = 100_000_000  # bytes of the disk that stay free
ZIP_HEADER = 30  # bytes before a member's name (APPNOTE.TXT 4.3.7)
LONGEST_PART, LONGEST_PATH = 255, 4096  # bytes: NAME_MAX and PATH_MAX of Linux

DAMAGES = (
    tar.Damaged,
    zstd.Damaged,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a zip of a later version than zipfile knows
    struct.error,  # what zipfile lets through of a zip's directory
    ValueError,
    OverflowError,
)


class Unsafe(Exception):
    """A member that must not be written; arguments as those of a Fault, without where."""

    def __init__(self, held: str, wanted: str, mend: str) -> None:
        super().__init__(held)
        self.held, self.wanted, self.mend = held, wanted, mend


def archive(path: Path, suffix: str, target: Path) -> None:
    """Unpacks a stranger's archive; `target` is whole or absent.

    A folder of the archive's own name at its top is not repeated (`data/data`).

    Raises:
        BadInput: it is torn, or holds something unsafe.
        BadMachine: the disk is too full for it.
    """
    with fresh(target) as temporary:
        try:
            allowed = Allowance(path, target.parent)
            with _members(path, suffix) as members:
                for member, content in members:
                    allowed.take(member)
                    write(temporary, member, content)
        except DAMAGES as fault:
            mend = "pack it again, compare its checksum, upload it again"
            raise BadInput(path, f"unreadable ({fault})", "a whole archive", mend) from fault
        except Unsafe as fault:
            raise BadInput(path, fault.held, fault.wanted, fault.mend) from None
        except zstd.Missing:
            raise no_zstd(path) from None
        top = list(temporary.iterdir())
        if not top:
            mend = f"pack it again: `tar czf {path.name} {target.name}`"
            raise BadInput(path, "an empty archive", "the data set's files", mend)
        repeated = len(top) == 1 and top[0].name == target.name and top[0].is_dir()
        (top[0] if repeated else temporary).rename(target)


def no_zstd(path: object) -> BadInput:
    """What to say where nothing here reads zstd."""
    return BadInput(
        path,
        "compressed with zstd, which nothing in this image reads",
        "the Python package zstandard, or the program zstd",
        "add zstandard to the image's packages, or stage again with --compression none",
    )


@contextlib.contextmanager
def fresh(target: Path) -> Iterator[Path]:
    """A new, empty folder beside `target`; it is gone at the end unless somebody renamed it."""
    temporary = target.with_name(f".unpacking-{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class Allowance:
    """How much a stranger's archive may still write; asked before each member."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._folder, self._packed = folder, path.stat().st_size
        self._free = shutil.disk_usage(folder).free
        self._bytes = self._members = 0

    def take(self, member: tar.Member) -> None:
        self._members += 1
        self._bytes += member.bytes
        if self._members > MOST_MEMBERS:
            raise Unsafe(f"more than {MOST_MEMBERS:,} members", "fewer, larger files", "pack it as several archives")
        if self._bytes > max(SMALL, RATIO * self._packed):
            held = f"{member.name!r} makes {self._bytes:,} bytes out of {self._packed:,}"
            raise Unsafe(held, f"at most {RATIO} times its size", "see what is in it, or unpack it yourself")
        require_room(self._folder, self._bytes, self._packed, self._free)


def require_room(folder: Path, size: int, packed: int, free: int) -> None:
    """BadMachine where `size` bytes and MARGIN are more than the `free` ones; `packed`: bytes they come from."""
    if size + MARGIN > free:
        raise BadMachine(
            folder,
            f"{free:,} bytes free on this machine's disk",
            f"{size + MARGIN:,} to unpack the data",
            f"ask for room: request_disk = {-(-(size + packed + MARGIN) // 1_000_000)} MB, beside the image and the"
            " results",
        )


def write(root: Path, member: tar.Member, content: tar.Readable) -> None:
    """Makes a member in `root`, a folder without links; never over something that is there.

    Raises:
        Unsafe: nothing was written.
    """
    place = root.joinpath(*safe(member.name).parts)
    if member.kind not in ("file", "folder"):
        mend = "pack it again with `tar -h`, which follows links"
        raise Unsafe(f"{member.name!r} is {member.kind}", "files and folders only", mend)
    try:
        if member.kind == "folder":
            place.mkdir(parents=True, exist_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.open("xb")
    except (FileExistsError, NotADirectoryError) as fault:
        if place.is_file():
            raise Unsafe(f"{member.name!r} is in it twice", "every file once", "pack it again") from fault
        raise Unsafe(f"{member.name!r} is a file and a folder at once", "one of them", "pack it again") from fault
    except OSError as fault:
        if fault.errno != errno.ENAMETOOLONG:
            raise
        raise Unsafe(f"{_short(member.name)} is too long a name", "shorter ones", "rename it, pack it again") from fault
    with file:
        while True:
            part = content.read(tar.CHUNK)
            if not part:
                break
            file.write(part)


def safe(name: str) -> PurePosixPath:
    """A member's name as a path inside its folder, or Unsafe."""
    relative = PurePosixPath(name)
    mend = "pack it again from inside its folder"
    if relative.is_absolute() or ".." in relative.parts:
        raise Unsafe(f"{_short(name)} points outside its folder", "relative names without ..", mend)
    raw = os.fsencode(name)
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name):
        raise Unsafe(f"{_short(name)} has control characters", "names that can be shown", "rename it, pack it again")
    if len(raw) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_PART for part in relative.parts):
        wanted = f"at most {LONGEST_PART} bytes between two slashes, {LONGEST_PATH} in all"
        raise Unsafe(f"{_short(name)} is too long a name", wanted, "rename it, pack it again")
    return relative


def _short(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:77]}..."


_Members = Iterator[tuple[tar.Member, tar.Readable]]


@contextlib.contextmanager
def _members(path: Path, suffix: str) -> Iterator[_Members]:
    with contextlib.ExitStack() as stack:
        if suffix == ".zip":
            packed = stack.enter_context(_zip(path))
            yield _members_zip(packed, path.stat().st_size)
            return
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        stream: tar.Readable = file
        if suffix in (".tar.gz", ".tgz"):
            stream = stack.enter_context(gzip.open(file, "rb"))
        elif suffix == ".tar.zst":
            stream = stack.enter_context(zstd.opened(file))
        yield iter(tar.members(stream))


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as fault:
        if fault.errno != errno.EINVAL:
            raise
        raise zipfile.BadZipFile("its directory lies before its beginning") from fault


def _members_zip(packed: zipfile.ZipFile, size: int) -> _Members:
    """Of a zip by its directory; zipfile hands out as many bytes as that says, and compares their CRC."""
    members = packed.infolist()
    end = 0
    for member in sorted(members, key=lambda one: one.header_offset):
        if member.header_offset < end or member.header_offset + member.compress_size > size:
            raise Unsafe(
                f"{_short(member.filename)} shares bytes with another member", "bytes of its own", "pack it again"
            )
        end = member.header_offset + ZIP_HEADER + member.compress_size
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            said = "a link" if kind == stat.S_IFLNK else "a device"
            yield tar.Member(member.filename, 0, said), _Nothing()
        elif member.flag_bits & 1:
            mend = "pack it again without one"
            raise Unsafe(f"{member.filename!r} is encrypted", "an archive without a password", mend)
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            held = f"{member.filename!r} is packed in way {member.compress_type}"
            raise Unsafe(held, "stored or deflated", "pack it again with `zip -r`")
        elif member.filename.endswith("/"):
            yield tar.Member(member.filename, 0, "folder"), _Nothing()
        else:
            with packed.open(member) as content:
                yield tar.Member(member.filename, member.file_size, "file"), content


class _Nothing:
    def read(self, size: int, /) -> bytes:
        return b""
