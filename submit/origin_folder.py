"""A folder that holds objects: one of this machine, the OSDF's mounted at /ospool, the local pool's origin.

An object is copied under a hidden name (spool.py), reaches the disk, and gets its name by a hard link, which fails
where the name is taken. So a reader sees all of it or nothing, and of two processes one wins, whoever is killed when.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from submit import spool
from submit.errors import StageError
from submit.origin import DOCUMENTED_QUOTA, QUOTA_FORM, Room, bytes_words, checked, occupied

CHUNK = 1 << 22
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# link(2), and FUSE's and vfat's answers: this file system has no hard links
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_RENAME_NOREPLACE, _AT_FDCWD = 1, -100  # <linux/fs.h>, <fcntl.h>


def _rename_without_replacing(old: Path, new: Path) -> None:
    """renameat2(2) with RENAME_NOREPLACE; OSError, FileExistsError among them, as of a rename."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(new))
    if rename(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), _RENAME_NOREPLACE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(new))


def publish(file: Path, target: Path) -> bool:
    """Give `file`, which is on the disk, the name `target` too, or instead; False where that name is taken."""
    try:
        try:
            target.hardlink_to(file)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _rename_without_replacing(file, target)
    except FileExistsError:
        # NFS may answer so to the second try of a link whose first it made
        return file.exists() and target.exists() and file.samefile(target)
    _to_disk(target.parent)
    return True


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def attribute(folder: Path, name: str) -> int | None:
    """A number of CephFS about a folder, such as ceph.quota.max_bytes; None where it isn't CephFS or has none set."""
    try:
        return int(os.getxattr(folder, name).strip(b"\0 \n")) or None
    except (OSError, ValueError):
        return None


class FolderOrigin(spool.Owner):
    """An origin in `folder`, which is made when something is first put there; jobs know it as `url`."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self._swept = False

    def _make(self) -> None:
        """The folder is there, and nothing of killed runs in it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused("cannot make the folder", error) from None
        if not self._swept:
            spool.sweep(self.folder)
            self._swept = True

    def close(self) -> None:
        super().close()
        if not self._swept:  # nothing was put: a run that was killed after its last object leaves its lock
            spool.sweep(self.folder)

    def _refused(self, what: str, error: OSError, name: str = "") -> StageError:
        where = f"{self.folder}/{name}" if name else f"{self.folder}"
        if error.errno in _FULL:
            free = bytes_words(shutil.disk_usage(self._existing()).free)
            return StageError(
                f"{where}: {what}: {error.strerror}, {free} free ({self.room().note}); more room is wanted. "
                f"Remove what is not needed, or ask for quota: {QUOTA_FORM}"
            )
        return StageError(f"{where}: {what}: {error.strerror}; a folder you can write to is wanted. Choose another")

    def _existing(self) -> Path:
        """The folder, or the nearest above it that is there."""
        return next(folder for folder in (self.folder, *self.folder.parents) if folder.is_dir())

    def spool(self) -> Path:
        if self._spool is None:
            self._make()
            try:
                self._spool = spool.Spool(self.folder)
            except OSError as error:
                raise self._refused("cannot make a folder to build in", error) from None
        return self._spool.path

    def objects(self) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            for entry in os.scandir(self.folder):
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._refused("cannot list it", error) from None
        return dict(sorted(found.items()))

    def ages(self) -> dict[str, float]:
        """By the later of the times of its content and of its name, which nobody can set back."""
        found, now = {}, time.time()
        for name in self.objects():
            try:
                seen = (self.folder / name).lstat()
            except OSError:
                continue  # it went meanwhile
            found[name] = now - max(seen.st_mtime, seen.st_ctime)
        return found

    def _there(self, name: str, total: int) -> bool:
        """Whether `name` holds `total` bytes; StageError where it holds anything else."""
        try:
            seen = (self.folder / name).lstat()
        except FileNotFoundError:
            return False
        held = seen.st_size if stat.S_ISREG(seen.st_mode) else None
        if held != total:
            raise occupied(self.url, name, held, total)
        return True

    def put(self, file: Path, name: str, bar: Callable[[int, int], None]) -> bool:
        checked(name)
        try:
            source = file.open("rb")
        except OSError as error:
            raise StageError(
                f"{file}: {error.strerror}; a file to put at {self.url} is wanted. Check the path"
            ) from None
        try:
            with source:
                total = os.fstat(source.fileno()).st_size
                if self._there(name, total):
                    return False
                self._make()
                if self._spool is not None and self._spool.path in file.parents:
                    os.fsync(source.fileno())
                    won = publish(file, self.folder / name)
                    file.unlink(missing_ok=True)
                    bar(total, total)
                else:
                    won = self._copy(source, total, name, bar)
        except OSError as error:
            raise self._refused("cannot be put there", error, name) from None
        # the winner's is there, so this is False or it raises
        return won or not self._there(name, total)

    def _copy(self, source: BinaryIO, total: int, name: str, bar: Callable[[int, int], None]) -> bool:
        with spool.part(self.folder, name) as (path, copy):
            done = 0
            while chunk := source.read(CHUNK):
                copy.write(chunk)
                done += len(chunk)
                bar(done, total)
            if done != total:
                raise StageError(
                    f"{source.name}: had {total:,} bytes and now {done:,}; a file that nobody writes to is wanted. "
                    "Run the command again"
                )
            copy.flush()
            os.fsync(copy.fileno())
            return publish(path, self.folder / name)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        try:
            file = (self.folder / checked(name)).open("rb")
        except OSError as error:
            raise StageError(
                f"{self.url}/{name}: cannot be read: {error.strerror}; an object that was staged there is wanted. "
                f"See what is: ls {self.folder}"
            ) from None
        with file:
            yield file

    def remove(self, name: str) -> None:
        try:
            (self.folder / checked(name)).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused("cannot be removed", error, name) from None

    def room(self) -> Room:
        """The least of what the disk and every CephFS quota on the way up leave. Ceph's sums lag by some seconds."""
        there = self._existing()
        system = os.statvfs(there)
        free_bytes: int | None = shutil.disk_usage(there).free
        # 0 inodes in all: the file system does not count them
        free_files: int | None = system.f_favail if system.f_files and system.f_favail < 1 << 62 else None
        note, files_note, limited = f"what is free on the disk of {there}", "", False
        for folder in (there, *there.parents):
            limit, used = attribute(folder, "ceph.quota.max_bytes"), attribute(folder, "ceph.dir.rbytes") or 0
            if limit is not None:
                limited = True
                if free_bytes is None or limit - used < free_bytes:
                    free_bytes = max(0, limit - used)
                    note = f"the quota of {folder}: {bytes_words(used)} of {bytes_words(limit)} used"
            limit, used = attribute(folder, "ceph.quota.max_files"), attribute(folder, "ceph.dir.rfiles") or 0
            if limit is not None and (free_files is None or limit - used < free_files):
                free_files = max(0, limit - used)
                files_note = f"; {used:,} of {limit:,} files used in {folder}"
        if self.url.startswith("osdf:") and not limited:
            files_note += f"; a quota cannot be read here, the documented one is {bytes_words(DOCUMENTED_QUOTA)}"
        return Room(free_bytes, free_files, note + files_note)
