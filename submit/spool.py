"""Files on their way into a folder, and what a killed run left of them.

Their names are hidden ones of a kind that nobody else writes, and the process that works on them holds a lock (flock),
of which the kernel lets go however that process ends. So what nobody holds belongs to nobody and is removed; on a file
system without such locks nothing is.

    .NAME.osgdl-<16 hex>.part   a copy that has no name yet
    .osgdl-<16 hex>.spool/      a folder to build objects in, held by its .osgdl-<16 hex>.lock
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from submit.errors import StageError

_LEFT = re.compile(r"\.(?:.+\.)?osgdl-[0-9a-f]{16}\.(part|lock|spool)", re.DOTALL)
NAME_BYTES = 200  # of 255 in a file's name


def _held(folder: Path, before: str, after: str) -> tuple[Path, int]:
    """A new file of a name nobody has, and its descriptor, which holds the lock."""
    while True:
        path = folder / f"{before}osgdl-{secrets.token_hex(8)}{after}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # no locks here: then no sweep ever gets one either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # a sweep came between the two lines


@contextmanager
def part(folder: Path, name: str) -> Iterator[tuple[Path, BinaryIO]]:
    """A new empty file in `folder` to write what will be `name`; whatever still has its own name at the end goes."""
    short = name.encode()[:NAME_BYTES].decode(errors="ignore")
    path, descriptor = _held(folder, f".{short}.", ".part")
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def _discard(folder: Path, lock: Path, descriptor: int, owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the process that builds there
    shutil.rmtree(folder, ignore_errors=True)
    lock.unlink(missing_ok=True)
    os.close(descriptor)


class Spool:
    """A new folder in `parent`; it goes with this object, at the latest when Python ends."""

    def __init__(self, parent: Path) -> None:
        lock, descriptor = _held(parent, ".", ".lock")
        self.path = lock.with_suffix(".spool")
        self._end = weakref.finalize(self, _discard, self.path, lock, descriptor, os.getpid())
        self.path.mkdir(mode=0o700)

    def discard(self) -> None:
        """It goes now."""
        self._end()


class Owner:
    """Has a spool from the first time that one is asked for, until it is closed."""

    _spool: Spool | None = None

    def close(self) -> None:
        """The spool goes, with all that has no name yet."""
        if self._spool is not None:
            self._spool.discard()
            self._spool = None


def temporary() -> Spool:
    """A spool in TMPDIR, for a place without a folder; StageError where none can be made."""
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    try:
        return Spool(parent)
    except OSError as error:
        raise StageError(
            f"{parent}: cannot make a folder to build in: {error.strerror}; one with room for an object is wanted. "
            "Set TMPDIR to it"
        ) from None


def sweep(folder: Path) -> None:
    """Remove what killed runs left in `folder`; what a living process holds stays, and what is another person's."""
    with suppress(OSError):
        for path in [path for path in folder.iterdir() if _LEFT.fullmatch(path.name)]:
            _sweep_one(path)


def _sweep_one(path: Path) -> None:
    if path.suffix == ".spool":
        # its lock is made before it and goes after it: one without was left by a sweep that was killed
        if not path.with_suffix(".lock").exists():
            shutil.rmtree(path, ignore_errors=True)
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.suffix == ".lock":
            shutil.rmtree(path.with_suffix(".spool"), ignore_errors=True)
        path.unlink(missing_ok=True)
    except OSError:
        pass  # somebody works on it
    finally:
        os.close(descriptor)
