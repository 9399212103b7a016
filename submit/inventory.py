"""The files of a data set as they lie now: what would travel, and a fingerprint that tells whether anything changed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from submit.errors import StageError, wrong
from submit.packs import Member
from submit.runtime.manifest import is_safe


@dataclass(frozen=True)
class Entry:
    """A file: its path below the source, bytes, and what changes when it is written again.

    The time of the last change of the inode too: an edit that keeps the size can set the other one back (`cp -p`).
    """

    path: str
    bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True)
class Inventory:
    """Every file below `source` but those whose names begin with a dot, by path; links are followed."""

    source: Path
    entries: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(entry.bytes for entry in self.entries)

    def members(self) -> list[Member]:
        """As packs take them."""
        return [Member(entry.path, self.source / entry.path, entry.bytes) for entry in self.entries]

    def fingerprint(self, paths: Iterable[str] | None = None) -> str:
        """Of all files, or of those; the same as long as nobody wrote one (size, times of change, inode)."""
        wanted = None if paths is None else set(paths)
        lines = [list(vars(entry).values()) for entry in self.entries if wanted is None or entry.path in wanted]
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def check(source: Path) -> None:
    """Raises StageError where that is no folder."""
    if not source.is_dir():
        mend = "Unpack it first" if source.is_file() else "Check the path"
        held = "a file" if source.is_file() else "no such folder"
        raise StageError(wrong("SOURCE", str(source), held, "the folder of a data set is wanted", mend))


def take(source: Path) -> Inventory:
    """Looks at every file below a folder.

    Raises:
        StageError: no such folder, no file in it, a name that cannot travel, or something that is no file.
    """
    check(source)
    entries = sorted(_walk(source), key=lambda entry: entry.path)
    if not entries:
        raise StageError(wrong("SOURCE", str(source), "no file in it", "a data set is wanted", "Check the path"))
    return Inventory(source, tuple(entries))


def again(before: Inventory, paths: Iterable[str]) -> str:
    """The fingerprint of these files as they are now; "" where one is gone."""
    try:
        entries = [_entry(before.source, before.source / path) for path in sorted(paths)]
    except StageError:
        return ""
    return Inventory(before.source, tuple(entries)).fingerprint()


def _walk(source: Path) -> Iterator[Entry]:
    def refuse(fault: OSError) -> None:
        raise StageError(
            f"{fault.filename}: {fault.strerror}; a folder that can be read is wanted. Mend its permissions"
        )

    for current, folders, names in os.walk(source, followlinks=True, onerror=refuse):
        here = Path(current)
        if here.is_symlink() and here.resolve() in [above.resolve() for above in here.parents]:
            raise StageError(f"{here}: a link that leads back above itself; remove it, or stage another folder")
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield _entry(source, here / name)


def _entry(source: Path, file: Path) -> Entry:
    path = file.relative_to(source).as_posix()
    if not is_safe(path):
        raise StageError(wrong("file", path, "a name that not every machine takes", "a printable one", "Rename it"))
    try:
        seen = file.stat()
    except OSError as fault:
        raise StageError(f"{file}: {fault.strerror}; a file is wanted. Remove the link, or mend it") from None
    if not stat.S_ISREG(seen.st_mode):
        raise StageError(f"{file}: no plain file (a pipe, socket or device); remove it, or stage another folder")
    if not os.access(file, os.R_OK):
        raise StageError(f"{file}: cannot be read; mend its permissions: chmod u+r")
    return Entry(path, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
