"""The folder that a manifest's shards become, beside the manifest.

    brats-manifest-3f9a1c0d2b7e.json    as it came, like the shards; nothing of the user's is ever removed
    brats/                              all files of all shards: whole or absent
    .brats-inputs.json                  the manifest that it is from, size and time (mtime_ns) of every file

A job that left with 85 starts again in its sandbox. A file with the size and the time of the record is then trusted,
another one's SHA-256 is taken again, and what is wrong is unpacked again.

A folder `brats` that is not from this manifest is left alone, and the data become `brats-3f9a1c0d2b7e/`. One without
a record is taken where each of its files has the SHA-256 of the manifest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Optional

from submit.runtime import shard as shards
from submit.runtime import unpack
from submit.runtime.exit_codes import BadInput, BadMachine
from submit.runtime.files import write_json
from submit.runtime.manifest import DIGITS, Manifest, Shard
from submit.runtime.progress import Progress

FORMAT = 1
THREADS = 2  # one hashes while the other one writes; jobs have few cores
_UNIT = 1_000_000

_Times = dict[str, tuple[int, int]]  # size and mtime_ns by path


def ready(path: Path, manifest: Manifest, sha256: str) -> Path:
    """The folder with the manifest's files, each of them as it was staged.

    Args:
        path: of the manifest.
        manifest: what it holds.
        sha256: of it.

    Raises:
        BadInput: a shard is missing, or is not what the manifest says although its hash agrees; no free name.
        BadMachine: a shard or a file is wrong; the disk is too full.
    """
    with _alone(path.parent):
        for label in (manifest.name, f"{manifest.name}-{sha256[:DIGITS]}"):
            folder, record = path.with_name(label), path.with_name(f".{label}-inputs.json")
            if not os.path.lexists(folder):
                _fresh(path, manifest, sha256, folder, record)
                return folder
            known = _read(record, sha256)
            if known is not None:
                _mend(path, manifest, sha256, folder, record, known)
                return folder
            if folder.is_dir() and not folder.is_symlink() and not any(_wrong(folder, manifest, {})):
                _write(record, sha256, folder, manifest)
                return folder
    raise BadInput(folder, "is there and is not from this manifest", "a free name", "move it away")


def _fresh(path: Path, manifest: Manifest, sha256: str, folder: Path, record: Path) -> None:
    for shard in manifest.shards:
        if not _object(path, shard).is_file():
            mend = f"let all shards travel: `osgdl stage use {path.name} FILE.sub`, and submit again"
            raise BadInput(path.with_name(shard.name), "missing", f"every shard that {path.name} lists", mend)
    with unpack.fresh(folder) as temporary:
        _extract(path, manifest, manifest.shards, temporary)
        _write(record, sha256, temporary, manifest)  # of nothing, until the next line
        temporary.rename(folder)


def _object(path: Path, shard: Shard) -> Path:
    """Beside the manifest, else where the job started: URLs arrive there, whatever `preserve_relative_paths` says."""
    beside, here = path.with_name(shard.name), Path(shard.name)
    return here if here.is_file() and not beside.is_file() else beside


def _mend(path: Path, manifest: Manifest, sha256: str, folder: Path, record: Path, known: _Times) -> None:
    """Unpacks again what is not as it was."""
    wrong, extra = _wrong(folder, manifest, known)
    if extra:
        raise BadMachine(
            folder / extra[0],
            "is not in the manifest",
            "nothing beside what was staged",
            f"remove it, or {folder.name} as a whole; the job is tried elsewhere",
        )
    affected = [shard for shard in manifest.shards if not wrong.isdisjoint(shard.files)]
    for shard in affected:
        if not _object(path, shard).is_file():
            raise BadMachine(
                folder / min(wrong & set(shard.files)),
                "missing, or changed since it was unpacked",
                f"its bytes; {shard.name} is not here any more to take them from",
                "the job is tried elsewhere",
            )
    if affected:
        with unpack.fresh(folder) as temporary:
            _extract(path, manifest, affected, temporary)
            for name in sorted(wrong):
                place = folder / name
                if place.is_dir() and not place.is_symlink():
                    place.rmdir()  # of files in it we would know
                place.parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).replace(place)
    if affected or any(known.get(name) != times for name, times in _times(folder, manifest).items()):
        _write(record, sha256, folder, manifest)


def _wrong(folder: Path, manifest: Manifest, known: Mapping[str, tuple[int, int]]) -> tuple[set[str], list[str]]:
    """Files that are missing or not what they should be, and things that should not be there."""
    files = {name: file for shard in manifest.shards for name, file in shard.files.items()}
    right, extra = set(), []
    for above, folders, names in os.walk(folder):
        for name in [*names, *(name for name in folders if Path(above, name).is_symlink())]:
            place = Path(above, name)
            inside = place.relative_to(folder).as_posix()
            said, found = files.get(inside), place.lstat()
            if said is None:
                extra.append(inside)
            elif stat.S_ISREG(found.st_mode) and found.st_size == said.bytes:
                same = known.get(inside) == (found.st_size, found.st_mtime_ns)
                with contextlib.suppress(OSError):
                    if same or shards.sha256(place) == said.sha256:
                        right.add(inside)
    return set(files) - right, sorted(extra)


class _Stopped(Exception):
    """Another thread found a fault."""


def _extract(path: Path, manifest: Manifest, chosen: Sequence[Shard], root: Path) -> None:
    """Compares and unpacks shards into `root`, a few at a time."""
    for shard in chosen:
        shards.require_size(_object(path, shard), shard, manifest.shards)
    packed, size = sum(shard.bytes for shard in chosen), sum(shard.unpacked_bytes for shard in chosen)
    unpack.require_room(path.parent, size, packed, shutil.disk_usage(path.parent).free)
    progress, lock, stop = Progress(-(-packed // _UNIT), "unpacking"), threading.Lock(), threading.Event()
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        if stop.is_set():
            raise _Stopped
        with lock:
            done += count
            progress.update(done // _UNIT, "MB")

    def one(shard: Shard) -> None:
        shards.extract(_object(path, shard), shard, manifest.shards, root, advance)

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for future in as_completed([pool.submit(one, shard) for shard in chosen]):
                future.result()  # the first fault; those after it are of threads that were stopped
        finally:
            stop.set()
    progress.close(-(-packed // _UNIT), "MB")


def _times(folder: Path, manifest: Manifest) -> _Times:
    found = {}
    for shard in manifest.shards:
        for name in shard.files:
            held = (folder / name).stat()
            found[name] = held.st_size, held.st_mtime_ns
    return found


def _write(record: Path, sha256: str, folder: Path, manifest: Manifest) -> None:
    write_json(record, {"format": FORMAT, "manifest": sha256, "files": _times(folder, manifest)})


def _read(record: Path, sha256: str) -> Optional[_Times]:
    """What a record says, if it is one of this manifest."""
    try:
        held = json.loads(record.read_bytes())
        if held["format"] == FORMAT and held["manifest"] == sha256:
            return {name: (int(size), int(time)) for name, (size, time) in held["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time works in `folder`, where the file system has locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
