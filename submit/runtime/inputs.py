"""The job's input as a folder, whether it arrived as one or as an archive.

Many small files travel badly (one OSDF object or one transfer each), so data sets are staged as one `.tar`,
`.tar.gz`, `.tgz` or `.zip`. An archive is foreign: nothing in it may reach outside its folder, be a link or a device,
and a torn one is named instead of half used.
"""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Union

from submit.runtime.exit_codes import BadInput

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")


def folder(path: Path) -> Path:
    """The input as a folder: `path` itself, or what the archive `path` or `path` + suffix holds, unpacked beside it.

    `data.tar.gz` becomes `data/`; a folder of the archive's own name at its top is not repeated (`data/data`).
    Unpacking again is skipped where `data/` is already there: the job restarts in the same sandbox after a
    checkpoint.

    Raises:
        BadInput: neither is there, or the archive is torn or holds something unsafe.
    """
    if path.is_dir():
        return path
    found = [archive for archive in [path, *(path.with_name(path.name + s) for s in SUFFIXES)] if archive.is_file()]
    if not found:
        raise BadInput(
            path,
            "does not exist",
            f"a folder or an archive ({', '.join(SUFFIXES)})",
            "name it with --data, and in transfer_input_files of the submit file",
        )
    archive = found[0]
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if archive.name.lower().endswith(s)), "")
    if not suffix or archive.name.lower() == suffix:
        raise BadInput(
            archive,
            "a file",
            f"a folder or an archive ({', '.join(SUFFIXES)})",
            "pack it with `tar czf data.tar.gz data`",
        )
    target = archive.with_name(archive.name[: -len(suffix)])
    if not target.is_dir():
        _unpack(archive, suffix, target)
    return target


def _unpack(archive: Path, suffix: str, target: Path) -> None:
    """Unpacks under a temporary name and renames: `target` is whole or absent."""
    temporary = target.with_name(f".unpacking-{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        for name, content in _members_zip(archive) if suffix == ".zip" else _members_tar(archive, suffix):
            place = temporary.joinpath(*_safe(archive, name).parts)
            if content is None:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
        top = list(temporary.iterdir())
        if not top:
            raise BadInput(
                archive,
                "an empty archive",
                "the data set's files",
                f"pack it again: `tar czf {archive.name} {target.name}`",
            )
        repeated = len(top) == 1 and top[0].name == target.name and top[0].is_dir()
        (top[0] if repeated else temporary).rename(target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile, NotImplementedError) as fault:
        raise BadInput(
            archive, f"unreadable ({fault})", "a whole archive", "pack it again, compare its checksum, upload it again"
        ) from fault
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as fault:
        raise BadInput(
            archive, f"{fault.filename} is a file and a folder at once", "one of them", "pack it again"
        ) from fault
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _safe(archive: Path, name: str) -> PurePosixPath:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise BadInput(
            archive,
            f"{name!r} points outside its folder",
            "relative names without ..",
            "pack it again from inside its folder",
        )
    return relative


def _refuse(archive: Path, name: str, kind: str) -> BadInput:
    return BadInput(
        archive, f"{name!r} is {kind}", "files and folders only", "pack it again with `tar -h`, which follows links"
    )


class _Tail:
    """Hands a stream on and remembers its end: tarfile takes a torn archive for a complete one if the tear lies
    between two members.
    """

    def __init__(self, stream: Union[IO[bytes], gzip.GzipFile]) -> None:
        self._stream = stream
        self.end = b""

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self.end = (self.end + content)[-tarfile.BLOCKSIZE :]
        return content


def _members_tar(archive: Path, suffix: str) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Each member's name and its bytes (None for a folder), in one pass over the file."""
    with archive.open("rb") if suffix == ".tar" else gzip.open(archive, "rb") as opened:
        stream = _Tail(opened)
        with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                if not (member.isreg() or member.isdir()):
                    raise _refuse(archive, member.name, "a link" if member.issym() or member.islnk() else "a device")
                yield member.name, tar.extractfile(member)
            while stream.read(1 << 20):  # to the very end: only there gzip compares its checksum
                pass
        if stream.end != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends before the end-of-archive mark")


def _members_zip(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refuse(archive, member.filename, "a link" if kind == stat.S_IFLNK else "a device")
            if member.flag_bits & 1:
                raise BadInput(
                    archive,
                    f"{member.filename!r} is encrypted",
                    "an archive without a password",
                    "pack it again without one",
                )
            if member.is_dir():
                yield member.filename, None
            else:
                with packed.open(member) as content:
                    yield member.filename, content
