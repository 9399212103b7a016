"""A staged object, compared with what the manifest says of it and unpacked in one pass over its bytes.

The hash is known only at the end, so what is written before lies under a temporary name, and what is wrong is told by
the hash: where that agrees, somebody staged it so (65), else it was changed on its way or by a cache (75). A file's own
SHA-256 is taken only to say which one is wrong. The bytes are read and not mapped: a disk that fails under a mapping
kills the process without a word.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Callable, Optional

from submit.runtime import tar, unpack, zstd
from submit.runtime.exit_codes import BadInput, BadMachine, Fault
from submit.runtime.manifest import File, Shard

_RETRY = "the job is tried elsewhere; if it stays, ?directread at the end of its URL passes the caches by"
_CHANGED = f"a transfer or a cache changed it: {_RETRY}"


def require_size(path: Path, shard: Shard, others: Iterable[Shard]) -> None:
    """BadMachine where the object has other bytes in number; `others`: the manifest's shards."""
    held = path.stat().st_size
    if held == shard.bytes:
        return
    if any(other.bytes == held for other in others):
        with contextlib.suppress(OSError):
            _require_own(path, sha256(path), shard, others)
    raise BadMachine(path, f"{held:,} bytes", f"{shard.bytes:,}, as the manifest says", _CHANGED)


def extract(path: Path, shard: Shard, others: Iterable[Shard], root: Path, advance: Callable[[int], None]) -> None:
    """Writes the shard's files into `root`, in which there are no links.

    Args:
        path: of the object.
        shard: what the manifest says of it.
        others: the manifest's shards.
        root: whatever is wrong, files of the shard may lie there afterwards.
        advance: told how many bytes of the object were read since the last time.

    Raises:
        BadMachine: its bytes are not those of the manifest, or cannot be read.
        BadInput: they are, and hold something else than the manifest says.
    """
    fault: Optional[Exception] = None
    try:
        file = path.open("rb", buffering=0)
    except OSError as caught:
        raise _unreadable(path, caught) from caught
    with file:
        stream = _Hashed(path, file, advance)
        try:
            with contextlib.ExitStack() as stack:
                plain = stack.enter_context(zstd.opened(stream)) if shard.compression == "zstd" else stream
                _write(plain, shard.files, root)
        except zstd.Missing:
            raise unpack.no_zstd(path) from None
        except (unpack.Unsafe, *unpack.DAMAGES) as caught:
            fault = caught
        while stream.read(tar.CHUNK):
            pass
    if stream.sha256.hexdigest() != shard.sha256:
        _require_own(path, stream.sha256.hexdigest(), shard, others)
        first = first_wrong(root, shard.files)
        tail = f", {first} in it is wrong" if first else ", all files in it are right"
        raise BadMachine(path, f"not the bytes that were staged (SHA-256){tail}", shard.sha256, _CHANGED) from fault
    if fault is not None:
        held = fault.held if isinstance(fault, unpack.Unsafe) else f"unreadable ({fault})"
        wanted = "what the manifest says, whose SHA-256 agrees"
        raise BadInput(path, held, wanted, "stage the data again with `osgdl stage`") from fault


def _write(stream: tar.Readable, files: Mapping[str, File], root: Path) -> None:
    missing = set(files)
    for member, content in tar.members(stream):
        unpack.safe(member.name)
        said = files.get(member.name)
        if said is None:
            raise unpack.Unsafe(f"{member.name!r} is not in the manifest", "", "")
        if member.kind != "file":
            kind = "a folder" if member.kind == "folder" else member.kind
            raise unpack.Unsafe(f"{member.name!r} is {kind}", "", "")
        if member.bytes != said.bytes:
            raise unpack.Unsafe(f"{member.name!r} has {member.bytes:,} bytes, {said.bytes:,} in the manifest", "", "")
        unpack.write(root, member, content)
        missing.remove(member.name)
    if missing:
        raise unpack.Unsafe(f"{min(missing)!r} is missing", "", "")


def first_wrong(root: Path, files: Mapping[str, File]) -> str:
    """The first file in `root`, by name, that is missing or has other bytes; "" where there is none."""
    for name, said in sorted(files.items()):
        place = root / name
        try:
            if place.stat().st_size != said.bytes or sha256(place) != said.sha256:
                return name
        except OSError:
            return name
    return ""


def sha256(path: Path) -> str:
    """Of a file's bytes; OSError where they cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while True:
            content = file.read(tar.CHUNK)
            if not content:
                return digest.hexdigest()
            digest.update(content)


def _require_own(path: Path, found: str, shard: Shard, others: Iterable[Shard]) -> None:
    for other in others:
        if other.sha256 == found != shard.sha256:
            held = f"the bytes of {other.name}"
            raise BadMachine(path, held, "its own", f"two shards were swapped on their way: {_RETRY}")


def _unreadable(path: Path, fault: OSError) -> Fault:
    return BadMachine(path, f"cannot be read ({fault.strerror})", "all its bytes", _CHANGED)


class _Hashed:
    """Hands a file's bytes on, with their SHA-256."""

    def __init__(self, path: Path, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._path, self._file, self._advance = path, file, advance
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        try:
            content = self._file.read(size)
        except OSError as fault:
            raise _unreadable(self._path, fault) from fault
        self.sha256.update(content)
        self._advance(len(content))
        return content
