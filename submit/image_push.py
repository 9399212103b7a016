"""Copies an image to the OSDF under a name that carries its content: caches there go by name and are never purged."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from submit.errors import ImageError, StageError
from submit.origin import ospool
from submit.origin_folder import FolderOrigin


def destination(to: Path | None) -> Path:
    """The folder to push to: `to`, else the one writable /ospool/AP/data/USER; ImageError without exactly one."""
    root = ospool()
    if to is not None:
        if not to.is_absolute() or root not in to.parents:
            raise ImageError(
                f"to={str(to)!r}: not on the OSDF; want a folder such as {root}/ap40/data/{getpass.getuser()}"
            )
        if not to.is_dir():
            raise ImageError(
                f"to={str(to)!r}: no such folder; want one of an access point of the OSPool. Make it: mkdir -p {to}"
            )
        return to
    found = [folder for folder in root.glob(f"*/data/{getpass.getuser()}") if os.access(folder, os.W_OK)]
    if len(found) != 1:
        seen = ", ".join(map(str, found)) or f"no {root}/AP/data/{getpass.getuser()}"
        raise ImageError(f"to: {seen} on this machine; want one folder. On an access point: --to {root}/AP/data/USER")
    return found[0]


def push(file: Path, to: Path | None, bar: Callable[[int, int], None]) -> str:
    """Copy `file` to the OSDF and return its osdf:/// URL. An image that is there already isn't copied again.

    `bar(done, total)` is called with bytes. Nothing is ever overwritten; a reader never sees half an image.
    Raises ImageError for a file that is no image, or where there is no place for it.
    """
    if file.suffix != ".sif" or not file.is_file():
        raise ImageError(f"{file}: no .sif file; want one that `osgdl image build` made")
    folder, total = destination(to), file.stat().st_size
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    target = folder / f"{file.stem}-{digest[:12]}.sif"
    free = shutil.disk_usage(folder).free
    if free < total and not target.exists():
        raise ImageError(
            f"{folder}: {free / 1e9:.1f} GB free, the image has {total / 1e9:.1f} GB; make room or ask for quota"
        )
    try:
        FolderOrigin(folder, f"osdf://{folder}").put(file, target.name, bar)
    except StageError as error:
        raise ImageError(str(error)) from None
    return f"osdf://{target}"
