"""What data can be staged to: a place that holds whole, named objects and never overwrites one.

origin_folder.py is one in a folder, origin_pelican.py and origin_pelicanfs.py are two without; origins.py finds the
one for a destination.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from submit.errors import StageError, wrong

# The OSPool's documentation, managing_data/overview: what a person's /ospool/AP/data folder may hold
DOCUMENTED_QUOTA = 100_000_000_000
QUOTA_FORM = "http://osg-htc.org/ospool-quota-increase.html"
# bytes of a file's name on Linux, less what spool.py adds to it
LONGEST_NAME = 200


def ospool() -> Path:
    """Where the OSPool's part of the OSDF is mounted; tests put a folder at its place with OSGDL_OSPOOL."""
    return Path(os.environ.get("OSGDL_OSPOOL") or "/ospool")


def lacks(url: str) -> bool:
    """Whether the folder of an osdf:///ospool/... URL is mounted here, and has nothing of that name."""
    inner = url.removeprefix("osdf:///ospool/")
    place = ospool() / inner
    return inner != url and place.parent.is_dir() and not place.exists()


@dataclass(frozen=True)
class Room:
    """What still fits: bytes and files, None where nobody can say; `note`: what bounds it, a short clause."""

    free_bytes: int | None
    free_files: int | None
    note: str


class Origin(Protocol):
    """A place for objects. Every method raises StageError where the place refuses."""

    @property
    def url(self) -> str:
        """osdf:///... or an absolute folder, without a slash at its end."""

    def spool(self) -> Path:
        """A folder to build objects in; it goes with this object. On the file system of the place, where it has one."""

    def close(self) -> None:
        """The spool goes now, with all that has no name yet."""

    def objects(self) -> dict[str, int]:
        """Name -> bytes of what lies there; {} where nothing was ever put."""

    def ages(self) -> dict[str, float]:
        """Name -> seconds since it was put there, as the clocks here and there have it; only what the place can say."""

    def put(self, file: Path, name: str, bar: Callable[[int, int], None]) -> bool:
        """`file` becomes the object `name`; False where that is there already with as many bytes.

        A file in the spool may be moved, any other is copied. A reader sees a whole object or none. `bar(done, total)`
        gets bytes. Raises StageError where `name` is there with another size: nothing is ever overwritten.
        """

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """The object to read from, in binary."""

    def remove(self, name: str) -> None:
        """The object goes; nothing happens where there is none."""

    def room(self) -> Room:
        """How much still fits."""


def checked(name: str) -> str:
    """`name`, if it can be an object's: one printable part that a URL takes as it is. Else StageError."""
    whole = name and name.isprintable() and not name.startswith(".") and not set(name) & set("/?#%\\")
    if not whole or len(name.encode()) > LONGEST_NAME:
        wanted = f"1 to {LONGEST_NAME} bytes without / ? # % \\ that do not begin with a dot are wanted"
        raise StageError(wrong("name", name, "no object's name", wanted, "Choose another name"))
    return name


def size_of(file: Path, url: str) -> int:
    """Bytes of a file that is to be put. Raises StageError where it cannot be seen."""
    try:
        return file.stat().st_size
    except OSError as error:
        raise StageError(f"{file}: {error.strerror}; a file to put at {url} is wanted. Check the path") from None


def occupied(url: str, name: str, held: int | None, wanted: int) -> StageError:
    """`name` is there with `held` bytes (None: as something else), and `wanted` were to be put."""
    what = "something that is no file" if held is None else f"{held:,} bytes"
    return StageError(
        f"{url}/{name}: holds {what}; {wanted:,} bytes were to be put there, and nothing is ever overwritten. "
        "Stage under another name, or see whether another upload of it is under way"
    )


def bytes_words(count: int) -> str:
    """1234567 -> `1.2 MB`: decimal units, as disks and quotas are sold."""
    value, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 999.95 or unit == "TB":
            break
        value /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
