"""What earlier runs of staging did, so that a second one does only what is left. Losing it costs time alone.

One file for a source, a destination and a name, below the cache. A line for each result, added when it is there: the
first digits of the SHA-256 of the rest, and JSON. A torn or damaged line, and one of another format, counts as none.

    8d4f0f5ac6bd2b8b ["step", "privacy", "<fingerprint of all files>", [0, []]]
    0f6c1a9b40e2d7c3 ["shard", "<fingerprint of its files>", {"name": ...}]
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from submit import pool_root
from submit.runtime.files import write_atomic

FORMAT = 1
_DIGITS = 16


def key(source: Path, url: str, name: str) -> str:
    """Whose ledger it is."""
    return hashlib.sha256(json.dumps([str(source.resolve()), url, name]).encode()).hexdigest()[:_DIGITS]


class Ledger:
    """Results by what they were made from. Threads may share one; processes lock it by its key."""

    def __init__(self, key: str) -> None:
        self._file = pool_root.cache() / "staging" / f"{key}.txt"
        self._lock = threading.Lock()
        self._steps: dict[str, list[Any]] = {}
        self._shards: dict[str, dict[str, Any]] = {}
        try:
            lines = self._file.read_bytes().split(b"\n")
        except OSError:
            return
        for said, _, text in (line.partition(b" ") for line in lines):
            if said == _sum(text):
                self._take(*json.loads(text))

    def result(self, step: str, fingerprint: str) -> Any:
        """What a step gave for the same input; None where it was not done."""
        before = self._steps.get(step)
        return before[1] if before and before[0] == fingerprint else None

    def done(self, step: str, fingerprint: str, result: Any) -> None:
        """Notes the result of a step."""
        self._note("step", step, [fingerprint, result])

    def shard(self, fingerprint: str) -> dict[str, Any] | None:
        """The shard that was made from the same files."""
        return self._shards.get(fingerprint)

    def made(self, fingerprint: str, shard: dict[str, Any]) -> None:
        """Notes a shard that is at its place."""
        self._note("shard", fingerprint, shard)

    def keep(self, fingerprints: set[str]) -> None:
        """Forgets all other shards, and on disk what was noted twice."""
        with self._lock:
            self._shards = {key: shard for key, shard in self._shards.items() if key in fingerprints}
            steps = [_line("step", key, value) for key, value in self._steps.items()]
            shards = [_line("shard", key, value) for key, value in self._shards.items()]
            with suppress(OSError):
                write_atomic(self._file, b"".join(steps + shards))

    def _take(self, kind: str, key: str, value: Any) -> None:
        if kind == "step":
            self._steps[key] = value
        else:
            self._shards[key] = value

    def _note(self, kind: str, key: str, value: Any) -> None:
        with self._lock, suppress(OSError):
            self._take(kind, key, value)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                file.write(_line(kind, key, value))


def _line(kind: str, key: str, value: Any) -> bytes:
    """It begins with a line's end: the one before may be torn."""
    text = json.dumps([kind, key, value]).encode()
    return b"\n" + _sum(text) + b" " + text


def _sum(text: bytes) -> bytes:
    return hashlib.sha256(b"%d %s" % (FORMAT, text)).hexdigest()[:_DIGITS].encode()
