"""Finds the way to a destination, and whether there is room."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from submit import origin_pelicanfs
from submit.errors import StageError, wrong
from submit.origin import QUOTA_FORM, Origin, Room, bytes_words, ospool
from submit.origin_folder import FolderOrigin
from submit.origin_pelican import PROGRAMS, PelicanOrigin

__all__ = ["Origin", "Room", "check_room", "find", "ospool"]

SCHEME = "osdf:///"
_WANTED = "a folder, or osdf:///ospool/AP/data/USER/... is wanted"
# what stands in a URL, and in a submit file's list, as it is
_PART = re.compile(r"[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*", re.ASCII)
_URL = re.compile(r"(?:osdf|stash|pelican):|[A-Za-z][A-Za-z0-9+.-]*:/", re.ASCII)
# names below /ospool of a folder that somebody was given: /ospool/AP/data/USER, /ospool/uw-shared/projects/PROJECT
_GIVEN = 3


def _names(dest: str) -> list[str] | None:
    """The names below /ospool of an osdf:/// URL or a path there; None for another folder. StageError for no place."""
    if _URL.match(dest):
        inner = re.split("[?#]", dest.partition(":")[2])[0].strip("/")
        if inner and not inner.startswith("ospool/") and "/ospool/" in inner:
            inner = inner[inner.index("/ospool/") + 1 :]  # a host came first
        mend = f"E.g. {SCHEME}{inner}" if inner.startswith("ospool/") else f"E.g. {SCHEME}ospool/ap40/data/USER/brats"
        if set(dest) & set("?#"):
            raise StageError(wrong("DEST", dest, "has a query, which only a transfer takes", _WANTED, mend))
        if not dest.startswith(SCHEME) or dest[len(SCHEME) :].startswith("/"):
            raise StageError(wrong("DEST", dest, "not an osdf:/// URL with three slashes", _WANTED, mend))
        names = dest[len(SCHEME) :].rstrip("/").split("/")
        if names[0] != "ospool":
            raise StageError(wrong("DEST", dest, "not in the OSPool's part of the OSDF", _WANTED, mend))
    else:
        # as it is written, and where a link leads to
        paths = [Path(os.path.normpath(Path(dest).absolute())), Path(dest).resolve()]
        below = [path.relative_to(ospool()).parts for path in paths if ospool() in path.parents]
        if not below:
            return None
        names = ["ospool", *below[0]]
    if not all(names):
        raise StageError(wrong("DEST", dest, "an empty name between slashes", _WANTED, "Is the $USER in it set"))
    if not all(_PART.fullmatch(name) for name in names):
        wanted = "letters, digits and . _ @ + = - are wanted in each of its names"
        raise StageError(wrong("DEST", dest, "not a path that every transfer takes", wanted, "Rename the folder"))
    if len(names) <= _GIVEN:
        raise StageError(
            wrong("DEST", dest, "above the folders that people are given", _WANTED, "Add what is missing of it")
        )
    return names[1:]


def _folder(dest: str) -> FolderOrigin:
    path = Path(dest).resolve()
    if path.exists() and not path.is_dir():
        raise StageError(wrong("DEST", dest, "a file", _WANTED, "Name a folder"))
    if not path.exists() and not path.parent.is_dir():
        raise StageError(
            wrong("DEST", dest, f"{path.parent} is not there", "a folder to make it in is wanted", f"mkdir -p {path}")
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK | os.X_OK):
        raise StageError(
            wrong("DEST", dest, "you cannot write there", "a folder of yours is wanted", "Choose another folder")
        )
    return FolderOrigin(path, str(path))


def _mounted(names: list[str]) -> Path | None:
    """The folder at /ospool, where the mount is there and can be written to."""
    folder = ospool().joinpath(*names)
    given = ospool().joinpath(*names[:_GIVEN])
    if not given.is_dir():
        return None
    there = next(above for above in (folder, *folder.parents) if above.exists())
    return folder if there.is_dir() and os.access(there, os.W_OK | os.X_OK) else None


def check(dest: str) -> None:
    """Raises StageError for what is no destination, wherever this is."""
    if not dest.strip() or not dest.isprintable():
        raise StageError(wrong("DEST", dest, "no place to stage to", _WANTED, "E.g. ../staged"))
    _names(dest)


def find(dest: str, local: bool = False) -> Origin:
    """The origin of `dest`: a folder (made when something is put there, if its parent is there), or the OSDF's.

    The OSDF, osdf:///ospool/... or a path below /ospool: the local pool's with `local`; else the mount where it can be
    written to; else Pelican's client on PATH; else pelicanfs. Raises StageError for no such place, and for no way.
    """
    check(dest)
    names = _names(dest)
    if names is None:
        return _folder(dest)
    url = f"{SCHEME}ospool/{'/'.join(names)}"
    if local:
        from submit import osdf_local

        return FolderOrigin(osdf_local.origin(url), url)
    if (folder := _mounted(names)) is not None:
        return FolderOrigin(folder, url)
    for name in PROGRAMS:
        if (program := shutil.which(name)) is not None:
            return PelicanOrigin(url, program)
    try:
        return origin_pelicanfs.PelicanfsOrigin(url, origin_pelicanfs.file_system())
    except ImportError:
        raise StageError(
            f"{url}: no way to it from here; want one of: a folder {ospool().joinpath(*names[:_GIVEN])} that you can "
            "write to, the program pelican or osdf on PATH, the Python package pelicanfs. "
            "Stage on an access point, or try it on the local pool: --local"
        ) from None


def check_room(origin: Origin, needed_bytes: int, needed_files: int) -> None:
    """Before the first byte goes: StageError where the place says that so much does not fit."""
    room = origin.room()
    ask = f"Remove what is not needed, or ask for quota: {QUOTA_FORM}"
    if room.free_bytes is not None and room.free_bytes < needed_bytes:
        raise StageError(
            f"{origin.url}: room for {bytes_words(room.free_bytes)} ({room.note}), "
            f"{bytes_words(needed_bytes)} are wanted. {ask}"
        )
    if room.free_files is not None and room.free_files < needed_files:
        raise StageError(
            f"{origin.url}: room for {room.free_files:,} files ({room.note}), {needed_files:,} are wanted. {ask}"
        )
