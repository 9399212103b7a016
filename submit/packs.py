"""A shard as bytes: a plain tar, compressed or not, that is a function of the files' names and contents alone.

POSIX tar with pax headers where a name needs them (IEEE Std 1003.1, pax): members in the order of their names, mode
0644, no owner, no time, no folders; two zero blocks end it. zstd: one frame with its size and a checksum (RFC 8878),
whose bytes depend on the library's version, which is why pyproject.toml pins it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from submit.errors import StageError
from submit.runtime.manifest import File

CHUNK = 1 << 20
LEVEL = 3  # zstd's own default
# Compressed it must be this much smaller, or unpacking is not worth it: gzipped images and noise are not, nor a licence
WORTH, WORTH_BYTES = 0.9, 1_000_000
SAMPLES, SAMPLE = 64, 1 << 16  # of a shard, spread evenly over its bytes: 4 MiB tell


@dataclass(frozen=True)
class Member:
    """A file to pack: its path in the pack, where it is, its bytes."""

    path: str
    source: Path
    bytes: int


@dataclass(frozen=True)
class Packed:
    """A pack as it was written."""

    bytes: int
    sha256: str
    files: dict[str, File]


class Sink(Protocol):
    """What takes a pack's bytes."""

    def write(self, content: bytes, /) -> int: ...


class _Hashed:
    """Writes on, and remembers how much and the SHA-256."""

    def __init__(self, out: Sink) -> None:
        self._out, self._sha256, self.bytes = out, hashlib.sha256(), 0

    def write(self, content: bytes, /) -> int:
        self._sha256.update(content)
        self.bytes += len(content)
        return self._out.write(content)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def pack(
    members: Sequence[Member],
    out: Sink,
    compression: str,
    known: Mapping[str, str],
    advance: Callable[[int], None] = lambda count: None,
) -> Packed:
    """Writes the members to `out` in one pass; memory stays flat.

    Args:
        members: one or more.
        out: written to, not closed.
        compression: none or zstd.
        known: the SHA-256 of files, by path, that somebody took since they were counted: hashing is half the work.
        advance: told how many bytes of the files were read since the last time.

    Raises:
        StageError: a file cannot be read, or has another size than it had.
    """
    hashed = _Hashed(out)
    ordered = sorted(members, key=lambda member: member.path)
    total = sum(len(_header(member)) + member.bytes + -member.bytes % tarfile.BLOCKSIZE for member in ordered)
    total += 2 * tarfile.BLOCKSIZE
    if compression == "none":
        files = _write(ordered, hashed, known, advance)
    else:
        import zstandard

        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        with compressor.stream_writer(hashed, size=total, closefd=False) as stream:  # type: ignore[arg-type]
            files = _write(ordered, stream, known, advance)
    return Packed(hashed.bytes, hashed.hexdigest(), files)


def most(members: Iterable[Member]) -> int:
    """The bytes of a pack of these, at most, but for names that need a pax header."""
    return sum(2 * tarfile.BLOCKSIZE + member.bytes for member in members) + 2 * tarfile.BLOCKSIZE


def _write(
    members: Sequence[Member], out: Sink, known: Mapping[str, str], advance: Callable[[int], None]
) -> dict[str, File]:
    files = {}
    for member in members:
        out.write(_header(member))
        sha256, digest = known.get(member.path), hashlib.sha256()
        for content in _chunks(member):
            if sha256 is None:
                digest.update(content)
            out.write(content)
            advance(len(content))
        out.write(bytes(-member.bytes % tarfile.BLOCKSIZE))
        files[member.path] = File(member.bytes, sha256 or digest.hexdigest())
    out.write(bytes(2 * tarfile.BLOCKSIZE))
    return files


def _header(member: Member) -> bytes:
    info = tarfile.TarInfo(member.path)
    info.size, info.mode, info.mtime = member.bytes, 0o644, 0
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _chunks(member: Member) -> Iterator[bytes]:
    """A file's bytes, as many as were counted."""
    left = member.bytes
    try:
        with member.source.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while content := file.read(CHUNK):
                left -= len(content)
                if left < 0:
                    break
                yield content
    except OSError as fault:
        raise StageError(
            f"{member.source}: {fault.strerror}; a file that can be read is wanted. Mend it, and run the command again"
        ) from None
    if left:
        raise StageError(
            f"{member.source}: it had {member.bytes:,} bytes when it was counted and has others now; a data set that "
            "nobody writes to is wanted. Run the command again"
        )


def compression_for(members: Sequence[Member]) -> str:
    """zstd where a sample of the members gets so much smaller that it is worth it, else none."""
    import zstandard

    total = sum(member.bytes for member in members)
    if total < WORTH_BYTES:
        return "none"
    compressor, taken, packed = zstandard.ZstdCompressor(level=LEVEL), 0, 0
    step, at, begun = max(SAMPLE, total // SAMPLES), 0, 0
    for member in sorted(members, key=lambda member: member.path):
        while at < begun + member.bytes:
            try:
                with member.source.open("rb", buffering=0) as file:
                    file.seek(at - begun)
                    content = file.read(SAMPLE)
            except OSError:
                content = b""  # packing it will say what is wrong
            taken += len(content)
            packed += len(compressor.compress(content))
            at += step
        begun += member.bytes
    return "zstd" if packed < WORTH * taken else "none"
