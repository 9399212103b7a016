"""The OSDF by pelicanfs, a Python package, where neither /ospool nor Pelican's client is on the machine.

Written from pelicanfs 1.3.1 and 1.5.0 (core.py, token_content_iterator.py); 1.5.0 was run by hand on a director and an
origin that stood in for the OSDF's, never on the OSDF. It finds the token as Pelican's client does and ends with an
error where there is none (only through the client, which is not there, could it ask a person). It uploads by one HTTP
PUT that checks nothing: so we look first; of two who look at once, the origin must refuse one. Older ones only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from submit import spool
from submit.errors import StageError
from submit.origin import DOCUMENTED_QUOTA, Room, bytes_words, checked, occupied, size_of
from submit.redaction import redacted

MODULE = "pelicanfs.core"


def file_system() -> Any:
    """pelicanfs's file system of the OSDF; ImportError where the package is missing."""
    import importlib

    return importlib.import_module(MODULE).OSDFFileSystem()


class PelicanfsOrigin(spool.Owner):
    """An origin at `url`, an osdf:/// one, by an fsspec file system whose paths are the URL's (/ospool/...)."""

    def __init__(self, url: str, system: Any) -> None:
        self.url, self.system = url, system
        self._path = url.removeprefix("osdf://")

    @contextmanager
    def _saying(self, what: str, name: str = "") -> Iterator[None]:
        """Whatever pelicanfs, aiohttp or a WebDAV server raise becomes a line without secrets."""
        try:
            yield
        except (FileNotFoundError, StageError):
            raise
        except Exception as error:
            where = f"{self.url}/{name}" if name else self.url
            told = redacted(f"{type(error).__name__}: {error}".replace("\n", " "))[:300]
            raise StageError(
                f"{where}: {what} by pelicanfs failed: {told}; a token it can find and an origin that allows it are "
                "wanted. Set BEARER_TOKEN_FILE, or stage on an access point"
            ) from None

    def spool(self) -> Path:
        if self._spool is None:
            self._spool = spool.temporary()
        return self._spool.path

    def objects(self) -> dict[str, int]:
        try:
            with self._saying("listing"):
                listed = list(self.system.ls(self._path, detail=True))
        except FileNotFoundError:
            return {}
        found = {str(one["name"]).rpartition("/")[2]: int(one["size"]) for one in listed if one["type"] == "file"}
        return dict(sorted((name, size) for name, size in found.items() if name and not name.startswith(".")))

    def ages(self) -> dict[str, float]:
        return {}  # it removes nothing, so nobody has to know

    def _there(self, name: str, total: int) -> bool:
        held = self.objects().get(name)
        if held is not None and held != total:
            raise occupied(self.url, name, held, total)
        return held is not None

    def put(self, file: Path, name: str, bar: Callable[[int, int], None]) -> bool:
        checked(name)
        total = size_of(file, self.url)
        if self._there(name, total):
            return False
        bar(0, total)
        with self._saying("upload", name):
            try:
                self.system.put_file(str(file), f"{self._path}/{name}")
            except NotImplementedError:
                raise StageError(
                    f"{self.url}: this pelicanfs can read and not write; 1.3.1 or newer is wanted. "
                    "Update pelicanfs, or stage on an access point"
                ) from None
        if not self._there(name, total):
            raise StageError(f"{self.url}/{name}: uploaded, and not there; the object is wanted. Run the command again")
        bar(total, total)
        return True

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        try:
            with self._saying("reading", checked(name)):
                file = self.system.open(f"{self._path}/{name}", "rb")
        except FileNotFoundError:
            raise StageError(f"{self.url}/{name}: no such object; a staged one is wanted. Check the name") from None
        with file:
            yield file

    def remove(self, name: str) -> None:
        raise StageError(
            f"{self.url}/{checked(name)}: pelicanfs cannot remove an object; a way that can is wanted. "
            "Remove it on an access point"
        )

    def room(self) -> Room:
        quota = bytes_words(DOCUMENTED_QUOTA)
        return Room(None, None, f"pelicanfs cannot say how much room is left; the documented quota is {quota}")
