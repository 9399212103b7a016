"""A result's large files, in an archive of their own that goes to the OSDF while the rest comes home.

    python3 -m submit.runtime.outputs RESULT large.tar --larger-than 100MB

The archive holds them as RESULT/..., so that unpacked in the project's folder they lie where they would have come home
to; `RESULT/large.json` says which they are. It is there with no file in it too: HTCondor holds a job that leaves
without a file that it lists. Killed at any moment, a file lies in RESULT or in a whole archive.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from submit.runtime import exit_codes
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import sync_folder, write_json

LIST = "large.json"
# HTCondor's units
_UNITS = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE = re.compile(r"([1-9][0-9]{0,6})(kB|MB|GB)")


def limit(text: str) -> int:
    """`100MB` in bytes.

    Raises:
        BadInput: no size.
    """
    found = _SIZE.fullmatch(text)
    if not found:
        wanted = "a whole number and kB, MB or GB, such as 100MB"
        raise BadInput("--larger-than", repr(text), wanted, "change OSGDL_LARGER_THAN in the submit file's environment")
    return int(found[1]) * _UNITS[found[2]]


def pack(result: Path, archive: Path, larger_than: int) -> list[Path]:
    """Moves the files of `result` with more than `larger_than` bytes into `archive`, and returns them.

    Raises:
        BadInput: `result` is no folder, or not one below the current folder.
    """
    if result.is_absolute() or ".." in result.parts or not result.is_dir():
        wanted = "a folder of the job's own, such as results/1.0"
        raise BadInput(result, "no such folder here", wanted, "change arguments in the submit file")
    found = [path for path in sorted(result.rglob("*")) if path.is_file() and not path.is_symlink()]
    large = [path for path in found if path.stat().st_size > larger_than and path != archive]
    listed: dict[str, Any] = {}
    temporary = archive.with_name(f".{archive.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as packed:
                for path in large:
                    listed[path.as_posix()] = _add(packed, path)
            stream.flush()
            os.fsync(stream.fileno())
        if large:
            write_json(result / LIST, {"archive": archive.name, "files": listed})
        temporary.replace(archive)
        sync_folder(archive.parent)
    finally:
        temporary.unlink(missing_ok=True)
    for path in large:
        path.unlink()
    return large


class _Hashed(io.RawIOBase):
    """A file, and the SHA-256 of what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        self.digest.update(content)
        return content


def _add(packed: tarfile.TarFile, path: Path) -> dict[str, Any]:
    """Size and SHA-256 of the file as it was packed."""
    member = tarfile.TarInfo(path.as_posix())
    member.size, member.mode = path.stat().st_size, 0o644
    with path.open("rb") as file:
        stream = _Hashed(file)
        packed.addfile(member, stream)
    return {"bytes": member.size, "sha256": stream.digest.hexdigest()}


def main(words: Sequence[str]) -> int:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python3 -m submit.runtime.outputs", allow_abbrev=False)
    parser.add_argument("result", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--larger-than", required=True)
    asked = parser.parse_args(words)
    moved = pack(asked.result, asked.archive, limit(asked.larger_than))
    print(
        f"{asked.archive}  {len(moved)} files of more than {asked.larger_than}, {asked.archive.stat().st_size:,} bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_codes.run(lambda: main(sys.argv[1:])))
