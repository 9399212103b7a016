"""What earlier runs of staging did, so that a second one does only what is left. Losing it costs time alone.

One file for a source, a destination and a name, below the cache: {"format": 1, "steps": {step: [fingerprint, result]},
"shards": {fingerprint: shard}}.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from submit import pool_root
from submit.runtime.files import write_json

FORMAT = 1


class Ledger:
    """Results by what they were made from. Threads may share one."""

    def __init__(self, source: Path, url: str, name: str) -> None:
        key = json.dumps([str(source.resolve()), url, name])
        self.key = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._file = pool_root.cache() / "staging" / f"{self.key}.json"
        self._lock = threading.Lock()
        self._steps: dict[str, list[Any]] = {}
        self._shards: dict[str, dict[str, Any]] = {}
        try:
            held = json.loads(self._file.read_bytes())
            if held["format"] == FORMAT:
                self._steps, self._shards = dict(held["steps"]), dict(held["shards"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # none, or a damaged one: everything is done again

    def result(self, step: str, fingerprint: str) -> Any:
        """What a step gave for the same input; None where it was not done."""
        before = self._steps.get(step)
        return before[1] if before and before[0] == fingerprint else None

    def done(self, step: str, fingerprint: str, result: Any) -> None:
        """Notes the result of a step, on disk."""
        with self._lock:
            self._steps[step] = [fingerprint, result]
            self._write()

    def shard(self, fingerprint: str) -> dict[str, Any] | None:
        """The shard that was made from the same files."""
        return self._shards.get(fingerprint)

    def made(self, fingerprint: str, shard: dict[str, Any]) -> None:
        """Notes a shard that is at its place."""
        with self._lock:
            self._shards[fingerprint] = shard
            self._write()

    def keep(self, fingerprints: set[str]) -> None:
        """Forgets all other shards."""
        with self._lock:
            self._shards = {key: shard for key, shard in self._shards.items() if key in fingerprints}
            self._write()

    def _write(self) -> None:
        write_json(self._file, {"format": FORMAT, "steps": self._steps, "shards": self._shards})
