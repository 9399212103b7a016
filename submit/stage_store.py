"""What lies where data were staged to: its manifests, whether every object is as it was written, and what changed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from submit.errors import StageError
from submit.origin import Origin
from submit.runtime import manifest as manifests
from submit.runtime.manifest import DIGITS, Manifest
from submit.stage_uses import OBJECT

CHUNK = 1 << 20


@dataclass(frozen=True)
class Verified:
    """An object: whether it is as the manifest says, and if not, what is wrong."""

    name: str
    bytes: int
    ok: bool
    what: str = ""


@dataclass(frozen=True)
class Row:
    """A manifest at a place; `missing`: shards that it names and that are not there, or not as long."""

    file: str
    manifest: Manifest
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """What a place holds.

    Attributes:
        manifests: those that can be read.
        damaged: what looks like a manifest and is none, with the reason.
        unnamed: shards that no manifest there names, and their bytes. With `damaged` ones, theirs may be among them.
        others: everything else, and its bytes.
    """

    url: str
    manifests: tuple[Row, ...]
    damaged: dict[str, str]
    unnamed: dict[str, int]
    others: dict[str, int]


@dataclass(frozen=True)
class Diff:
    """From one manifest to another: paths of files, names of shards, bytes of the shards that only the second has."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    shards: int
    shared: int
    travel_bytes: int
    fields: tuple[str, ...]  # what else is not the same


def read(path: Path) -> Manifest:
    """A manifest's file; StageError where it is none."""
    try:
        return manifests.read(path)
    except manifests.Damaged as fault:
        raise StageError(f"{path}: {fault}; a manifest that `osgdl stage` wrote is wanted. See staged/") from None


def at(origin: Origin, there: dict[str, int]) -> tuple[dict[str, Manifest], dict[str, str]]:
    """The manifests among the objects of a place, and the fault of each that cannot be read."""
    found, damaged = {}, {}
    for name in there:
        if "-manifest-" in name and ".json" in name:
            try:
                found[name] = _at(origin, name)
            except (manifests.Damaged, StageError, OSError) as fault:
                damaged[name] = str(fault)
    return found, damaged


def _at(origin: Origin, name: str) -> Manifest:
    match = manifests.FILE_NAME.fullmatch(name)
    if not match:
        raise manifests.Damaged("its name is not NAME-manifest-HASH.json")
    with origin.open(name) as file:
        content = file.read()
    found = hashlib.sha256(content).hexdigest()[:DIGITS]
    if found != match["hash"]:
        raise manifests.Damaged(f"its SHA-256 begins with {found}, wanted {match['hash']}, as its name says")
    held = manifests.parse(content)
    if held.name != match["name"]:
        raise manifests.Damaged(f"name: {held.name}, wanted {match['name']}, as its file's name says")
    return held


def listing(origin: Origin) -> Listing:
    """Looks at everything that lies at a place; reads the manifests alone."""
    there = origin.objects()
    found, damaged = at(origin, there)
    rows = []
    for name, held in found.items():
        missing = [shard.name for shard in held.shards if there.get(shard.name) != shard.bytes]
        rows.append(Row(name, held, tuple(missing)))
    named = {shard.name for held in found.values() for shard in held.shards}
    rest = {name: size for name, size in there.items() if name not in named | found.keys() | damaged.keys()}
    unnamed = {name: size for name, size in rest.items() if OBJECT.fullmatch(name)}
    others = {name: size for name, size in rest.items() if name not in unnamed}
    rows.sort(key=lambda row: (row.manifest.name, row.manifest.view is not None, row.file))
    return Listing(origin.url, tuple(rows), damaged, unnamed, others)


def verify(
    path: Path, origin: Origin, workers: int = 2, bar: Callable[[int, int], None] = lambda done, total: None
) -> list[Verified]:
    """Reads back every object that a manifest names, and the manifest's own copy, and compares each byte by SHA-256.

    Args:
        path: of the manifest's file here.
        workers: objects at a time; each takes 1 MiB of memory.
        bar: gets bytes.

    Raises:
        StageError: it is no manifest, or the place cannot be listed. A fault of one object is in what comes back.
    """
    held = read(path)
    content = held.encoded()
    wanted = [(shard.name, shard.bytes, shard.sha256) for shard in held.shards]
    wanted.append((held.file_name(), len(content), held.sha256()))
    there = origin.objects()
    total, done, lock, stop = sum(size for _, size, _ in wanted), 0, threading.Lock(), threading.Event()
    bar(0, total)

    def advance(count: int) -> None:
        nonlocal done
        if stop.is_set():
            raise InterruptedError
        with lock:
            done += count
            bar(done, total)

    def one(name: str, size: int, sha256: str) -> Verified:
        what = _fault(origin, there.get(name), name, size, sha256, advance)
        return Verified(name, size, not what, what)

    with ThreadPoolExecutor(workers) as threads:
        waiting = [threads.submit(one, *each) for each in wanted]
        try:
            return [each.result() for each in waiting]
        except BaseException:
            stop.set()
            threads.shutdown(wait=True, cancel_futures=True)
            raise


def _fault(origin: Origin, there: int | None, name: str, size: int, sha256: str, advance: Callable[[int], None]) -> str:
    """What is wrong with an object; "" for nothing."""
    if there != size:
        advance(size)
        return "not there" if there is None else f"{there:,} bytes, wanted {size:,}"
    digest, count = hashlib.sha256(), 0
    try:
        with origin.open(name) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                count += len(chunk)
                advance(len(chunk))
    except InterruptedError:
        raise
    except (StageError, OSError) as fault:
        return f"cannot be read: {fault}"
    if count != size:
        return f"{count:,} bytes were read, wanted {size:,}"
    found = digest.hexdigest()
    return "" if found == sha256 else f"its SHA-256 begins with {found[:DIGITS]}, wanted {sha256[:DIGITS]}"


def diff(before: Manifest, after: Manifest) -> Diff:
    """What changed from one manifest to another, by the SHA-256 of their files."""
    old = {path: file for shard in before.shards for path, file in shard.files.items()}
    new = {path: file for shard in after.shards for path, file in shard.files.items()}
    both = sorted(old.keys() & new.keys())
    changed = [path for path in both if old[path] != new[path]]
    known = {shard.name for shard in before.shards} if before.at == after.at else set()
    return Diff(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(changed),
        same=len(both) - len(changed),
        shards=len(after.shards),
        shared=sum(shard.name in known for shard in after.shards),
        travel_bytes=sum(shard.bytes for shard in after.shards if shard.name not in known),
        fields=tuple(_fields(before, after)),
    )


def _fields(before: Manifest, after: Manifest) -> Sequence[str]:
    names = ("name", "at", "kind", "synthetic", "dataset", "split", "view", "privacy")
    return [name for name in names if getattr(before, name) != getattr(after, name)]
