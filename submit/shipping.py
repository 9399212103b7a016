"""Shards on their way: packed by a few nice threads, each put at its place as soon as it is whole."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, BinaryIO

from submit import inventory, packs
from submit.errors import StageError
from submit.inventory import Inventory
from submit.ledger import Ledger
from submit.origin import Origin, bytes_words
from submit.origins import check_room
from submit.runtime.manifest import COMPRESSIONS, DIGITS, File, Shard
from submit.shards import Planned
from submit.staged import Options

NICE = 10
FLOW = 8 << 20  # bytes; half or twice that is no faster
Bar = Callable[[int, int], None]
_NUMBERS = count()


class Shipment:
    """The shards of one data set."""

    def __init__(self, found: Inventory, origin: Origin, options: Options, ledger: Ledger) -> None:
        self._found, self._origin, self._options, self._ledger = found, origin, options, ledger
        self._there = origin.objects()

    def send(
        self, planned: Sequence[Planned], known: Mapping[str, str], bar: Callable[[str], Any]
    ) -> tuple[list[Shard], set[str]]:
        """Makes every shard that is not at its place yet.

        Args:
            planned: all shards, files and patients.
            known: the SHA-256 of files that were taken since they were counted.
            bar: makes a bar of bytes with a title.

        Returns:
            All shards, and the names of those that this run brought.

        Raises:
            StageError: no room, a file that changed, or the destination refuses. What was put stays, and is noted.
        """
        keys = [self._key(one) for one in planned]
        before = [self._before(key) for key in keys]
        missing = [one for one, shard in zip(planned, before, strict=True) if shard is None]
        total, sizes = sum(one.bytes for one in missing), [packs.most(one.members) for one in missing]
        check_room(self._origin, sum(sizes), len(missing) + 1)
        if missing:
            self._check_spool(sum(sorted(sizes)[-self._options.workers :]))
        uploaded: set[str] = set()
        with bar("packing and uploading") as told:
            advance = _Counted(told, total)

            def one(number: int) -> Shard:
                shard = before[number]
                if shard is None:
                    shard, fresh = self._pack(planned[number], known, advance)
                    self._ledger.made(keys[number], _as_json(shard))
                    if fresh:
                        uploaded.add(shard.name)
                return shard

            with ThreadPoolExecutor(self._options.workers, initializer=_be_nice) as pool:
                # the largest first: none is left to one thread at the end
                order = sorted(range(len(planned)), key=lambda number: -planned[number].bytes)
                waiting = {number: pool.submit(one, number) for number in order}
                try:
                    for number in order:
                        waiting[number].result()
                except BaseException:
                    advance.stop()
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        self._ledger.keep(set(keys))
        made = [waiting[number].result() for number in range(len(planned))]
        return list({shard.name: shard for shard in made}.values()), uploaded

    def _key(self, planned: Planned) -> str:
        """What a shard is made from."""
        files = self._found.fingerprint(member.path for member in planned.members)
        return f"{files} {self._options.compression} {' '.join(planned.patients)}"

    def _before(self, key: str) -> Shard | None:
        held = self._ledger.shard(key)
        if held is None or self._there.get(held["name"]) != held["bytes"]:
            return None
        files = {path: File(**file) for path, file in held["files"].items()}
        return Shard(**{**held, "patients": tuple(held["patients"]), "files": files})

    def _check_spool(self, needed: int) -> None:
        spool = self._origin.spool()
        free = shutil.disk_usage(spool).free
        if free < needed:
            raise StageError(
                f"{spool.parent}: {bytes_words(free)} free, {bytes_words(needed)} are wanted to build shards in; make "
                "room, set TMPDIR to another folder, or lower --shard-size"
            )

    def _pack(self, planned: Planned, known: Mapping[str, str], advance: Callable[[int], None]) -> tuple[Shard, bool]:
        members = planned.members
        compression = self._options.compression
        if compression == "auto":
            compression = packs.compression_for(members)
        file = self._origin.spool() / f"shard-{next(_NUMBERS)}"
        try:
            with file.open("wb") as out:
                packed = packs.pack(members, _Flowing(out), compression, known, advance)
            paths = [member.path for member in members]
            if inventory.again(self._found, paths) != self._found.fingerprint(paths):
                raise StageError(
                    f"{self._found.source}: files of {', '.join(planned.patients) or 'a shard'} changed while they "
                    "were packed; a data set that nobody writes to is wanted. Run the command again"
                )
            name = f"{self._options.name}-{packed.sha256[:DIGITS]}{COMPRESSIONS[compression]}"
            fresh = self._origin.put(file, name, lambda done, total: None)
        except OSError as fault:
            raise StageError(f"{file.parent}: {fault.strerror}; room to build a shard in is wanted") from None
        finally:
            file.unlink(missing_ok=True)
        return (
            Shard(name, packed.bytes, packed.sha256, compression, planned.bytes, planned.patients, packed.files),
            fresh,
        )


class _Flowing:
    """Writes on, and lets the kernel bring it to the disk meanwhile: else all of it waits for the flush at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._written, self._begun = file, 0, 0

    def write(self, content: bytes, /) -> int:
        self._written += len(content)
        if self._written - self._begun >= FLOW:
            # what is dirty is not dropped; its way to the disk begins (Linux, mm/fadvise.c)
            os.posix_fadvise(self._file.fileno(), self._begun, self._written - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self._written
        return self._file.write(content)


class _Counted:
    """Adds up what the threads did, and ends them where one failed or somebody pressed Ctrl-C."""

    def __init__(self, bar: Bar, total: int) -> None:
        self._bar, self._total, self._done, self._lock = bar, total, 0, threading.Lock()
        self._stopped = False
        bar(0, total)

    def stop(self) -> None:
        self._stopped = True

    def __call__(self, count: int) -> None:
        with self._lock:
            if self._stopped:
                raise StageError("stopped")  # nobody sees it: another one was first
            self._done += count
            self._bar(self._done, self._total)


def _be_nice() -> None:
    """Of this thread alone: on Linux a priority is a thread's."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _as_json(shard: Shard) -> dict[str, Any]:
    files = {path: vars(file) for path, file in shard.files.items()}
    return {**vars(shard), "patients": list(shard.patients), "files": files}
