"""Copies an image to the OSDF under a name that carries its content: caches there go by name and are never purged."""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from submit import origins
from submit.errors import ImageError, StageError

_OF_THE_LOCAL_POOL = "osdf:///ospool/ap40/data"  # any access point will do there


def destination(local: bool) -> str:
    """The folder to push to where none is named: the one writable /ospool/AP/data/USER, or one of the local pool's
    OSDF. Raises ImageError without exactly one.
    """
    if local:
        return f"{_OF_THE_LOCAL_POOL}/{getpass.getuser()}"
    root = origins.ospool()
    found = [folder for folder in root.glob(f"*/data/{getpass.getuser()}") if os.access(folder, os.W_OK)]
    if len(found) != 1:
        seen = ", ".join(map(str, found)) or f"no {root}/AP/data/{getpass.getuser()}"
        raise ImageError(
            f"to: {seen} on this machine; want one folder. On an access point: --to {root}/AP/data/USER; "
            "for the local pool: --local"
        )
    return str(found[0])


def push(file: Path, to: str | None, bar: Callable[[int, int], None], *, local: bool = False) -> str:
    """Copy `file` to the OSDF and return its osdf:/// URL. An image that is there already isn't copied again.

    Nothing is ever overwritten; a reader never sees half an image.

    Args:
        to: a folder below /ospool, or its osdf:/// URL.
        bar: called with bytes, (done, total).
        local: to the local pool's OSDF.

    Raises:
        ImageError: it is no image, or there is no place for it.
    """
    if file.suffix != ".sif" or not file.is_file():
        raise ImageError(f"{file}: no .sif file; want one that `osgdl image build` made")
    with file.open("rb") as source:
        name = f"{file.stem}-{hashlib.file_digest(source, 'sha256').hexdigest()[:12]}.sif"
    try:
        origin = origins.find(to or destination(local), local)
        if not origin.url.startswith(origins.SCHEME):
            raise ImageError(f"to={to!r}: not on the OSDF; want a folder such as {origins.ospool()}/ap40/data/USER")
        if name not in origin.objects():
            origins.check_room(origin, file.stat().st_size, 1)
        origin.put(file, name, bar)
    except StageError as error:
        raise ImageError(str(error).replace("DEST=", "to=")) from None
    return f"{origin.url}/{name}"
